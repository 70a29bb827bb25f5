//! Operations against numbers that PyTorch computed, and against the operations they are made of.

mod attention;
mod convolutions;
mod operations;
