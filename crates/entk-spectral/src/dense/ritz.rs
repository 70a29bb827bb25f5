//! Eigenpairs of a dense symmetric matrix, with bits that do not depend on the number of threads.
//! `eigh`, `nystrom` and `svd` call [`dense_eigen`]; `krylov` takes the eigenpairs of its projected
//! matrix as [`Ritz`].

use std::num::NonZeroUsize;

use faer::{
    MatMut, MatRef, Par,
    diag::DiagMut,
    dyn_stack::{MemBuffer, MemStack},
    linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch},
};

use crate::{
    dense::vector::zeros,
    error::{Result, SpectralError},
};

/// Parts into which one dense decomposition is cut. The bits depend on this number and not on how
/// many threads work on the parts (seen for pools of 1, 2 and 4 threads), so it is fixed.
const PARTS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// The setting of parallelism for every dense decomposition of this crate.
pub(crate) const DENSE: Par = Par::Rayon(PARTS);

/// Ascending eigenvalues of a symmetric matrix and its vectors, one after the other.
pub(crate) fn dense_eigen(t: MatRef<'_, f64>) -> Result<(Vec<f64>, Vec<f64>)> {
    let n = t.nrows();
    let mut values = zeros(n, "eigenvalues")?;
    let mut vectors = zeros(n * n, "eigenvectors")?;
    let request =
        self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, DENSE, Default::default());
    let mut memory = MemBuffer::try_new(request).map_err(|_| SpectralError::OutOfMemory {
        what: "the eigensolver's workspace",
        bytes: request.size_bytes(),
    })?;
    self_adjoint_evd(
        t,
        DiagMut::from_slice_mut(&mut values),
        Some(MatMut::from_column_major_slice_mut(&mut vectors, n, n)),
        DENSE,
        MemStack::new(&mut memory),
        Default::default(),
    )
    .map_err(|_| SpectralError::NoConvergence { n })?;
    Ok((values, vectors))
}

/// Ritz pairs of a Krylov space: descending values and their coordinates.
pub(crate) struct Ritz {
    values: Vec<f64>,
    /// The vectors' coordinates, in the ascending order of the solver.
    coordinates: Vec<f64>,
}

impl Ritz {
    /// All Ritz pairs of T.
    pub(crate) fn of(t: MatRef<'_, f64>) -> Result<Self> {
        let (mut values, coordinates) = dense_eigen(t)?;
        values.reverse();
        Ok(Self { values, coordinates })
    }

    /// The values, descending.
    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    /// Coordinates of the k leading vectors, m x k, in descending order.
    pub(crate) fn leading(&self, k: usize) -> MatRef<'_, f64> {
        let m = self.values.len();
        MatRef::from_column_major_slice(&self.coordinates, m, m).subcols(m - k, k).reverse_cols()
    }
}
