//! Solutions of (K + ridge) x = y, each with the residual that was measured: by Cholesky
//! factorization in memory, by conjugate gradients for any operator. Users call them; `gaussian`
//! calls the factor.

pub(crate) mod cholesky;
pub(crate) mod conjugate;
pub(crate) mod preconditioner;
