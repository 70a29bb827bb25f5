//! Tests of the public interface, one module for each subject.

mod autograd;
mod by_name;
mod closures;
mod derivatives;
mod flax_weights;
mod graph;
mod lies;
mod mixed;
mod operations;
mod reference_convolutions;
mod reference_operations;
mod refused_inputs;
mod residual_properties;
mod summary;
mod threads;
mod training;
mod weight_files;
mod zero_gradients;
