//! Alignment of targets with a kernel: in come a Gram and one target or many, out goes a number for
//! each, in the normalisation of the paper's text or of its figures. Users call it, and
//! `layer_shares` for each layer.

use crate::{
    dense::vector::{BinaryScale, check_stack, check_vector, dot, finite, max_abs},
    error::{Result, SpectralError},
    kernel::gram::Gram,
};

/// Targets multiplied at a time; bounds the working memory.
const STACK: usize = 256;

/// Alignment as the paper's text defines it: alpha(f) = f^T K f / m^2.
///
/// On a sample of m inputs this is E[f(x) Theta(x, x') f(x')] with both expectations replaced by
/// means over the sample, and with K = J J^T it equals ||J^T f / m||^2 = ||E[f(x) grad
/// f_theta(x)]||^2. The figures show another normalisation, [`rayleigh_alignment`]. Of the full
/// kernel of C outputs m is N C, so that this is 1 / C^2 of f^T K f / N^2, which the command `entk`
/// records.
///
/// Paper: the definition of the alignment alpha(f). Cost: one product, m^2.
///
/// # Errors
/// [`OneVector`](SpectralError::OneVector),
/// [`NonFiniteVector`](SpectralError::NonFiniteVector), [`ZeroVector`](SpectralError::ZeroVector)
/// for f = 0, [`ZeroGram`](SpectralError::ZeroGram) for K = 0, or
/// [`Overflow`](SpectralError::Overflow).
///
/// ```
/// use entk_spectral::{Gram, alignment, rayleigh_alignment};
///
/// let gram = Gram::from_lower_f64(2, vec![3.0, 0.0, 1.0, 3.0])?;
/// assert_eq!(alignment(&gram, &[1.0, 1.0])?, 8.0 / 4.0);
/// // (1, 1) is an eigenvector with eigenvalue 4.
/// assert_eq!(rayleigh_alignment(&gram, &[1.0, 1.0])?, 4.0);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn alignment(gram: &Gram, f: &[f64]) -> Result<f64> {
    check_vector(f, gram.n())?;
    single(alignments(gram, f)?)
}

/// Alignment as the paper's figures plot it: y^T K y / ||y||^2.
///
/// The Rayleigh quotient: it lies between the smallest and largest eigenvalue and equals lambda_j
/// on phi_j. For y in {-1, +1} it is m times [`alignment`]. Independent of the length of y.
///
/// Paper: figures 7, 15 and 16. Cost and errors as [`alignment`].
///
/// # Errors
/// See [`alignment`].
pub fn rayleigh_alignment(gram: &Gram, y: &[f64]) -> Result<f64> {
    check_vector(y, gram.n())?;
    single(rayleigh_alignments(gram, y)?)
}

/// [`alignment`] of many targets of m entries each, one after the other: one number a target, at
/// the speed of a matrix product. Equal to the single function up to round-off.
///
/// # Errors
/// See [`alignment`]; [`VectorLength`](SpectralError::VectorLength) unless the length is a non-zero
/// multiple of m. Values (m, C) of a network, an example after the other, have the same length and
/// are other targets: transpose them first (`Targets::to_columns` of entk-train).
pub fn alignments(gram: &Gram, targets: &[f64]) -> Result<Vec<f64>> {
    let m = gram.n() as f64;
    let forms = quadratic_forms(gram, targets)?;
    // The scale comes back twice: the form is quadratic in the target.
    forms.iter().map(|q| finite(q.scale.up(q.scale.up(q.form / m / m)), "alignment")).collect()
}

/// [`rayleigh_alignment`] of many targets, as [`alignments`].
///
/// # Errors
/// See [`alignments`].
pub fn rayleigh_alignments(gram: &Gram, targets: &[f64]) -> Result<Vec<f64>> {
    let forms = quadratic_forms(gram, targets)?;
    forms.iter().map(|q| finite(q.form / q.square, "alignment")).collect()
}

/// f^T K f and f^T f of a target that was divided by `scale`.
struct QuadraticForm {
    form: f64,
    square: f64,
    scale: BinaryScale,
}

fn quadratic_forms(gram: &Gram, targets: &[f64]) -> Result<Vec<QuadraticForm>> {
    let m = gram.n();
    let count = check_stack(targets, m)?;
    if let Some(vector) = targets.chunks_exact(m).position(|f| max_abs(f) == 0.0) {
        return Err(SpectralError::ZeroVector { vector });
    }
    let mut forms = Vec::with_capacity(count);
    for stack in targets.chunks(STACK * m) {
        let scales: Vec<_> = stack.chunks_exact(m).map(|f| BinaryScale::of(max_abs(f))).collect();
        let scaled: Vec<f64> = stack
            .chunks_exact(m)
            .zip(&scales)
            .flat_map(|(f, s)| f.iter().map(|&x| s.down(x)))
            .collect();
        let images = gram.product(&scaled)?;
        for ((f, image), &scale) in scaled.chunks_exact(m).zip(images.chunks_exact(m)).zip(&scales)
        {
            forms.push(QuadraticForm { form: dot(f, image), square: dot(f, f), scale });
        }
    }
    // The scan for a zero kernel costs a pass, so only a zero result pays for it.
    if forms.iter().any(|q| q.form == 0.0) && gram.max_abs() == 0.0 {
        return Err(SpectralError::ZeroGram { measure: "alignment", n: m });
    }
    Ok(forms)
}

fn single(values: Vec<f64>) -> Result<f64> {
    values.first().copied().ok_or(SpectralError::VectorLength { dim: 1, found: 0 })
}
