//! Leading eigenpairs of A A^T for an operator A that is known by its products: in come A and
//! settings, out go certified pairs, found on the smaller side of A. Called where a kernel J J^T is
//! never formed.

use crate::{
    eigenpairs::{Eigenpairs, check_k},
    error::Result,
    kernel::{
        operator::LinearOperator,
        row_gram::{ColumnGram, RowGram},
    },
    solvers::{
        certified_pairs::{CertifiedPairs, certify},
        eigsh::EigshRun,
        eigsh_config::EigshConfig,
        rayleigh_ritz::left_triplets,
    },
};

/// The residual of an eigenpair of A^T A grows by sigma_0 / sigma_j on the way to A A^T. The pairs
/// are found this much more accurately than asked for, which serves eigenvalues down to 1e-4 of the
/// largest.
const SHARPER: f64 = 1e-2;
/// The smallest tolerance of a solve.
const SHARPEST: f64 = 1e-13;

/// The k largest eigenpairs of A A^T (M x M), with A (M x N) given by its products alone.
///
/// For M <= N it is [`eigsh`](crate::eigsh()) of [`RowGram`]. For more rows than columns the
/// eigenpairs of A^T A are found, which has the same positive eigenvalues, N in place of M numbers
/// a vector, and may cost one pass over A a product in place of two
/// ([`LinearOperator::apply_column_gram`]); A takes them to the other side, where a Rayleigh-Ritz
/// step with A itself gives back the digits that squaring costs. Either way the residuals ||A A^T u
/// - lambda u|| are measured with A A^T, and pairs beyond the tolerance refused.
///
/// Cost: as [`eigsh`](crate::eigsh()) on the smaller side, and 4 k products.
///
/// # Errors
/// [`InvalidK`](crate::SpectralError::InvalidK) unless 1 <= k <= min(M, N), or with the number of
/// singular values above round-off if they are fewer than k; otherwise as
/// [`eigsh`](crate::eigsh()).
///
/// ```
/// use entk_spectral::{CrossGram, EigshConfig, eigsh_row_gram};
///
/// let a = CrossGram::from_f64(3, 2, vec![3.0, 0.0, 0.0, 2.0, 0.0, 0.0])?;
/// let top = eigsh_row_gram(&a, 2, &EigshConfig::default())?;
/// assert!((top.pairs.values()[1] - 4.0).abs() < 1e-13);
/// assert_eq!(top.pairs.vector(0).len(), 3);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn eigsh_row_gram<A: LinearOperator + ?Sized>(
    operator: &A,
    k: usize,
    config: &EigshConfig,
) -> Result<CertifiedPairs> {
    EigshRun::new(config).row_gram_pairs(operator, k)
}

impl EigshRun<'_> {
    /// The k largest eigenpairs of A A^T, as [`eigsh_row_gram`].
    ///
    /// # Errors
    /// As [`eigsh_row_gram`] and [`pairs`](Self::pairs).
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(name = "eigsh_row_gram", skip_all, fields(rows = operator.rows(), k = k))
    )]
    pub fn row_gram_pairs<A: LinearOperator + ?Sized>(
        self,
        operator: &A,
        k: usize,
    ) -> Result<CertifiedPairs> {
        let (m, n) = (operator.rows(), operator.cols());
        check_k(k, m.min(n))?;
        let rows = RowGram::new(operator);
        if m <= n {
            return self.pairs(&rows, k);
        }
        let tolerance = self.tolerance();
        let sharper = (tolerance * SHARPER).max(SHARPEST).min(tolerance);
        let found = self.with_tolerance(sharper).pairs(&ColumnGram::new(operator), k)?;
        let forward = |columns: &[f64], images: &mut [f64]| operator.apply(columns, images);
        let turned = left_triplets(forward, m, found.pairs.vectors(), k)?;
        let values = turned.values.iter().map(|sigma| sigma * sigma).collect();
        let pairs = Eigenpairs::from_sorted(values, turned.left, m, operator.entry_type());
        certify(&rows, pairs, tolerance, found.solver, found.products, found.restarts)
    }
}
