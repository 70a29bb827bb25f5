//! Operators that ranks share, in one list, and how a solve of them is run.

use entk_mpi::on_threads;
use entk_spectral::{
    CrossGram, DistributedOperator, DistributedPairs, DistributedRowGram, DistributedTiles,
    EigshConfig, EigshRun, EntryType, LowerTiles, Ranks, Result, RowBands, Solver, SpectralError,
    Tile,
};
use rand::{SeedableRng, rngs::ChaCha8Rng};
use rand_distr::{Distribution, StandardNormal};

/// Numbers of ranks that every case is run on.
pub(crate) const RANKS: [usize; 4] = [1, 2, 3, 4];

/// The Laplace kernel exp(-|x_i - x_j|) of points on a spiral, in tiles that are computed when they
/// are read.
#[derive(Clone, Debug)]
pub(crate) struct Laplace {
    pub(crate) n: usize,
    pub(crate) edge: usize,
    pub(crate) entry_type: EntryType,
    /// A tile that cannot be read.
    pub(crate) broken: Option<(usize, usize)>,
    /// How many neighbouring points are the same one.
    pub(crate) copies: usize,
}

impl Laplace {
    pub(crate) fn new(n: usize, edge: usize) -> Self {
        Self { n, edge, entry_type: EntryType::F64, broken: None, copies: 1 }
    }

    fn point(&self, i: usize) -> [f64; 2] {
        let (sin, cos) = (0.7 * (i / self.copies) as f64).sin_cos();
        let radius = 6.0 * (i / self.copies) as f64 / self.n as f64;
        [radius * cos, radius * sin]
    }
}

impl LowerTiles for Laplace {
    fn n(&self) -> usize {
        self.n
    }

    fn edge(&self) -> usize {
        self.edge
    }

    fn entry_type(&self) -> EntryType {
        self.entry_type
    }

    fn read(&self, i: usize, j: usize) -> Result<Tile> {
        if self.broken == Some((i, j)) {
            return Err(SpectralError::Operator { reason: format!("tile ({i}, {j}) is damaged") });
        }
        let points = |tile: usize| {
            let rows = tile * self.edge..((tile + 1) * self.edge).min(self.n);
            rows.map(|row| self.point(row)).collect::<Vec<_>>()
        };
        let (rows, cols) = (points(i), points(j));
        let entry = |a: &[f64; 2], b: &[f64; 2]| (-(a[0] - b[0]).hypot(a[1] - b[1])).exp();
        let entries = rows.iter().flat_map(|a| cols.iter().map(move |b| entry(a, b)));
        Ok(match self.entry_type {
            EntryType::F64 => Tile::F64(entries.collect()),
            EntryType::F32 => Tile::F32(entries.map(|x| x as f32).collect()),
        })
    }
}

/// Independent standard normals.
pub(crate) fn normals(count: usize, seed: u64) -> Vec<f64> {
    StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(count).collect()
}

/// A small basis, so that solves restart and lock pairs.
pub(crate) fn config() -> EigshConfig {
    EigshConfig {
        solver: Solver::Krylov,
        block: Some(4),
        basis: Some(K + 16),
        seed: 5,
        ..EigshConfig::default()
    }
}

/// Pairs of every solve.
pub(crate) const K: usize = 8;

/// What a rank does with the operator of a case.
pub(crate) type Work<'w, T> = dyn Fn(&dyn DistributedOperator) -> Result<T> + Sync + 'w;

/// How the operator of a case is made.
#[derive(Clone, Debug)]
pub(crate) enum Case {
    /// Tiles, read for every product.
    Read(Laplace),
    /// Tiles in memory.
    InMemory(Laplace),
    /// A A^T of a random matrix, in bands of so many rows.
    RowGram { rows: usize, cols: usize, band: usize },
}

impl Case {
    /// Every case, for at least as many ranks as the largest of [`RANKS`].
    pub(crate) fn all() -> Vec<Self> {
        let tiles = Laplace::new(2100, 512);
        vec![
            Self::InMemory(tiles.clone()),
            Self::InMemory(Laplace { entry_type: EntryType::F32, edge: 97, ..tiles.clone() }),
            // Three points: most pairs are of the eigenvalue 0, from random columns.
            Self::InMemory(Laplace { copies: 700, ..tiles.clone() }),
            Self::Read(Laplace { edge: 600, ..tiles }),
            Self::RowGram { rows: 1100, cols: 60, band: 128 },
            // Bands shorter than a block of columns.
            Self::RowGram { rows: 100, cols: 60, band: 3 },
        ]
    }

    /// Whether a basis of [`config`] is too small for it.
    pub(crate) fn restarts(&self) -> bool {
        !matches!(self, Self::InMemory(Laplace { copies: 700, .. }))
    }

    /// Runs `work` on so many ranks.
    pub(crate) fn on<T: Send>(&self, size: usize, work: &Work<'_, T>) -> Vec<Result<T>> {
        on_threads(size, |thread| self.with(&Ranks::new(thread), work))
    }

    fn with<T>(&self, ranks: &Ranks<'_>, work: &Work<'_, T>) -> Result<T> {
        match self {
            Self::Read(tiles) => work(&DistributedTiles::new(tiles.clone(), ranks)?),
            Self::InMemory(tiles) => {
                work(&DistributedTiles::new(tiles.clone(), ranks)?.in_memory()?)
            }
            Self::RowGram { rows: n, cols, band } => {
                let rows = RowBands::new(ranks, *n, *band)?;
                let entries = normals(n * cols, 3);
                let of_band = |own: std::ops::Range<usize>| {
                    let entries = entries[own.start * cols..own.end * cols].to_vec();
                    CrossGram::from_f64(own.len(), *cols, entries)
                };
                let bands = rows.bands_of(ranks.rank());
                let bands = bands.map(|b| of_band(b * band..(*n).min((b + 1) * band)));
                work(&DistributedRowGram::new(bands.collect::<Result<_>>()?, rows)?)
            }
        }
    }
}

/// Whole pairs: values, vectors, residuals, and what was done for them.
pub(crate) type Found = (Vec<f64>, Vec<f64>, Vec<f64>, f64, usize, usize);

pub(crate) fn whole(operator: &dyn DistributedOperator, pairs: DistributedPairs) -> Result<Found> {
    let vectors = operator.rows().gather(&pairs.vectors)?;
    let DistributedPairs { values, residuals, orthogonality, products, restarts, .. } = pairs;
    Ok((values, vectors, residuals, orthogonality, products, restarts))
}

pub(crate) fn solved(operator: &dyn DistributedOperator, run: EigshRun<'_>) -> Result<Found> {
    whole(operator, run.distributed_pairs(operator, K)?)
}

/// What all ranks agree on.
#[track_caller]
pub(crate) fn same<T: PartialEq>(all: Vec<Result<T>>) -> Result<T> {
    let mut all = all.into_iter();
    let first = all.next().expect("a first result");
    assert!(all.all(|other| other == first), "ranks disagree");
    first
}
