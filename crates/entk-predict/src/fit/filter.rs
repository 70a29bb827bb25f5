//! Targets in the eigenbasis of a kernel, and functions of the kernel applied to them: in come all
//! eigenpairs and y - f_0, out go sums of weighted eigenvectors. `flow` and `ridge_path` call it.

use entk_spectral::{Eigenpairs, SpectralError};

use crate::{
    columns::Columns,
    dense::{matrix, product, zeros},
    error::Result,
};

/// y - f_0 in the eigenbasis of K.
#[derive(Clone, Debug)]
pub(crate) struct Projection<'a> {
    pairs: &'a Eigenpairs,
    /// phi_j . (y - f_0), column by column.
    parts: Columns,
}

impl<'a> Projection<'a> {
    /// Projects the columns of y - f_0 onto all eigenvectors: N^2 C multiply-adds.
    pub(crate) fn new(
        pairs: &'a Eigenpairs,
        targets: &Columns,
        offset: Option<&Columns>,
        measure: &'static str,
    ) -> Result<Self> {
        let (dim, found) = (pairs.dim(), pairs.len());
        if found != dim {
            return Err(SpectralError::NeedsAllPairs { measure, dim, found }.into());
        }
        targets.check_shape("targets", dim, targets.cols())?;
        let residual = targets.minus(offset)?;
        let phi = matrix(pairs.vectors(), dim);
        let parts = product(phi.transpose(), matrix(residual.values(), dim), "projections")?;
        let parts = Columns::computed(dim, parts, "projections")?;
        Ok(Self { pairs, parts })
    }

    pub(crate) fn pairs(&self) -> &'a Eigenpairs {
        self.pairs
    }

    /// phi_j . (y - f_0) for every j and column.
    pub(crate) fn parts(&self) -> &Columns {
        &self.parts
    }

    /// Eigenvalues of at most this count as zero.
    pub(crate) fn floor(&self) -> f64 {
        self.pairs.round_off()
    }

    /// Sum over j of w(lambda_j) phi_j (phi_j . (y - f_0)) for several functions w, given as their
    /// number and w(k, lambda): one product of matrices for all.
    pub(crate) fn weighted(
        &self,
        count: usize,
        weight: impl Fn(usize, f64) -> f64,
    ) -> Result<Vec<Columns>> {
        let (n, cols) = (self.pairs.dim(), self.parts.cols());
        let mut scaled = zeros(n, cols * count, "weighted projections")?;
        for (k, scaled) in scaled.chunks_exact_mut(n * cols).enumerate() {
            let weights: Vec<f64> = self.pairs.values().iter().map(|&x| weight(k, x)).collect();
            let entries = scaled.iter_mut().zip(self.parts.values()).zip(weights.iter().cycle());
            entries.for_each(|((out, part), weight)| *out = weight * part);
        }
        let phi = matrix(self.pairs.vectors(), n);
        let all = product(phi, matrix(&scaled, n), "coefficients")?;
        let of = |x: &[f64]| Columns::computed(n, x.to_vec(), "coefficients");
        all.chunks_exact(n * cols).map(of).collect()
    }
}
