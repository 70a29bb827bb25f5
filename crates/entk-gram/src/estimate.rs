//! Errors of a finished kernel on a sample of its entries.

use std::{borrow::Cow, cmp::Ordering, sync::OnceLock};

use candle_core::DType;
use entk_device::memory::ensure;
use entk_models::{Params, Sweep};

use crate::{
    error::Result,
    factors::per_example::{gradient, inner_product, row_cotangents},
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
    /// Row and column of the entry that has it.
    pub at: [usize; 2],
    /// Root of the mean squared error.
    pub rms: f64,
}

impl ErrorEstimate {
    /// Compares `pairs` entries (i, j), j <= i, of a kernel with f64 references: a chain, in which
    /// every pair has one row of the pair before.
    pub(crate) fn of(
        ntk: &Ntk<'_>,
        pairs: usize,
        seed: u64,
        mut entry: impl FnMut(usize, usize) -> Result<f64>,
    ) -> Result<Self> {
        if pairs > 0 {
            Self::check_memory(ntk, None)?;
        }
        let (n, params) = (ntk.rows()?, ntk.params.to_dtype(DType::F64)?);
        let mut state = seed;
        let mut next = || Row::new(ntk, &params, below(&mut state, n));
        let (mut largest, mut at, mut squares) = (0.0_f64, [0; 2], 0.0);
        let mut last = None;
        for _ in 0..pairs {
            let left = last.take().map_or_else(&mut next, Ok)?;
            let right = next()?;
            let [left_square, product, right_square] = left.products(&right)?;
            let (i, j) = (left.row.max(right.row), left.row.min(right.row));
            let difference = (entry(i, j)? - product).abs();
            // Two zero gradients have a zero kernel, exactly.
            let scale = (left_square * right_square).sqrt();
            let error = if difference == 0.0 { 0.0 } else { difference / scale };
            // Written so that NaN counts as the largest, and stays so.
            if !matches!(error.partial_cmp(&largest), Some(Ordering::Less | Ordering::Equal))
                && !largest.is_nan()
            {
                (largest, at) = (error, [i, j]);
            }
            squares += error * error;
            last = Some(right);
        }
        Ok(Self { pairs, largest, at, rms: (squares / pairs.max(1) as f64).sqrt() })
    }

    /// Parameters, two gradients and what their sums leave, and two sweeps of one example, in f64.
    pub(crate) fn check_memory(ntk: &Ntk<'_>, max: Option<u64>) -> Result<()> {
        let numbers = (5 * ntk.params.count() as u64).saturating_add(4 * ntk.values as u64);
        let bytes = numbers.saturating_mul(size_of::<f64>() as u64);
        let remedy = "compare no entries (`--check 0`)";
        Ok(ensure("the comparison of entries with f64", bytes, max, remedy)?)
    }
}

/// A row of the kernel, and the gradients in f64 that it is made of.
struct Row<'a> {
    row: usize,
    ntk: &'a Ntk<'a>,
    sweep: Sweep<'a>,
    cotangents: Vec<Vec<f64>>,
    /// Its gradient, if it is only one: those of all outputs would take C P numbers.
    only: OnceLock<Vec<f64>>,
}

impl<'a> Row<'a> {
    fn new(ntk: &'a Ntk<'a>, params: &'a Params, row: usize) -> Result<Self> {
        let per = ntk.rows_per_example();
        let x = ntk.inputs.narrow(0, row / per, 1)?;
        let x = if x.dtype().is_float() { x.to_dtype(DType::F64)? } else { x };
        let (sweep, only) = (ntk.model.sweep(params, &x)?, OnceLock::new());
        let cotangents = row_cotangents(ntk).swap_remove(row % per);
        Ok(Self { row, ntk, sweep, cotangents, only })
    }

    fn gradient(&self, u: &[f64]) -> Result<Cow<'_, [f64]>> {
        if let Some(gradient) = self.only.get() {
            return Ok(Cow::Borrowed(gradient));
        }
        let gradient = gradient(self.ntk, &self.sweep, u)?;
        match self.cotangents.len() {
            1 => Ok(Cow::Borrowed(self.only.get_or_init(|| gradient))),
            _ => Ok(Cow::Owned(gradient)),
        }
    }

    /// Inner products of this row with itself, of both, and of the other with itself.
    fn products(&self, other: &Self) -> Result<[f64; 3]> {
        let mut sums = [0.0; 3];
        for (u, v) in self.cotangents.iter().zip(&other.cotangents) {
            self.ntk.check_stop()?;
            let (a, b) = (self.gradient(u)?, other.gradient(v)?);
            for (sum, [a, b]) in sums.iter_mut().zip([[&a, &a], [&a, &b], [&b, &b]]) {
                *sum += inner_product(a, b);
            }
        }
        Ok(sums)
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
