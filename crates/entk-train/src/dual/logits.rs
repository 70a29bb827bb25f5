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

/// Coefficients on some examples: one column of `rows.len()` numbers for each target.
#[derive(Clone, Copy)]
pub(crate) struct Coefficients<'a> {
    /// The examples, as rows of the Gram.
    pub(crate) rows: &'a [u32],
    /// The columns, one after the other.
    pub(crate) columns: &'a [f64],
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
        let rows = self.kernel.rows(c.rows, &mut self.buffer)?;
        self.panels.par_iter_mut().for_each_init(Scratch::default, |scratch, panel| {
            let gradient = scratch.product(&rows, panel.examples.clone(), c.columns);
            let Panel { velocity, displacement, .. } = panel;
            // Compiled for this machine's vectors: same operations, same bits.
            Arch::new().dispatch(|| map.apply(velocity, displacement, gradient));
        });
        Ok(())
    }
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
    fn product(&mut self, rows: &[Entries<'_>], examples: Range<usize>, c: &[f64]) -> &[f64] {
        let (height, count) = (examples.len(), rows.len());
        let targets = c.len() / count;
        let columns = MatRef::from_column_major_slice(c, count, targets);
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
