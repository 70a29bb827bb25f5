//! Eigenvectors at inputs beyond those that were solved for: in come the eigenpairs or the Gram of
//! some inputs and their kernel with others, out go eigenvectors on the others. Users call it for
//! test inputs and for samples that are too large to solve.

use faer::{MatMut, MatRef};

use crate::{
    dense::{
        qr::orthonormal,
        ritz::dense_eigen,
        tall::{combine, multiply},
        vector::{finite, zeros},
    },
    eigenpairs::{Eigenpairs, check_k, check_sizes},
    error::{Result, SpectralError},
    kernel::{cross::CrossGram, gram::Gram},
    ranks::row_bands::BAND,
    solvers::{eigh::eigh, psd::noise_floor},
};

/// Eigenvectors at new inputs: phi_j(x) = sum over i of Theta(x, x_i) phi_j(i) / lambda_j, the
/// inductive form of an eigenfunction that was computed on a training sample only.
///
/// `cross` holds the new inputs as rows and the training sample, in the order of the pairs, as
/// columns. Returned are K columns of `cross.rows()` entries, one after the other. At a training
/// input it gives phi_j back; sign and scale are those of the pairs, so that sign(phi_j(x))
/// continues the binary target.
///
/// An error in `cross` grows by 1 / lambda_j: pairs with lambda_j <= eps lambda_0, eps of the
/// stored type, are refused; truncate them first.
///
/// # Errors
/// [`SizeMismatch`](SpectralError::SizeMismatch), [`Singular`](SpectralError::Singular), or
/// [`Overflow`](SpectralError::Overflow).
///
/// ```
/// use entk_spectral::{CrossGram, Gram, eigh, extend};
///
/// let pairs = eigh(&Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?)?;
/// // A new input that equals the second training input.
/// let phi = extend(&pairs, &CrossGram::from_f64(1, 2, vec![1.0, 2.0])?)?;
/// assert!((phi[1] - pairs.vector(1)[1]).abs() < 1e-15);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn extend(pairs: &Eigenpairs, cross: &CrossGram) -> Result<Vec<f64>> {
    check_sizes(pairs.dim(), cross.cols())?;
    let largest = pairs.values().first().copied().unwrap_or(0.0);
    let floor = pairs.entry_type().epsilon() * largest.max(0.0);
    if let Some(&smallest) = pairs.values().iter().find(|&&x| x <= floor) {
        return Err(SpectralError::Singular { smallest, largest, floor });
    }
    let mut columns = cross.product(pairs.vectors())?;
    for (column, value) in columns.chunks_exact_mut(cross.rows()).zip(pairs.values()) {
        for x in column {
            *x = finite(*x / value, "extended eigenvector")?;
        }
    }
    Ok(columns)
}

/// The k leading eigenpairs of the Nystrom approximation K ~ C G^+ C^T of a kernel on N inputs,
/// from its columns C (N x s) at s landmarks and their own Gram G (s x s).
///
/// G^+ is the pseudo-inverse over the eigenvalues of G above eps ||G||_F + 10 s 2^-52 lambda_0(G),
/// eps of the stored type. Unlike the usual formula, which extends each eigenvector of G
/// separately, the vectors are exactly orthonormal: with F = C U Lambda^(-1/2) = Q R they are Q
/// times the eigenvectors of R R^T, whose eigenvalues are returned. They are exact if K has rank at
/// most s and G the same rank.
///
/// [`residual_norms`](crate::residual_norms) says how good they are for K itself. Cost: N s^2 for
/// each of F and Q, 20 s^3; no N x N matrix is formed.
///
/// Source: Williams and Seeger (2001); an option of the paper's published code.
///
/// # Errors
/// [`SizeMismatch`](SpectralError::SizeMismatch) unless G belongs to the columns of C,
/// [`InvalidK`](SpectralError::InvalidK) unless 1 <= k <= the rank of G and s <= N, or those of
/// [`eigh`].
///
/// ```
/// use entk_spectral::{Gram, nystrom, residual_norms};
///
/// // Rank 2, and two landmarks that see both directions.
/// let x = [-3.0, -1.0, 1.0, 3.0];
/// let entries = x.iter().flat_map(|a| x.map(|b| 1.0 + a * b)).collect();
/// let gram = Gram::from_lower_f64(4, entries)?;
/// let cross = gram.block(&[0, 1, 2, 3], &[0, 3])?;
/// let pairs = nystrom(&cross, &gram.principal(&[0, 3])?, 2)?;
/// assert!((pairs.values()[0] - 20.0).abs() < 1e-12);
/// assert!(residual_norms(&gram, &pairs)?.iter().all(|&r| r < 1e-12));
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[cfg_attr(feature = "tracing", tracing::instrument(name = "nystrom", skip_all, fields(k = k)))]
pub fn nystrom(cross: &CrossGram, landmarks: &Gram, k: usize) -> Result<Eigenpairs> {
    let (n, s) = (cross.rows(), landmarks.n());
    check_sizes(cross.cols(), s)?;
    let small = eigh(landmarks)?;
    let largest = small.values().first().copied().unwrap_or(0.0);
    let floor = noise_floor(landmarks.frobenius()?, largest, s, landmarks.entry_type());
    let rank = small.values().iter().take_while(|&&x| x > floor).count();
    check_k(k, rank.min(n))?;
    let small = small.truncate(rank.min(n))?;
    let mut features = cross.product(small.vectors())?;
    for (column, value) in features.chunks_exact_mut(n).zip(small.values()) {
        column.iter_mut().for_each(|x| *x /= value.sqrt());
    }
    leading_of(features, n, k, landmarks)
}

/// Eigenpairs of F F^T for features F (n x r, column by column).
fn leading_of(features: Vec<f64>, n: usize, k: usize, landmarks: &Gram) -> Result<Eigenpairs> {
    let size = features.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
    let f = orthonormal(features, n, f64::EPSILON * size)?;
    let rank = f.r.nrows();
    check_k(k, rank)?;
    let (values, vectors) = dense_eigen(multiply(f.r.as_ref(), f.r.as_ref().transpose()).as_ref())?;
    let top = MatRef::from_column_major_slice(&vectors, rank, rank);
    let top = top.subcols(rank - k, k).reverse_cols();
    let mut phi = zeros(n * k, "eigenvectors")?;
    let q = MatRef::from_column_major_slice(&f.q, n, rank);
    combine(MatMut::from_column_major_slice_mut(&mut phi, n, k), q, top, BAND);
    let values = values.iter().rev().take(k);
    let values: Result<Vec<f64>> = values.map(|&x| finite(x, "largest eigenvalue")).collect();
    Ok(Eigenpairs::from_sorted(values?, phi, n, landmarks.entry_type()))
}
