//! Operations against numbers that PyTorch computed.

mod convolutions;
mod operations;
