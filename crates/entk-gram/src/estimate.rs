//! Errors of a finished kernel on a sample of its entries.

use candle_core::DType;

use crate::{
    error::{GramError, Result},
    factors::per_example::{gradients, inner_product},
    ntk::Ntk,
};

/// Errors of a kernel on a sample of its entries, relative to `sqrt(K_ii K_jj)`.
///
/// The reference is the inner product of two gradients in f64, each by a backward pass of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorEstimate {
    /// Entries looked at.
    pub pairs: usize,
    /// The largest error.
    pub largest: f64,
    /// Root of the mean squared error.
    pub rms: f64,
}

impl ErrorEstimate {
    /// Compares `pairs` entries (i, j), j <= i, of a kernel with f64 references.
    pub(crate) fn of(
        ntk: &Ntk<'_>,
        pairs: usize,
        seed: u64,
        mut entry: impl FnMut(usize, usize) -> Result<f64>,
    ) -> Result<Self> {
        let (n, per) = (ntk.rows()?, ntk.rows_per_example());
        let params = ntk.params.to_dtype(DType::F64)?;
        let gradient = |row: usize| {
            let x = ntk.inputs.narrow(0, row / per, 1)?;
            let x = if x.dtype().is_float() { x.to_dtype(DType::F64)? } else { x };
            Ok::<_, GramError>(gradients(ntk, &params, &x)?.swap_remove(row % per))
        };
        let mut state = seed;
        let (mut largest, mut squares) = (0.0_f64, 0.0);
        for _ in 0..pairs {
            let (a, b) = (below(&mut state, n), below(&mut state, n));
            let (i, j) = (a.max(b), a.min(b));
            let (left, right) = (gradient(i)?, gradient(j)?);
            let scale = (inner_product(&left, &left) * inner_product(&right, &right)).sqrt();
            let difference = (entry(i, j)? - inner_product(&left, &right)).abs();
            // Two zero gradients have a zero kernel, exactly.
            let error = if difference == 0.0 { 0.0 } else { difference / scale };
            // Written so that NaN counts as the largest.
            largest = if error <= largest { largest } else { error };
            squares += error * error;
        }
        Ok(Self { pairs, largest, rms: (squares / pairs.max(1) as f64).sqrt() })
    }
}

/// A number below n from the splitmix64 sequence of `state`.
fn below(state: &mut u64, n: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) % n as u64) as usize
}
