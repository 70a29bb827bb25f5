//! Arithmetic on vectors and matrices in f64 in a fixed order, so that the bits do not depend on
//! the number of threads. The rest of this crate is built on it.

pub(crate) mod qr;
pub(crate) mod ritz;
pub(crate) mod svd;
pub(crate) mod tall;
pub(crate) mod vector;
