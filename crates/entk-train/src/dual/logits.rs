//! From coefficients c on examples to K c: the products with rows of the kernel, and the velocity K
//! b and displacement K a of every training logit, in panels of rows.
//!
//! A dual run moves them at every step, and asks for the products with test examples where it
//! evaluates.

use std::ops::Range;

use entk_spectral::{Entries, KernelRows};
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use pulp::Arch;
use rayon::prelude::*;

use crate::{
    dual::recurrence::StepMap,
    error::{Result, TrainError},
};

/// Examples of a panel: what one task computes.
const PANEL: usize = 128;
/// Rows of the kernel widened to f64 at a time; with the panel 128 KiB, within an L2 cache.
const TILE: usize = 128;

/// Numbers of the kernel that are read at a time, if they are not in memory: 128 MiB. Steps on more
/// are taken in parts; the number is fixed, so that they have the same bits in memory.
const READ: usize = 1 << 24;

/// Coefficients on some rows of the kernel: one column of `rows.len()` numbers for each target.
#[derive(Clone, Copy)]
pub(crate) struct Coefficients<'a> {
    /// Rows of the Gram.
    pub(crate) rows: &'a [u32],
    /// The columns, one after the other.
    pub(crate) columns: &'a [f64],
}

impl<'a> Coefficients<'a> {
    fn matrix(&self) -> MatRef<'a, f64> {
        let count = self.rows.len();
        MatRef::from_column_major_slice(self.columns, count, self.columns.len() / count)
    }
}

/// Consecutive examples with the velocity and displacement of their logits, for every target.
struct Panel {
    examples: Range<usize>,
    /// K b, one column of examples for each target.
    velocity: Vec<f64>,
    /// K a, likewise.
    displacement: Vec<f64>,
}

/// The velocities and displacements of all training logits.
pub(crate) struct Logits<'a> {
    kernel: &'a dyn KernelRows,
    panels: Vec<Panel>,
    /// Rows of the kernel that had to be read.
    buffer: Vec<f64>,
}

impl<'a> Logits<'a> {
    /// Velocities and displacements of zero, for the first `examples` samples of the kernel.
    pub(crate) fn new(kernel: &'a dyn KernelRows, examples: usize, targets: usize) -> Result<Self> {
        let panel = |examples: Range<usize>| {
            let (velocity, displacement) =
                (zeros(examples.len(), targets)?, zeros(examples.len(), targets)?);
            Ok(Panel { examples, velocity, displacement })
        };
        let panels = ranges(0..examples).map(panel).collect::<Result<_>>()?;
        Ok(Self { kernel, panels, buffer: Vec::new() })
    }

    /// The displacement of one logit.
    pub(crate) fn displacement(&self, example: usize, target: usize) -> f64 {
        let panel = &self.panels[example / PANEL];
        panel.displacement[target * panel.examples.len() + example % PANEL]
    }

    /// The displacements of the logits of one target, in the order of the examples.
    pub(crate) fn column(&self, target: usize) -> impl Iterator<Item = f64> {
        self.panels.iter().flat_map(move |panel| {
            let height = panel.examples.len();
            panel.displacement[target * height..(target + 1) * height].iter().copied()
        })
    }

    /// One step along the gradient K c of coefficients c.
    pub(crate) fn step(&mut self, map: StepMap, c: Coefficients<'_>) -> Result<()> {
        self.step_by_parts(map, c, rows_at_once(self.kernel, READ))
    }

    fn step_by_parts(&mut self, map: StepMap, c: Coefficients<'_>, at_once: usize) -> Result<()> {
        let columns = c.matrix();
        for (part, indices) in c.rows.chunks(at_once).enumerate() {
            let rows = self.kernel.rows(indices, &mut self.buffer)?;
            let columns = columns.subrows(part * at_once, rows.len());
            let map = if part == 0 { map } else { map.kick_alone() };
            self.panels.par_iter_mut().for_each_init(Scratch::default, |scratch, panel| {
                let gradient = scratch.product(&rows, panel.examples.clone(), columns);
                let Panel { velocity, displacement, .. } = panel;
                // Compiled for this machine's vectors: same operations, same bits.
                Arch::new().dispatch(|| map.apply(velocity, displacement, gradient));
            });
        }
        Ok(())
    }
}

/// Rows of a kernel, at least one, of so many numbers.
pub(crate) fn rows_at_once(kernel: &dyn KernelRows, numbers: usize) -> usize {
    (numbers / kernel.n()).max(1)
}

/// K c on the samples `examples` for coefficients c on the first `n` samples, one column of `n` for
/// each target: one column of `examples.len()` for each, one after the other.
pub(crate) fn product(
    kernel: &dyn KernelRows,
    examples: Range<usize>,
    c: &[f64],
    n: usize,
) -> Result<Vec<f64>> {
    let (count, targets) = (examples.len(), c.len() / n);
    let ranges: Vec<_> = ranges(examples).collect();
    let panel = |range: &Range<usize>| -> Result<Vec<f64>> {
        // Indices of samples fit: the kernel gives rows by them.
        let indices: Vec<u32> = range.clone().map(|index| index as u32).collect();
        let mut buffer = Vec::new();
        Ok(panel_product(&kernel.rows(&indices, &mut buffer)?, c, n))
    };
    let parts: Vec<Result<Vec<f64>>> = ranges.par_iter().map(panel).collect();
    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    let mut columns = zeros(count, targets)?;
    for (target, column) in columns.chunks_exact_mut(count).enumerate() {
        let mut rest = column;
        for (range, part) in ranges.iter().zip(&parts) {
            let (out, after) = rest.split_at_mut(range.len());
            out.copy_from_slice(&part[target * range.len()..(target + 1) * range.len()]);
            rest = after;
        }
    }
    Ok(columns)
}

/// The first n columns of some rows, times c: one column of `rows.len()` for each of c.
fn panel_product(rows: &[Entries<'_>], c: &[f64], n: usize) -> Vec<f64> {
    let (height, targets) = (rows.len(), c.len() / n);
    let columns = MatRef::from_column_major_slice(c, n, targets);
    let (mut product, mut tile) = (vec![0.0; height * targets], Vec::new());
    for start in (0..n).step_by(TILE) {
        let width = TILE.min(n - start);
        tile.clear();
        rows.iter().for_each(|row| widen(*row, start..start + width, &mut tile));
        let out = MatMut::from_column_major_slice_mut(&mut product, height, targets);
        let tile = MatRef::from_row_major_slice(&tile, height, width);
        matmul(out, Accum::Add, tile, columns.subrows(start, width), 1.0, Par::Seq);
    }
    product
}

fn ranges(examples: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = examples.end;
    examples.step_by(PANEL).map(move |first| first..end.min(first + PANEL))
}

/// Buffers that a thread reuses from panel to panel.
#[derive(Default)]
struct Scratch {
    /// Rows of the kernel within the panel, one after the other.
    tile: Vec<f64>,
    product: Vec<f64>,
}

impl Scratch {
    /// K c on the panel `examples`, for c on the samples of `rows`. The shapes of all products are
    /// fixed by the panel and c, and each is computed by one thread, so the bits do not depend
    /// on how many there are.
    fn product(
        &mut self,
        rows: &[Entries<'_>],
        examples: Range<usize>,
        columns: MatRef<'_, f64>,
    ) -> &[f64] {
        let (height, targets) = (examples.len(), columns.ncols());
        self.product.resize(height * targets, 0.0);
        let mut out = MatMut::from_column_major_slice_mut(&mut self.product, height, targets);
        let mut accumulate = Accum::Replace;
        for (at, rows) in rows.chunks(TILE).enumerate() {
            self.tile.clear();
            Arch::new().dispatch(|| {
                rows.iter().for_each(|row| widen(*row, examples.clone(), &mut self.tile));
            });
            let tile = MatRef::from_column_major_slice(&self.tile, height, rows.len());
            let part = columns.subrows(at * TILE, rows.len());
            matmul(out.as_mut(), accumulate, tile, part, 1.0, Par::Seq);
            accumulate = Accum::Add;
        }
        &self.product
    }
}

#[inline(always)]
fn widen(row: Entries<'_>, part: Range<usize>, tile: &mut Vec<f64>) {
    match row {
        Entries::F32(row) => tile.extend(row[part].iter().map(|&x| f64::from(x))),
        Entries::F64(row) => tile.extend_from_slice(&row[part]),
    }
}

/// `n` zeros for each of `targets` targets.
pub(crate) fn zeros(n: usize, targets: usize) -> Result<Vec<f64>> {
    let numbers = n.saturating_mul(targets);
    let mut zeros = Vec::new();
    zeros
        .try_reserve_exact(numbers)
        .map_err(|_| TrainError::OutOfMemory { what: "coefficients", numbers })?;
    zeros.resize(numbers, 0.0);
    Ok(zeros)
}

#[cfg(test)]
mod tests {
    use entk_spectral::Gram;

    use super::*;
    use crate::config::SgdConfig;

    #[test]
    fn rows_read_in_parts_give_the_same_step() {
        let (n, targets) = (150, 3);
        let entry = |at: usize| ((at / n * (at % n)) as f64).sin();
        let gram = Gram::from_lower_f64(n, (0..n * n).map(entry).collect()).expect("finite");
        let map = StepMap::of(&SgdConfig::default(), 0.1).expect("linear");
        let rows: Vec<u32> = (0..40).map(|at| 3 * at).collect();
        let columns: Vec<f64> = (0..40 * targets).map(|at| (at as f64).cos()).collect();
        let moved = |at_once: usize| {
            let mut logits = Logits::new(&gram, n, targets).expect("memory");
            for _ in 0..2 {
                let c = Coefficients { rows: &rows, columns: &columns };
                logits.step_by_parts(map, c, at_once).expect("rows in memory");
            }
            (0..targets).flat_map(|at| logits.column(at).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let whole = moved(40);
        assert!(whole.iter().any(|u| u.abs() > 0.1));
        for at_once in [1, 7, 39] {
            for (a, b) in moved(at_once).iter().zip(&whole) {
                // Sums of 40 numbers below 1 in another order, which are of size 40.
                assert!((a - b).abs() <= 1600.0 * f64::EPSILON, "{a}, {b}");
            }
        }
    }
}
