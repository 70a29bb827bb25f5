//! Distances between results: in come two of one shape, out goes one number, NaN if either holds
//! one, so that `error <= tolerance` then fails.

use candle_core::{Result, Tensor};

/// `||a - b|| / ||b||`.
///
/// # Panics
/// On two lengths.
pub fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(x, y)| x - y)) / norm(&mut b.iter().copied())
}

/// [`relative_error`] of two tensors of f64.
///
/// # Errors
/// Another element type.
///
/// # Panics
/// On two shapes.
pub fn tensor_error(a: &Tensor, b: &Tensor) -> Result<f64> {
    assert_eq!(a.dims(), b.dims());
    let host = |t: &Tensor| t.flatten_all()?.to_vec1::<f64>();
    Ok(relative_error(&host(a)?, &host(b)?))
}

/// `max |a_ij - b_ij| / sqrt(b_ii b_jj)` of two n x n matrices.
pub fn entrywise_error(
    n: usize,
    a: impl Fn(usize, usize) -> f64,
    b: impl Fn(usize, usize) -> f64,
) -> f64 {
    let diagonal: Vec<f64> = (0..n).map(|i| b(i, i)).collect();
    let pairs = (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
    let error = |(i, j)| (a(i, j) - b(i, j)).abs() / (diagonal[i] * diagonal[j]).sqrt();
    let larger = |worst: f64, e: f64| if worst.is_nan() || e <= worst { worst } else { e };
    pairs.map(error).fold(0.0, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_nan_where_a_number_is() {
        for (a, b) in [([1.0, f64::NAN], [1.0, 1.0]), ([1.0, 1.0], [f64::NAN, 1.0])] {
            assert!(relative_error(&a, &b).is_nan());
            assert!(entrywise_error(2, |i, j| a[i] * a[j], |i, j| b[i] * b[j]).is_nan());
        }
        assert_eq!(relative_error(&[3.0, 5.0], &[3.0, 4.0]), 0.2);
        assert_eq!(entrywise_error(2, |i, j| (i + j) as f64, |i, j| 1.0 + (i * j) as f64), 1.0);
    }
}
