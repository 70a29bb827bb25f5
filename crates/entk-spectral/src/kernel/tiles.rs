//! A symmetric matrix stored as tiles of its lower triangle: in come the tiles in order, read
//! ahead on threads of their own, out go products with columns. A store implements [`LowerTiles`],
//! the solvers ask for the products.

use std::{
    ops::Range,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::available_parallelism,
};

use faer::{Accum, MatMut, MatRef};

use crate::{
    entries::{Entries, EntryType, with_entries},
    error::{Result, SpectralError},
    kernel::{
        gram::mirror_within,
        matrix::check_area,
        operator::{SymmetricOperator, check_images},
        products::{add_transposed, multiply},
    },
};

/// Columns that a solver should pass at a time: every block is a pass over the store.
pub(crate) const BLOCK: usize = 128;
/// Rows of a band of short tiles, at least.
const SHORTEST_BAND: usize = 512;
/// Most threads that read: one checks and decodes about 0.8 GB a second.
const READERS: usize = 4;
/// Tiles that each of them reads ahead.
const AHEAD: usize = 1;

/// Entries of one tile, row by row.
#[derive(Clone, Debug, PartialEq)]
pub enum Tile {
    /// Stored in f32.
    F32(Vec<f32>),
    /// Stored in f64.
    F64(Vec<f64>),
}

impl Tile {
    fn entries(&self) -> Entries<'_> {
        match self {
            Self::F32(x) => Entries::F32(x),
            Self::F64(x) => Entries::F64(x),
        }
    }

    /// Replaces what is above the diagonal by the mirror image of what is below.
    fn mirror(&mut self, side: usize) {
        match self {
            Self::F32(x) => mirror_within(side, 0, x),
            Self::F64(x) => mirror_within(side, 0, x),
        }
    }
}

/// The lower triangle of a symmetric matrix, cut into square tiles.
///
/// Tile (i, j), j <= i, holds the rows i E to (i + 1) E and the columns j E to (j + 1) E for the
/// edge E; the last row of tiles may be shorter. Of a tile on the diagonal only the lower triangle
/// is used.
pub trait LowerTiles: Sync {
    /// Number of rows and columns N of the whole matrix, at least 1.
    fn n(&self) -> usize;

    /// Rows and columns E of a tile, at least 1.
    fn edge(&self) -> usize;

    /// The type in which entries are stored.
    fn entry_type(&self) -> EntryType;

    /// Reads tile (i, j), row by row and in full.
    ///
    /// # Errors
    /// [`Operator`](SpectralError::Operator) with the reason.
    fn read(&self, i: usize, j: usize) -> Result<Tile>;
}

/// The operator of a matrix in [`LowerTiles`]: each product reads every tile once, ahead of the
/// arithmetic ([`for_each_tile`]), and uses it twice, as K\[i\]\[j\] and as K\[j\]\[i\].
///
/// Memory: nine tiles at most, beside the vectors. The bits depend on the edge, not on the number
/// of threads.
///
/// ```
/// use entk_spectral::{
///     EntryType, LowerTiles, Result, SpectralError, SymmetricOperator, Tile, TiledOperator,
/// };
///
/// /// K[i][j] = 1 + i j, computed when asked for.
/// struct Linear;
///
/// impl LowerTiles for Linear {
///     fn n(&self) -> usize {
///         3
///     }
///     fn edge(&self) -> usize {
///         2
///     }
///     fn entry_type(&self) -> EntryType {
///         EntryType::F64
///     }
///     fn read(&self, i: usize, j: usize) -> Result<Tile> {
///         let (rows, cols) = (2 * i..(2 * i + 2).min(3), 2 * j..(2 * j + 2).min(3));
///         let entry = |(r, c)| 1.0 + (r * c) as f64;
///         Ok(Tile::F64(rows.flat_map(|r| cols.clone().map(move |c| (r, c))).map(entry).collect()))
///     }
/// }
///
/// let mut y = [0.0; 3];
/// TiledOperator::new(Linear)?.apply(&[1.0, 1.0, 1.0], &mut y)?;
/// assert_eq!(y, [3.0, 6.0, 9.0]);
/// # Ok::<(), SpectralError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TiledOperator<T> {
    tiles: T,
}

impl<T: LowerTiles> TiledOperator<T> {
    /// Wraps a set of tiles.
    ///
    /// # Errors
    /// [`Empty`](SpectralError::Empty) for N = 0, [`InvalidSetting`](SpectralError::InvalidSetting)
    /// for an edge of 0.
    pub fn new(tiles: T) -> Result<Self> {
        check_area("tiled matrix", tiles.n(), tiles.n())?;
        if tiles.edge() == 0 {
            return Err(SpectralError::InvalidSetting { field: "edge", expected: "at least 1" });
        }
        Ok(Self { tiles })
    }

    /// The tiles.
    pub fn tiles(&self) -> &T {
        &self.tiles
    }
}

/// Adds the products of a tile to Y, the rows of the tiles in `own`.
pub(crate) fn add_tile<T: LowerTiles>(
    tiles: &T,
    own: &Range<usize>,
    (i, j): (usize, usize),
    tile: &Tile,
    x: MatRef<'_, f64>,
    mut y: MatMut<'_, f64>,
) {
    let edge = tiles.edge();
    let (rows, cols) = (side(tiles, i), side(tiles, j));
    let (xi, xj) = (x.subrows(i * edge, rows), x.subrows(j * edge, cols));
    let at = |tile: usize| (tile - own.start) * edge;
    with_entries!(tile.entries(), k => {
        if own.contains(&i) {
            multiply(Accum::Add, k, cols, xj, y.as_mut().subrows_mut(at(i), rows));
        }
        if i != j && own.contains(&j) {
            add_transposed(k, cols, xi, y.as_mut().subrows_mut(at(j), cols));
        }
    });
}

/// Rows that are summed together in inner products beside tiles of this edge: a row of tiles, or a
/// few of them if they are short.
pub(crate) fn band_of_tiles(edge: usize) -> usize {
    edge.saturating_mul(SHORTEST_BAND.div_ceil(edge))
}

/// Reads all tiles ahead on a few threads, and hands them to `take` in their order, row by row of
/// tiles: of the right size, and with both triangles on the diagonal. Ends with the first error.
///
/// Memory: two tiles for each of at most four threads, and the one that is taken.
///
/// # Errors
/// Those of [`LowerTiles::read`], [`BufferLength`](SpectralError::BufferLength) for a tile of
/// another size, and those of `take`.
pub fn for_each_tile<T: LowerTiles, E: From<SpectralError>>(
    tiles: &T,
    take: impl FnMut(usize, usize, Tile) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    for_each_tile_of(tiles, &(0..tiles.n().div_ceil(tiles.edge())), take)
}

/// As [`for_each_tile`], of the tiles that rows of K in `own`, counted in tiles, need.
pub(crate) fn for_each_tile_of<T: LowerTiles, E: From<SpectralError>>(
    tiles: &T,
    own: &Range<usize>,
    mut take: impl FnMut(usize, usize, Tile) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    std::thread::scope(|scope| {
        let threads = available_parallelism().map_or(1, usize::from).min(READERS);
        let reader = |first: usize| {
            let (send, receive) = sync_channel(AHEAD);
            scope.spawn(move || read_every(tiles, own, first, threads, &send));
            receive
        };
        // Dropping the receivers on the way out stops the readers.
        let readers: Vec<Receiver<Result<Tile>>> = (0..threads).map(reader).collect();
        for ((i, j), tiles) in positions(tiles, own).zip(readers.iter().cycle()) {
            let tile = tiles.recv().unwrap_or(Err(SpectralError::Operator {
                reason: "the thread that reads tiles stopped".into(),
            }))?;
            take(i, j, tile)?;
        }
        Ok(())
    })
}

/// Positions of the tiles that rows of K in `own` need, in their order.
pub(crate) fn positions<T: LowerTiles>(
    tiles: &T,
    own: &Range<usize>,
) -> impl Iterator<Item = (usize, usize)> + use<T> {
    let (count, own) = (tiles.n().div_ceil(tiles.edge()), own.clone());
    let all = (0..count).flat_map(|i| (0..=i).map(move |j| (i, j)));
    all.filter(move |(i, j)| own.contains(i) || own.contains(j))
}

/// Reads every `step`-th tile from `first` on, until one fails or the receiver is gone.
fn read_every<T: LowerTiles>(
    tiles: &T,
    own: &Range<usize>,
    first: usize,
    step: usize,
    out: &SyncSender<Result<Tile>>,
) {
    for (i, j) in positions(tiles, own).skip(first).step_by(step) {
        let tile = read_whole(tiles, i, j);
        let failed = tile.is_err();
        if out.send(tile).is_err() || failed {
            return;
        }
    }
}

/// One tile, of the right size and with its diagonal block made symmetric.
fn read_whole<T: LowerTiles>(tiles: &T, i: usize, j: usize) -> Result<Tile> {
    let mut tile = tiles.read(i, j)?;
    let (expected, found) = (side(tiles, i) * side(tiles, j), tile.entries().len());
    if found != expected {
        return Err(SpectralError::BufferLength { what: "tile", expected, found });
    }
    if i == j {
        tile.mirror(side(tiles, i));
    }
    Ok(tile)
}

/// Rows of the i-th row of tiles.
pub(crate) fn side<T: LowerTiles>(tiles: &T, i: usize) -> usize {
    tiles.edge().min(tiles.n() - i * tiles.edge())
}

impl<T: LowerTiles> SymmetricOperator for TiledOperator<T> {
    fn n(&self) -> usize {
        self.tiles.n()
    }

    fn entry_type(&self) -> EntryType {
        self.tiles.entry_type()
    }

    fn block(&self) -> usize {
        BLOCK
    }

    fn band(&self) -> usize {
        band_of_tiles(self.tiles.edge())
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let n = self.tiles.n();
        let count = check_images(columns, n, images, n)?;
        images.fill(0.0);
        let x = MatRef::from_column_major_slice(columns, n, count);
        let mut y = MatMut::from_column_major_slice_mut(images, n, count);
        let all = 0..n.div_ceil(self.tiles.edge());
        for_each_tile(&self.tiles, |i, j, tile| {
            add_tile(&self.tiles, &all, (i, j), &tile, x, y.as_mut());
            Ok(())
        })
    }
}
