//! First-order Taylor linearizations of networks, and products with their Jacobians.
//!
//! [`Linearized`] wraps a [`Network`](entk_models::Network) and is a
//! [`Model`](entk_models::Model) as it is; [`Jacobian`] streams
//! `J v`, `J^T u` and the alignment of a target over a data set, without a Gram.
//! [`MixedDerivative`] is d^2 f / (dtheta dx), whose right singular vectors are the neural
//! anisotropy directions.
#![forbid(unsafe_code)]

mod error;
mod jacobian;
mod linearized;
mod mixed;

pub use error::{LinearizeError, Result};
pub use jacobian::Jacobian;
pub use linearized::Linearized;
pub use mixed::MixedDerivative;

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
