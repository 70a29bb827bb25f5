//! One tile of the kernel from kept factors: products on all threads, in parts of the tile. Called
//! by the engine.

use std::{ops::Range, sync::Mutex};

use entk_models::Real;
use faer::{MatMut, MatRef};
use rayon::prelude::*;

use crate::{
    config::CpuConfig,
    cpu::{
        expansion::{Expanded, Expansion},
        kept::{Contraction, CpuLayer, KeptFactors},
        pixels::PixelScratch,
        rows::{FactorPair, Rows, SHORTEST, SharedInputs, cuts, lengthened},
        sum::{Sum, add_in_order, runs},
    },
    error::Result,
    progress::Watch,
    tiles::TileRange,
};

/// Parts of a tile for each thread at least: with fewer, threads are idle at the end.
const PARTS_PER_THREAD: usize = 4;
/// Smallest edge to which tiles are cut for that: shorter products cost more than idle threads.
const SMALLEST_PART: usize = 32;

/// The products between the factors of some rows and some columns of the kernel.
pub(crate) struct TileContraction<'a, T> {
    pub(crate) left: &'a KeptFactors<T>,
    pub(crate) right: &'a KeptFactors<T>,
    /// Layers whose inputs are those of the model, so that their products may be given.
    pub(crate) first: &'a [usize],
    pub(crate) config: &'a CpuConfig,
}

/// Entries that adding to a tile reports: those of its parts, each as often as it is added to by
/// these layers.
pub(crate) fn work<'l, T: Real>(
    range: &TileRange,
    layers: impl Iterator<Item = &'l CpuLayer>,
    config: &CpuConfig,
) -> usize {
    let edge = part_edge(range, config);
    let columns = cuts(&range.cols, edge);
    let needed = |rows: &Range<usize>| -> usize {
        let needed = columns.iter().filter(|cols| range.needs(rows, cols));
        needed.map(|cols| rows.len() * cols.len()).sum()
    };
    let entries: usize = cuts(&range.rows, edge).iter().map(needed).sum();
    let passes = layers.map(|layer| match &layer.contraction {
        Contraction::Expanded(e) => e.passes::<T>(examples(range), config.expansion).len(),
        _ => 0,
    });
    entries * (1 + passes.sum::<usize>())
}

/// Edge of the parts of a tile: smaller than asked for where they would be too few.
fn part_edge(range: &TileRange, config: &CpuConfig) -> usize {
    let parts = (PARTS_PER_THREAD * rayon::current_num_threads()) as f64;
    let area = (range.rows.len() * range.cols.len()) as f64;
    let area = if range.is_diagonal() { area / 2.0 } else { area };
    config.tile.min(((area / parts).sqrt() as usize).max(SMALLEST_PART))
}

/// Scratch memory of one task.
struct Scratch<T, A> {
    tile: Vec<A>,
    inputs: Vec<A>,
    cotangents: Vec<A>,
    pixels: PixelScratch<A>,
    product: Vec<T>,
    line: Vec<A>,
}

/// A part of the target that one task computes.
type Task<'m, A> = (Range<usize>, Range<usize>, MatMut<'m, A>);

impl<T: Real> TileContraction<'_, T> {
    /// Adds to a tile, in parts, one task each.
    ///
    /// Each entry is one fixed sequence of operations: short layers, dense layers in the order
    /// of the backward sweep, embeddings id by id, then expanded layers filter by filter. It
    /// depends neither on the part nor on the tile, the threads or the memory.
    /// `input_products`, X X^T of the tile, are taken where they are given.
    pub(crate) fn add_to<A: Sum<T>>(
        &self,
        range: &TileRange,
        watch: &Watch<'_>,
        input_products: Option<MatRef<'_, A>>,
        mut target: MatMut<'_, A>,
    ) -> Result<()> {
        let pool = Mutex::new(Vec::new());
        self.for_each_part(range, watch, &pool, target.as_mut(), |rows, cols, scratch| {
            let input_products = input_products.map(|products| {
                let (row, col) = (rows.start - range.rows.start, cols.start - range.cols.start);
                products.get(row.., col..)
            });
            self.add_kept(rows, cols, input_products, scratch);
        })?;
        let (mut a, mut b) = (Expanded::default(), Expanded::default());
        for (left, right, expansion) in self.expanded() {
            for filters in expansion.passes::<T>(examples(range), self.config.expansion) {
                watch.check()?;
                a.fill(expansion, left, &range.rows, &filters);
                let b = if range.is_diagonal() {
                    &a
                } else {
                    b.fill(expansion, right, &range.cols, &filters);
                    &b
                };
                let target = target.as_mut();
                let first = filters.first().map_or(0, |filters| filters.start);
                self.for_each_part(range, watch, &pool, target, |rows, cols, scratch| {
                    let rows = a.rows.view(&relative(rows, range.rows.start));
                    let cols = b.rows.view(&relative(cols, range.cols.start));
                    let product = |filters: &Range<usize>| {
                        let from = expansion.columns(&(first..filters.start));
                        let width = expansion.columns(filters);
                        [rows, cols].map(|rows| rows.subcols(from, width))
                    };
                    let products: Vec<_> = filters.iter().map(product).collect();
                    add_in_order(&mut scratch.tile, &products, &mut scratch.inputs);
                })?;
            }
        }
        watch.check()
    }

    /// All layers but those of rows, with their factors on both sides.
    fn layers(&self) -> impl Iterator<Item = ([&FactorPair<T>; 2], &Contraction)> {
        let pairs = self.left.pairs.iter().zip(&self.right.pairs).map(|(a, b)| [a, b]);
        pairs.zip(&self.left.contractions)
    }

    /// The layers whose rows are expanded.
    fn expanded(&self) -> impl Iterator<Item = (&FactorPair<T>, &FactorPair<T>, &Expansion)> {
        self.layers().filter_map(|([left, right], contraction)| match contraction {
            Contraction::Expanded(expansion) => Some((left, right, expansion)),
            _ => None,
        })
    }

    /// Runs `add` on every part of a tile: it finds the part's present entries in scratch memory,
    /// row-major with sides of at least [`SHORTEST`], and leaves the new ones there.
    fn for_each_part<A: Sum<T>>(
        &self,
        range: &TileRange,
        watch: &Watch<'_>,
        pool: &Mutex<Vec<Scratch<T, A>>>,
        target: MatMut<'_, A>,
        add: impl Fn(&Range<usize>, &Range<usize>, &mut Scratch<T, A>) + Sync,
    ) -> Result<()> {
        let tasks = split(range, part_edge(range, self.config), target);
        tasks.into_par_iter().with_max_len(1).try_for_each(|(rows, cols, mut target)| {
            watch.check()?;
            let mut scratch = pool.lock().ok().and_then(|mut pool| pool.pop()).unwrap_or_default();
            load(target.as_ref(), &mut scratch.tile);
            add(&lengthened(&rows), &lengthened(&cols), &mut scratch);
            store(&scratch.tile, &mut target);
            if let Ok(mut pool) = pool.lock() {
                pool.push(scratch);
            }
            watch.advance(rows.len() * cols.len());
            Ok(())
        })
    }

    /// Adds the layers whose factors are multiplied as they are.
    fn add_kept<A: Sum<T>>(
        &self,
        rows: &Range<usize>,
        cols: &Range<usize>,
        input_products: Option<MatRef<'_, A>>,
        scratch: &mut Scratch<T, A>,
    ) {
        let (left, right) = (self.left.rows.view(rows), self.right.rows.view(cols));
        add_in_order(&mut scratch.tile, &runs(left, right), &mut scratch.inputs);
        for (at, (pairs, contraction)) in self.layers().enumerate() {
            match contraction {
                Contraction::Hadamard { bias } => {
                    let products = input_products.filter(|_| self.first.contains(&at));
                    add_hadamard(pairs, rows, cols, *bias, products, scratch);
                }
                Contraction::Pixels(form) => {
                    let Scratch { tile, pixels, product, .. } = scratch;
                    form.add(pairs, rows, cols, tile, pixels, product);
                }
                _ => {}
            }
        }
        for (left, right) in self.left.embeddings.iter().zip(&self.right.embeddings) {
            left.add(right, rows, cols, &mut scratch.tile);
        }
    }
}

impl<T, A> Default for Scratch<T, A> {
    fn default() -> Self {
        Self {
            tile: Vec::new(),
            inputs: Vec::new(),
            cotangents: Vec::new(),
            pixels: PixelScratch::default(),
            product: Vec::new(),
            line: Vec::new(),
        }
    }
}

/// `tile += left[rows] right[cols]^T`.
fn add_rows<T: Real, A: Sum<T>>(
    left: &Rows<T>,
    rows: &Range<usize>,
    right: &Rows<T>,
    cols: &Range<usize>,
    tile: &mut [A],
    product: &mut Vec<T>,
) {
    A::add_products(tile, left.view(rows), right.view(cols), product);
}

/// `tile += (a a'^T + bias) * (d d'^T)` for a dense layer.
fn add_hadamard<T: Real, A: Sum<T>>(
    [left, right]: [&FactorPair<T>; 2],
    rows: &Range<usize>,
    cols: &Range<usize>,
    bias: bool,
    products: Option<MatRef<'_, A>>,
    Scratch { tile, inputs, cotangents, product, line, .. }: &mut Scratch<T, A>,
) {
    let shared = SharedInputs::new(left.sharing, rows, cols);
    for (buffer, size) in [(&mut *inputs, shared.size()), (&mut *cotangents, tile.len())] {
        buffer.clear();
        buffer.resize(size, A::zero());
    }
    let [input_rows, input_cols] = &shared.inputs;
    match products {
        Some(products) => copy_rows(products, inputs, input_cols.len()),
        None => add_rows(&left.inputs, input_rows, &right.inputs, input_cols, inputs, product),
    }
    add_rows(&left.cotangents, rows, &right.cotangents, cols, cotangents, product);
    let bias = if bias { A::one() } else { A::zero() };
    shared.add(tile, [inputs, cotangents], bias, line);
}

/// Examples whose rows an expansion holds.
fn examples(range: &TileRange) -> usize {
    range.rows.len() + if range.is_diagonal() { 0 } else { range.cols.len() }
}

fn relative(range: &Range<usize>, start: usize) -> Range<usize> {
    range.start - start..range.end - start
}

/// One mutable part of the target for each that the tile needs.
fn split<'m, A>(range: &TileRange, edge: usize, mut target: MatMut<'m, A>) -> Vec<Task<'m, A>> {
    let columns = cuts(&range.cols, edge);
    let mut tasks = Vec::new();
    for rows in cuts(&range.rows, edge) {
        let (mut panel, rest) = target.split_at_row_mut(rows.len());
        target = rest;
        for cols in &columns {
            let (tile, rest) = panel.split_at_col_mut(cols.len());
            panel = rest;
            if range.needs(&rows, cols) {
                tasks.push((rows.clone(), cols.clone(), tile));
            }
        }
    }
    tasks
}

/// Copies a part of the target to scratch memory with sides of at least [`SHORTEST`].
fn load<A: Real>(target: MatRef<'_, A>, tile: &mut Vec<A>) {
    let (rows, cols) = (target.nrows().max(SHORTEST), target.ncols().max(SHORTEST));
    tile.clear();
    tile.resize(rows * cols, A::zero());
    copy_rows(target, tile, cols);
}

/// Copies as much of a matrix as a row-major tile of `cols` columns takes.
fn copy_rows<A: Real>(source: MatRef<'_, A>, tile: &mut [A], cols: usize) {
    let tile = MatMut::from_row_major_slice_mut(tile, tile.len() / cols, cols);
    let (rows, cols) = (tile.nrows().min(source.nrows()), cols.min(source.ncols()));
    tile.submatrix_mut(0, 0, rows, cols).copy_from(source.submatrix(0, 0, rows, cols));
}

/// The reverse of [`load`].
fn store<A: Real>(tile: &[A], target: &mut MatMut<'_, A>) {
    let cols = target.ncols().max(SHORTEST);
    let tile = MatRef::from_row_major_slice(tile, tile.len() / cols, cols);
    target.copy_from(tile.submatrix(0, 0, target.nrows(), target.ncols()));
}

#[cfg(test)]
mod tests {
    use entk_models::Geometry;

    use super::*;
    use crate::factors::form::{FactorShape, FactorSizes, Form};

    fn on_threads<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(run)
    }

    fn square(n: usize, diagonal: bool) -> TileRange {
        let start = if diagonal { 0 } else { n };
        TileRange { rows: n..2 * n, cols: n - start..2 * n - start, lower: true }
    }

    /// Four parts a thread: sixteen of 100 x 100 on four threads, or of 70 x 70 in half a square.
    #[test]
    fn a_tile_has_parts_for_all_threads() {
        let edge = |threads: usize, n: usize, diagonal: bool| {
            on_threads(threads, || part_edge(&square(n, diagonal), &CpuConfig::default()))
        };
        assert_eq!([edge(4, 400, false), edge(4, 400, true), edge(1, 400, false)], [100, 70, 200]);
        // No smaller than 32, no larger than asked for.
        assert_eq!([edge(4, 100, false), edge(1, 4000, false)], [32, 256]);
    }

    /// 64 filters of 100 numbers: ranges of 16 filters, 1,600 numbers of 4 bytes for each of 40 and
    /// 16 examples, two of which fit into 720,000 bytes.
    #[test]
    fn every_pass_over_a_tile_is_counted() {
        let geometry = Geometry {
            channels: 25,
            filters: 64,
            input: [9, 9],
            output: [8, 8],
            kernel: [2, 2],
            stride: [1, 1],
            before: [0, 0],
            dilation: [1, 1],
        };
        let names = vec!["conv.weight".to_owned()];
        let shape = FactorShape::Conv(geometry);
        let layer = CpuLayer {
            layer: FactorSizes { names, shape, group: 0, shared_by: 1 },
            form: Form::Expanded,
            contraction: Contraction::Expanded(Expansion::of_conv(geometry)),
        };
        let config = CpuConfig { tile: 20, expansion: 720_000, memory: None };
        let counted = |diagonal: bool| {
            on_threads(1, || work::<f32>(&square(40, diagonal), [&layer].into_iter(), &config))
        };
        // Parts of 20 x 20: three of a square's four on the diagonal, two passes beside the first.
        assert_eq!(counted(true), 3 * 400 * (1 + 2));
        // Rows and columns are 80 examples, of which only one range fits at a time.
        assert_eq!(counted(false), 4 * 400 * (1 + 4));
    }
}
