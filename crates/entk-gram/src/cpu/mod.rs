pub(crate) mod expansion;
pub(crate) mod kept;
pub(crate) mod pair;
pub(crate) mod pixels;
pub(crate) mod rows;
pub(crate) mod sum;

use std::{ops::Range, sync::Mutex};

use entk_models::Real;
use faer::{MatMut, MatRef};
use rayon::prelude::*;

use crate::{
    cpu::{
        expansion::{Expanded, Expansion},
        kept::Features,
        pair::{Pair, PairForm},
        pixels::PixelScratch,
        rows::{Rows, SHORTEST, cuts, lengthened},
        sum::Sum,
    },
    error::Result,
    grid::{Grid, TileIndex},
    progress::Watch,
};

/// Tiles for each thread at least, so that none waits long for the last one.
const TILES_PER_THREAD: usize = 4;
/// Smallest edge to which tiles are cut for it: shorter products are slower than waiting.
const SMALLEST_TILE: usize = 32;

/// A block of K: some rows, some columns, and whether what lies above the diagonal is left out.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) rows: Range<usize>,
    pub(crate) cols: Range<usize>,
    pub(crate) lower: bool,
}

impl Region {
    /// A tile of the lower triangle.
    pub(crate) fn of_tile(grid: Grid, tile: TileIndex) -> Self {
        Self { rows: grid.examples(tile.0), cols: grid.examples(tile.1), lower: true }
    }

    fn needs(&self, rows: &Range<usize>, cols: &Range<usize>) -> bool {
        !self.lower || cols.start < rows.end
    }
}

/// Computes blocks of the kernel between two sets of features.
pub(crate) struct Engine<'a, T> {
    /// Pairs whose inputs are those of the model, so that their products may be given.
    pub(crate) first: Vec<usize>,
    pub(crate) left: &'a Features<T>,
    pub(crate) right: &'a Features<T>,
    /// Largest edge of the tiles that one task computes.
    pub(crate) tile: usize,
    /// Bytes that expanded convolution rows may take at a time.
    pub(crate) expansion: usize,
}

/// Scratch memory of one task.
struct Scratch<T, A> {
    tile: Vec<A>,
    inputs: Vec<A>,
    cotangents: Vec<A>,
    pixels: PixelScratch<A>,
    product: Vec<T>,
}

/// A part of the target that one task computes.
type Task<'m, A> = (Range<usize>, Range<usize>, MatMut<'m, A>);

impl<T: Real> Engine<'_, T> {
    /// Fills `target` with a block of K, in tiles, one task each.
    ///
    /// Each entry is one fixed sequence of operations: short layers, dense layers in the order
    /// of the backward sweep, convolutions filter by filter. It depends neither on the tile nor
    /// on the block, the threads or the memory. `products` of the model's inputs, those of the
    /// region, are taken where they are given.
    pub(crate) fn fill<A: Sum<T>>(
        &self,
        region: &Region,
        watch: &Watch<'_>,
        products: Option<MatRef<'_, A>>,
        mut target: MatMut<'_, A>,
    ) -> Result<()> {
        let pool = Mutex::new(Vec::new());
        self.for_each_tile(region, watch, &pool, target.as_mut(), |rows, cols, scratch| {
            let products = products.map(|products| {
                let (row, col) = (rows.start - region.rows.start, cols.start - region.cols.start);
                products.get(row.., col..)
            });
            self.resident(rows, cols, products, scratch);
        })?;
        let (mut a, mut b) = (Expanded::default(), Expanded::default());
        for (left, right, expansion) in self.expanded() {
            for units in expansion.groups::<T>(examples(region), self.expansion) {
                watch.check()?;
                a.fill(expansion, left, &region.rows, &units);
                let b = if std::ptr::eq(left, right) && region.rows == region.cols {
                    &a
                } else {
                    b.fill(expansion, right, &region.cols, &units);
                    &b
                };
                let target = target.as_mut();
                self.for_each_tile(region, watch, &pool, target, |rows, cols, scratch| {
                    let Scratch { tile, product, .. } = scratch;
                    let rows = a.rows.view(&relative(rows, region.rows.start));
                    let cols = b.rows.view(&relative(cols, region.cols.start));
                    let mut from = 0;
                    for unit in &units {
                        let width = expansion.columns(unit);
                        let (a, b) = (rows.subcols(from, width), cols.subcols(from, width));
                        A::add_products(tile, a, b, product);
                        from += width;
                    }
                })?;
            }
        }
        watch.check()
    }

    /// The convolutions whose rows are expanded.
    fn expanded(&self) -> impl Iterator<Item = (&Pair<T>, &Pair<T>, &Expansion)> {
        let pairs = self.left.pairs.iter().zip(&self.right.pairs);
        pairs.filter_map(|(left, right)| match &left.form {
            PairForm::Expanded(expansion) => Some((left, right, expansion)),
            _ => None,
        })
    }

    /// Edge of the tiles of a region: smaller than asked for where they would be too few.
    fn edge(&self, region: &Region) -> usize {
        let tiles = (TILES_PER_THREAD * rayon::current_num_threads()) as f64;
        let area = (region.rows.len() * region.cols.len()) as f64;
        let area = if region.lower && region.rows == region.cols { area / 2.0 } else { area };
        self.tile.min(((area / tiles).sqrt() as usize).max(SMALLEST_TILE))
    }

    /// Entries that [`fill`](Self::fill) reports, each as often as it passes over it.
    pub(crate) fn work(&self, region: &Region) -> usize {
        let columns = cuts(&region.cols, self.edge(region));
        let needed = |rows: &Range<usize>| -> usize {
            let needed = columns.iter().filter(|cols| region.needs(rows, cols));
            needed.map(|cols| rows.len() * cols.len()).sum()
        };
        let entries: usize = cuts(&region.rows, self.edge(region)).iter().map(needed).sum();
        let groups =
            |expansion: &Expansion| expansion.groups::<T>(examples(region), self.expansion).len();
        entries * (1 + self.expanded().map(|(_, _, expansion)| groups(expansion)).sum::<usize>())
    }

    /// Runs `add` on every tile of the region: it finds the tile's present entries in scratch
    /// memory, row-major with sides of at least [`SHORTEST`], and leaves the new ones there.
    fn for_each_tile<A: Sum<T>>(
        &self,
        region: &Region,
        watch: &Watch<'_>,
        pool: &Mutex<Vec<Scratch<T, A>>>,
        target: MatMut<'_, A>,
        add: impl Fn(&Range<usize>, &Range<usize>, &mut Scratch<T, A>) + Sync,
    ) -> Result<()> {
        let tasks = split(region, self.edge(region), target);
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
    fn resident<A: Sum<T>>(
        &self,
        rows: &Range<usize>,
        cols: &Range<usize>,
        products: Option<MatRef<'_, A>>,
        scratch: &mut Scratch<T, A>,
    ) {
        let (left, right) = (&self.left.rows, &self.right.rows);
        add_rows(left, rows, right, cols, &mut scratch.tile, &mut scratch.product);
        for (at, (left, right)) in self.left.pairs.iter().zip(&self.right.pairs).enumerate() {
            match &left.form {
                PairForm::Hadamard { bias } => {
                    let products = products.filter(|_| self.first.contains(&at));
                    add_hadamard([left, right], rows, cols, *bias, products, scratch);
                }
                PairForm::Pixels(form) => {
                    let Scratch { tile, pixels, product, .. } = scratch;
                    form.add([left, right], rows, cols, tile, pixels, product);
                }
                PairForm::Expanded(_) => {}
            }
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
    [left, right]: [&Pair<T>; 2],
    rows: &Range<usize>,
    cols: &Range<usize>,
    bias: bool,
    products: Option<MatRef<'_, A>>,
    Scratch { tile, inputs, cotangents, product, .. }: &mut Scratch<T, A>,
) {
    for buffer in [&mut *inputs, &mut *cotangents] {
        buffer.clear();
        buffer.resize(tile.len(), A::zero());
    }
    match products {
        Some(products) => copy_rows(products, inputs, cols.len()),
        None => add_rows(&left.inputs, rows, &right.inputs, cols, inputs, product),
    }
    add_rows(&left.cotangents, rows, &right.cotangents, cols, cotangents, product);
    let bias = if bias { A::one() } else { A::zero() };
    for ((k, a), d) in tile.iter_mut().zip(&*inputs).zip(&*cotangents) {
        *k += (*a + bias) * *d;
    }
}

/// Examples whose rows an expansion holds.
fn examples(region: &Region) -> usize {
    region.rows.len() + if region.rows == region.cols { 0 } else { region.cols.len() }
}

fn relative(range: &Range<usize>, start: usize) -> Range<usize> {
    range.start - start..range.end - start
}

/// One mutable part of the target per tile that the region needs.
fn split<'m, A>(region: &Region, edge: usize, mut target: MatMut<'m, A>) -> Vec<Task<'m, A>> {
    let columns = cuts(&region.cols, edge);
    let mut tasks = Vec::new();
    for rows in cuts(&region.rows, edge) {
        let (mut panel, rest) = target.split_at_row_mut(rows.len());
        target = rest;
        for cols in &columns {
            let (tile, rest) = panel.split_at_col_mut(cols.len());
            panel = rest;
            if region.needs(&rows, cols) {
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

/// Copies as much of a row-major matrix as a tile of `cols` columns takes.
fn copy_rows<A: Real>(source: MatRef<'_, A>, tile: &mut [A], cols: usize) {
    let width = cols.min(source.ncols());
    for (i, row) in tile.chunks_exact_mut(cols).take(source.nrows()).enumerate() {
        if let Some(source) = source.row(i).try_as_row_major() {
            row[..width].copy_from_slice(&source.as_slice()[..width]);
        }
    }
}

/// The reverse of [`load`].
fn store<A: Real>(tile: &[A], target: &mut MatMut<'_, A>) {
    let (cols, ncols) = (target.ncols().max(SHORTEST), target.ncols());
    for (i, row) in tile.chunks_exact(cols).take(target.nrows()).enumerate() {
        if let Some(to) = target.as_mut().row_mut(i).try_as_row_major_mut() {
            to.as_slice_mut().copy_from_slice(&row[..ncols]);
        }
    }
}
