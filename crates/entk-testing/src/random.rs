//! Random numbers, equal on every platform: in come a count or a shape and a seed, out go standard
//! normals or a labelled task.

use candle_core::{DType, Result, Tensor};
use entk_models::Initializer;

use crate::device::test_device;

/// Independent standard normals.
pub fn normals(count: usize, seed: u64) -> Vec<f64> {
    Initializer::Normal.draw("x", count, seed)
}

/// A tensor of independent standard normals, f64.
///
/// # Errors
/// Those of the tensor library.
pub fn normal(shape: &[usize], seed: u64) -> Result<Tensor> {
    Tensor::from_vec(normals(shape.iter().product(), seed), shape, test_device())
}

/// A tensor of ids below `count`, u32, smaller ones more often.
///
/// # Errors
/// Those of the tensor library.
pub fn ids(shape: &[usize], count: usize, seed: u64) -> Result<Tensor> {
    let of = |x: f64| ((x.abs() / 3.0).min(0.999) * count as f64) as u32;
    let ids: Vec<u32> = normals(shape.iter().product(), seed).into_iter().map(of).collect();
    Tensor::from_vec(ids, shape, test_device())
}

/// N normal images (N, C, H, W) with labels: 1 where the first pixel is positive, which is then
/// moved out by `margin`.
///
/// # Errors
/// Those of the tensor library.
pub fn separable(
    shape: [usize; 4],
    margin: f64,
    dtype: DType,
    seed: u64,
) -> Result<(Tensor, Vec<u8>)> {
    let width = shape[1..].iter().product();
    let mut x = normals(shape.iter().product(), seed);
    let mut labels = Vec::with_capacity(shape[0]);
    for image in x.chunks_exact_mut(width) {
        labels.push(u8::from(image[0] > 0.0));
        image[0] += margin.copysign(image[0]);
    }
    Ok((Tensor::from_vec(x, &shape, test_device())?.to_dtype(dtype)?, labels))
}
