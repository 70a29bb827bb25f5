//! First-order Taylor linearizations of networks, and products with their Jacobians.
//!
//! [`Linearized`] wraps any [`Model`](entk_models::Model) and is one itself; [`Jacobian`] streams
//! `J v`, `J^T u` and the alignment of a target over a data set, without a Gram.
#![forbid(unsafe_code)]

mod error;
mod jacobian;
mod linearized;

pub use error::{LinearizeError, Result};
pub use jacobian::Jacobian;
pub use linearized::Linearized;
