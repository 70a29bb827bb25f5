//! Predictions from a kernel, with their uncertainty: regression, gradient flow, Gaussian
//! processes.
//!
//! This crate knows no networks. It starts from kernels (a [`Gram`](entk_spectral::Gram) on the
//! training inputs, a [`CrossGram`](entk_spectral::CrossGram) with test inputs as rows) and from
//! targets (N, C), [`Columns`], and answers what a network in the kernel regime predicts:
//!
//! * [`Cholesky`] solves (K + ridge) x = y and measures the residual, which it certifies or
//!   refuses; with leave-one-out residuals and the marginal likelihood in closed form.
//! * [`conjugate_gradients`] solves it for any
//!   [`SymmetricOperator`](entk_spectral::SymmetricOperator), such as a store that memory does not
//!   hold; [`SpectralPreconditioner`] is made from leading eigenpairs.
//! * [`RidgePath`] has the coefficients, residuals and likelihoods for many ridges, from one
//!   eigendecomposition, and chooses among them.
//! * [`SquaredLossFlow`] has the coefficients at any times of training on the squared loss.
//! * [`predict`] turns coefficients, whoever made them, into outputs at test inputs.
//! * [`posterior_variance`] and [`posterior_covariance`] are those of a Gaussian process,
//!   [`Ensemble`] those of linearized networks trained from random initialisations,
//!   [`class_probabilities`] what they mean for classes.
//!
//! A kernel N x N acts on each of C columns alone: K (x) I_C. A full kernel of C outputs, N C x N C
//! with index n C + c, goes through the same functions with one column of N C rows.
//!
//! # Example
//!
//! ```
//! use entk_predict::{Cholesky, CholeskyConfig, Columns, posterior_variance, predict};
//! use entk_spectral::{CrossGram, Gram};
//!
//! // exp(-(x - x')^2) at x = 0 and 1, and targets of two outputs.
//! let k = |a: f64, b: f64| (-(a - b) * (a - b)).exp();
//! let gram = Gram::from_lower_f64(2, vec![1.0, 0.0, k(1.0, 0.0), 1.0])?;
//! let targets = Columns::from_rows(2, 2, &[1.0, 0.0, 0.0, 1.0])?;
//!
//! // Regression with ridge 0.01, which is the noise of the Gaussian process.
//! let factor = Cholesky::new(&gram, 0.01, CholeskyConfig::default())?;
//! let solution = factor.solve(&targets)?;
//! assert!(solution.worst() < 1e-14);
//!
//! // Between the two both outputs are as large, and the variance is below that of the prior.
//! let cross = CrossGram::from_f64(1, 2, vec![k(0.5, 0.0), k(0.5, 1.0)])?;
//! let outputs = predict(&cross, &solution.coefficients, None)?;
//! assert!((outputs.get(0, 0) - outputs.get(0, 1)).abs() < 1e-14);
//! assert!(posterior_variance(&factor, &cross, &[1.0])?.values[0] < 0.2);
//! # Ok::<(), entk_predict::PredictError>(())
//! ```
//!
//! # Precision and repeatability
//!
//! All sums are f64, whatever the type of a kernel, and have the same bits for any number of
//! threads. What is refused is refused with the numbers that were found; no function panics on bad
//! input, except element access, which indexes as slices do and says so.

#![forbid(unsafe_code)]

mod columns;
mod dense;
mod error;
mod fit;
mod gaussian;
mod predictor;
mod solve;

pub use columns::Columns;
pub use error::{PredictError, Result};
pub use fit::{
    flow::SquaredLossFlow,
    ridge_path::{Criterion, RidgePath, SelectedRidge},
};
pub use gaussian::{
    ensemble::Ensemble,
    posterior::{posterior_covariance, posterior_variance},
    probabilities::class_probabilities,
    variance::{Covariance, Variances},
};
pub use predictor::{predict, predict_all};
pub use solve::{
    cholesky::{Cholesky, CholeskyConfig, Solution},
    conjugate::{CgConfig, CgProgress, CgSolution, conjugate_gradients},
    preconditioner::SpectralPreconditioner,
};

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
