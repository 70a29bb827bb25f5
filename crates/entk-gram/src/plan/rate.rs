//! The rate of matrix products of this machine, for plans and for programs that print efficiency.

use std::time::Instant;

use candle_core::DType;
use entk_models::Real;
use faer::{Accum, Mat, Par, linalg::matmul::matmul};

/// Products that are timed; the fastest counts.
const REPEATS: usize = 3;

/// Edge of a product that counts as large.
const LARGE: usize = 3072;

/// Operations a second of this machine in a large square matrix product of `dtype` (f64, otherwise
/// f32) on all threads: what an assembly is measured against. Takes about a second.
pub fn product_rate(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => rate::<f64>(LARGE, Par::rayon(0)),
        _ => rate::<f32>(LARGE, Par::rayon(0)),
    }
}

/// Operations a second in a product of this edge.
pub(crate) fn rate<T: Real>(edge: usize, par: Par) -> f64 {
    let a = Mat::<T>::full(edge, edge, T::one());
    let mut c = Mat::<T>::zeros(edge, edge);
    let mut seconds = f64::MAX;
    for _ in 0..REPEATS {
        let start = Instant::now();
        matmul(c.as_mut(), Accum::Replace, a.as_ref(), a.transpose(), T::one(), par);
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    2.0 * (edge as f64).powi(3) / seconds.max(1e-9)
}
