//! Eigenvalues with their eigenvectors, in the order and with the signs used everywhere. The
//! solvers hand over what they have found, a user what was stored; the metrics and `BinaryTarget`
//! read it.

use std::fmt;

use faer::MatRef;

use crate::{
    dense::vector::{check_vector, dot, finite, max_abs, norm},
    entries::EntryType,
    error::{Result, SpectralError},
};

/// Entries within this relative distance of the largest magnitude count as tied with it when the
/// sign is fixed. Exact ties (duplicated inputs, symmetric data) come out of a solver apart by
/// round-off, which must not choose the sign.
pub const SIGN_TIE: f64 = 1e-6;

/// Room above the round-off of entries and solver.
const ROUND_OFF_GROWTH: f64 = 10.0;

/// How far from 1 the norm of a vector handed to [`Eigenpairs::from_parts`] may be: the round-off
/// of a unit vector stored in f32.
const UNIT_TOLERANCE: f64 = 1e-6;

/// Eigenpairs (lambda_j, phi_j) of a Gram: K phi_j = lambda_j phi_j.
///
/// * Order: lambda_0 >= lambda_1 >= ... Index 0 here is phi_1 in the paper.
/// * Norm: every phi_j has l2 norm 1 in R^N, and they are orthogonal. On the sample, sqrt(N) phi_j
///   is the eigenfunction with unit mean square.
/// * Sign: the entry of largest magnitude is positive. Entries within a factor 1 - [`SIGN_TIE`] of
///   it count as equally large, and the lowest index decides.
/// * Layout: `vectors` holds phi_0, then phi_1, ...; each is contiguous.
///
/// Eigenvalues that coincide leave their vectors free to rotate: then only the space they span is
/// determined, and the vectors are one basis of it.
///
/// Paper: the eigenfunctions phi_j of Theta, computed on the data.
///
/// ```
/// use entk_spectral::{Gram, eigh};
///
/// let gram = Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?;
/// let pairs = eigh(&gram)?;
/// assert!((pairs.values()[0] - 3.0).abs() < 1e-14);
/// assert!((pairs.vector(0)[1] - 0.5_f64.sqrt()).abs() < 1e-14);
/// assert!(pairs.vector(1)[0] > 0.0, "a tie in magnitude: the first entry is positive");
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Eigenpairs {
    values: Vec<f64>,
    vectors: Vec<f64>,
    dim: usize,
    entry_type: EntryType,
}

impl Eigenpairs {
    /// Eigenpairs from stored parts: k `values` in descending order, k * `dim` entries of
    /// `vectors`, and the `entry_type` of the Gram that they belong to. Signs are fixed on the way
    /// in. Orthogonality is not checked; see [`orthogonality_ratio`](crate::orthogonality_ratio).
    ///
    /// # Errors
    /// [`InvalidK`](SpectralError::InvalidK) unless 1 <= k <= dim,
    /// [`BufferLength`](SpectralError::BufferLength), or
    /// [`InvalidPair`](SpectralError::InvalidPair) for a pair that is not finite, out of order, or
    /// not of norm 1 within 1e-6.
    pub fn from_parts(
        values: Vec<f64>,
        vectors: Vec<f64>,
        dim: usize,
        entry_type: EntryType,
    ) -> Result<Self> {
        check_k(values.len(), dim)?;
        let expected = values
            .len()
            .checked_mul(dim)
            .ok_or(SpectralError::TooLarge { rows: values.len(), cols: dim })?;
        if vectors.len() != expected {
            return Err(SpectralError::BufferLength {
                what: "eigenvectors",
                expected,
                found: vectors.len(),
            });
        }
        for (index, vector) in vectors.chunks_exact(dim).enumerate() {
            if let Some(reason) = flaw(&values, index, vector) {
                return Err(SpectralError::InvalidPair { index, reason });
            }
        }
        Ok(Self::from_sorted(values, vectors, dim, entry_type))
    }

    /// Takes pairs in descending order and of norm 1 and fixes their signs.
    pub(crate) fn from_sorted(
        values: Vec<f64>,
        mut vectors: Vec<f64>,
        dim: usize,
        entry_type: EntryType,
    ) -> Self {
        vectors.chunks_exact_mut(dim).for_each(|vector| {
            fix_sign(vector);
        });
        Self { values, vectors, dim, entry_type }
    }

    /// The values and the vectors.
    pub(crate) fn into_parts(self) -> (Vec<f64>, Vec<f64>) {
        (self.values, self.vectors)
    }

    /// Number of pairs K.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Never true: there is always at least one pair.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Number N of entries of an eigenvector: the samples of the Gram.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The type in which the Gram was stored; it bounds how small an eigenvalue can be told from
    /// zero. Values and vectors are f64 always.
    pub fn entry_type(&self) -> EntryType {
        self.entry_type
    }

    /// Eigenvalues of at most this size cannot be told from zero: 10 eps ||K||_F for the rounding
    /// of the entries, eps of their type, and 10 N 2^-52 ||K||_2 for that of the solver. The norms
    /// are those of the pairs that are here.
    ///
    /// ```
    /// use entk_spectral::{Gram, eigh};
    ///
    /// let pairs = eigh(&Gram::from_lower_f64(2, vec![1.0, 0.0, 1.0, 1.0])?)?; // eigenvalues 2, 0
    /// assert!(pairs.values()[1].abs() <= pairs.round_off() && pairs.round_off() < 1e-13);
    /// # Ok::<(), entk_spectral::SpectralError>(())
    /// ```
    pub fn round_off(&self) -> f64 {
        let solver = self.dim as f64 * f64::EPSILON * max_abs(&self.values);
        ROUND_OFF_GROWTH * (self.entry_type.epsilon() * norm(&self.values) + solver)
    }

    /// The eigenvalues, descending.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// All eigenvectors, one after the other: K * N entries.
    pub fn vectors(&self) -> &[f64] {
        &self.vectors
    }

    /// Eigenvector phi_j, j from 0.
    ///
    /// # Panics
    /// As indexing a slice does, unless j < K; [`pair`](Self::pair) does not.
    pub fn vector(&self, j: usize) -> &[f64] {
        &self.vectors[j * self.dim..(j + 1) * self.dim]
    }

    /// Eigenvalue and eigenvector j, from 0.
    ///
    /// # Errors
    /// [`IndexOutOfRange`](SpectralError::IndexOutOfRange) unless j < K.
    pub fn pair(&self, j: usize) -> Result<(f64, &[f64])> {
        if j < self.len() {
            Ok((self.values[j], self.vector(j)))
        } else {
            Err(SpectralError::IndexOutOfRange { what: "eigenpair", index: j, len: self.len() })
        }
    }

    /// All pairs, largest eigenvalue first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (f64, &[f64])> {
        self.values.iter().copied().zip(self.vectors.chunks_exact(self.dim))
    }

    /// Keeps the k leading pairs and gives the memory of the others back.
    ///
    /// # Errors
    /// [`InvalidK`](SpectralError::InvalidK) unless 1 <= k <= K.
    pub fn truncate(mut self, k: usize) -> Result<Self> {
        check_k(k, self.len())?;
        self.values.truncate(k);
        self.values.shrink_to_fit();
        self.vectors.truncate(k * self.dim);
        self.vectors.shrink_to_fit();
        Ok(self)
    }

    /// The eigenvectors as the columns of an N x K matrix.
    pub(crate) fn matrix(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.vectors, self.dim, self.len())
    }

    /// Refuses truncated pairs for a measure of the whole spectrum.
    pub(crate) fn require_all(&self, measure: &'static str) -> Result<()> {
        let (dim, found) = (self.dim, self.len());
        if found == dim {
            Ok(())
        } else {
            Err(SpectralError::NeedsAllPairs { measure, dim, found })
        }
    }

    /// The coefficients phi_j . f of f in the eigenbasis: K numbers. Cost: K N.
    ///
    /// # Errors
    /// [`OneVector`](SpectralError::OneVector),
    /// [`NonFiniteVector`](SpectralError::NonFiniteVector), or
    /// [`Overflow`](SpectralError::Overflow).
    pub fn coefficients(&self, f: &[f64]) -> Result<Vec<f64>> {
        check_vector(f, self.dim)?;
        self.vectors.chunks_exact(self.dim).map(|phi| finite(dot(phi, f), "coefficient")).collect()
    }
}

impl fmt::Debug for Eigenpairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eigenpairs")
            .field("len", &self.len())
            .field("dim", &self.dim)
            .field("first", &self.values.first())
            .field("last", &self.values.last())
            .finish_non_exhaustive()
    }
}

/// Accepts 1 <= k <= available.
pub(crate) fn check_k(k: usize, available: usize) -> Result<()> {
    if k == 0 || k > available { Err(SpectralError::InvalidK { k, available }) } else { Ok(()) }
}

/// Accepts eigenvectors with as many entries as the kernel has samples.
pub(crate) fn check_sizes(pairs: usize, gram: usize) -> Result<()> {
    if pairs == gram { Ok(()) } else { Err(SpectralError::SizeMismatch { pairs, gram }) }
}

/// What is wrong with pair `index`, if anything.
fn flaw(values: &[f64], index: usize, vector: &[f64]) -> Option<&'static str> {
    if !values[index].is_finite() {
        Some("its eigenvalue is not finite")
    } else if index > 0 && values[index] > values[index - 1] {
        Some("its eigenvalue is larger than the one before; sort them in descending order")
    } else if vector.iter().any(|x| !x.is_finite()) {
        Some("its eigenvector has an entry that is not finite")
    } else if (norm(vector) - 1.0).abs() > UNIT_TOLERANCE {
        Some("its eigenvector does not have norm 1; divide it by its norm")
    } else {
        None
    }
}

/// Makes the first of the entries of (nearly) largest magnitude positive; says whether the sign was
/// changed.
pub(crate) fn fix_sign(vector: &mut [f64]) -> bool {
    let threshold = max_abs(vector) * (1.0 - SIGN_TIE);
    let leader = vector.iter().find(|x| x.abs() >= threshold);
    let negative = leader.is_some_and(|&x| x < 0.0);
    if negative {
        vector.iter_mut().for_each(|x| *x = -*x);
    }
    negative
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPSILON: f64 = f64::EPSILON;

    fn fixed<const N: usize>(mut v: [f64; N]) -> [f64; N] {
        fix_sign(&mut v);
        v
    }

    #[test]
    fn the_largest_entry_becomes_positive() {
        assert_eq!(fixed([0.1, -0.9, 0.3]), [-0.1, 0.9, -0.3]);
        assert_eq!(fixed([-0.1, 0.9, 0.3]), [-0.1, 0.9, 0.3]);
        assert_eq!(fixed([-1.0]), [1.0]);
    }

    #[test]
    fn ties_go_to_the_lowest_index_whatever_the_round_off() {
        for noise in [-1e-12, 0.0, 1e-12] {
            assert!(fixed([-0.5, 0.5 + noise, 0.1])[0] > 0.0);
            assert!(fixed([0.0, 0.5, -0.5 - noise])[1] > 0.0);
        }
        // Beyond the tolerance it is no tie.
        assert!(fixed([-0.5, 0.5 + 1e-5])[1] > 0.0);
    }

    /// 10 (eps ||K||_F + N 2^-52 ||K||_2) of the eigenvalues 3, 0 and -4, of norm 5.
    #[test]
    fn round_off_is_that_of_the_entries_and_of_the_solver() {
        for (entry_type, eps) in [(EntryType::F32, 2f64.powi(-23)), (EntryType::F64, EPSILON)] {
            let pairs = Eigenpairs::from_sorted(vec![3.0, 0.0, -4.0], vec![0.0; 9], 3, entry_type);
            let expected = 10.0 * (eps * 5.0 + 3.0 * EPSILON * 4.0);
            assert!((pairs.round_off() / expected - 1.0).abs() <= 4.0 * EPSILON);
        }
    }
}
