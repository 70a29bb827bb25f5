//! Binary targets: in comes an eigenvector or a list of labels, out go labels 0 and 1 or signs -1
//! and +1. Networks are trained on the labels, the metrics take the signs.

use crate::{
    dense::vector::{BinaryScale, check_stack, check_vector, max_abs, norm},
    eigenpairs::Eigenpairs,
    error::{Result, SpectralError},
};

/// A binary target on a sample of m inputs: a label 0 or 1 for each.
///
/// From an eigenvector, label 1 where phi_j(i) > 0 and 0 elsewhere (also where it is exactly 0). In
/// formulas the target is +1 or -1, see [`signs`](Self::signs); in the loss it is 0 or 1, see
/// [`labels`](Self::labels). A target may have one class only or nearly so: sign(phi_1) often is;
/// look at [`positive_fraction`](Self::positive_fraction).
///
/// Paper: the targets sign(phi_j) of figures 2 and 3.
///
/// ```
/// use entk_spectral::{BinaryTarget, Gram, eigh};
///
/// let pairs = eigh(&Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?)?;
/// let target = BinaryTarget::from_pair(&pairs, 1)?;
/// assert_eq!(target.labels(), [1, 0]);
/// assert_eq!(target.signs(), [1.0, -1.0]);
/// assert_eq!(target.positive_fraction(), 0.5);
/// assert!((target.overlap(pairs.vector(1))? - 1.0).abs() < 1e-14);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryTarget {
    labels: Vec<u8>,
}

impl BinaryTarget {
    /// The target of any real vector: 1 where it is positive, else 0.
    ///
    /// # Errors
    /// [`VectorLength`](SpectralError::VectorLength) if it is empty, or
    /// [`NonFiniteVector`](SpectralError::NonFiniteVector).
    pub fn from_vector(phi: &[f64]) -> Result<Self> {
        check_stack(phi, phi.len())?;
        Ok(Self { labels: phi.iter().map(|&x| u8::from(x > 0.0)).collect() })
    }

    /// The target of eigenvector j, from 0: sign(phi_{j+1}) in the paper's count.
    ///
    /// # Errors
    /// [`IndexOutOfRange`](SpectralError::IndexOutOfRange).
    pub fn from_pair(pairs: &Eigenpairs, j: usize) -> Result<Self> {
        Self::from_vector(pairs.pair(j)?.1)
    }

    /// A target from given labels, for instance those of a data set.
    ///
    /// # Errors
    /// [`VectorLength`](SpectralError::VectorLength) if there is none,
    /// [`InvalidLabel`](SpectralError::InvalidLabel) for a label other than 0 and 1.
    pub fn from_labels(labels: Vec<u8>) -> Result<Self> {
        if labels.is_empty() {
            return Err(SpectralError::VectorLength { dim: 0, found: 0 });
        }
        match labels.iter().position(|&label| label > 1) {
            Some(index) => Err(SpectralError::InvalidLabel { index, value: labels[index] }),
            None => Ok(Self { labels }),
        }
    }

    /// Number of inputs m.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never true: there is always at least one label.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels, 0 or 1.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The labels as -1 and +1.
    pub fn signs(&self) -> Vec<f64> {
        self.labels.iter().map(|&label| sign(label)).collect()
    }

    /// Class balance: the fraction of labels that are 1. Whoever always answers the larger class is
    /// right on max(p, 1 - p) of the inputs.
    pub fn positive_fraction(&self) -> f64 {
        let ones = self.labels.iter().filter(|&&label| label == 1).count();
        ones as f64 / self.len() as f64
    }

    /// Cosine between the target and a vector: (1/sqrt(m)) sum over i of s_i phi(i) / ||phi||. For
    /// an eigenvector and its own target it is the inner product of sign(phi)/sqrt(m) with phi,
    /// between 1/sqrt(m) and 1, and about 0.78 for the kernels of the paper (sqrt(2/pi) = 0.80 for
    /// Gaussian entries).
    ///
    /// # Errors
    /// [`OneVector`](SpectralError::OneVector),
    /// [`NonFiniteVector`](SpectralError::NonFiniteVector), or
    /// [`ZeroVector`](SpectralError::ZeroVector).
    pub fn overlap(&self, phi: &[f64]) -> Result<f64> {
        check_vector(phi, self.len())?;
        let scale = BinaryScale::of(max_abs(phi));
        let phi: Vec<f64> = phi.iter().map(|&x| scale.down(x)).collect();
        let length = norm(&phi);
        if length == 0.0 {
            return Err(SpectralError::ZeroVector { vector: 0 });
        }
        let inner: f64 = self.labels.iter().zip(&phi).map(|(&label, x)| sign(label) * x).sum();
        Ok(inner / (length * (self.len() as f64).sqrt()))
    }
}

fn sign(label: u8) -> f64 {
    if label == 1 { 1.0 } else { -1.0 }
}

/// How many labels an error of size `bound` in every entry could flip: the number of entries
/// with |phi(i)| <= bound.
///
/// With a bound on the error of an eigenvector (its residual divided by the gap to the other
/// eigenvalues) all other labels of its target are certain.
///
/// # Errors
/// [`VectorLength`](SpectralError::VectorLength) if phi is empty,
/// [`NonFiniteVector`](SpectralError::NonFiniteVector), or
/// [`InvalidBound`](SpectralError::InvalidBound) if the bound is negative or not finite.
///
/// ```
/// use entk_spectral::uncertain_labels;
///
/// assert_eq!(uncertain_labels(&[0.7, -1e-9, 0.0, -0.7], 1e-8)?, 2);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn uncertain_labels(phi: &[f64], bound: f64) -> Result<usize> {
    check_stack(phi, phi.len())?;
    if !bound.is_finite() || bound < 0.0 {
        return Err(SpectralError::InvalidBound { bound });
    }
    Ok(phi.iter().filter(|x| x.abs() <= bound).count())
}
