//! Tests of the public interface, one module for each subject.

mod autograd;
mod derivatives;
mod graph;
mod interop;
mod lies;
mod mixed;
mod nets;
mod operations;
mod references;
mod refused_inputs;
mod residual_properties;
mod threads;
mod training;
mod zero_gradients;
