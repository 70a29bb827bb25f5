//! Tests of the public interface, one module for each subject.

mod jacobian;
mod linearized;
mod mixed;
