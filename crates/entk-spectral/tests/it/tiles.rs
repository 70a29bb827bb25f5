//! Matrices stored as tiles: the same products and eigenpairs as in memory.

use entk_spectral::{
    EigshConfig, EntryType, Gram, LowerTiles, Result, Solver, SpectralError, SymmetricOperator,
    Tile, TiledOperator, eigsh,
};
use entk_testing::normals;

use crate::{
    solvers::degenerate::watched,
    support::{assert_close, random_gram, round_off},
};

/// Tiles of a Gram in memory; above the diagonal of diagonal tiles there is rubbish.
struct InMemory {
    gram: Gram,
    edge: usize,
    broken: Option<(usize, usize)>,
}

impl LowerTiles for InMemory {
    fn n(&self) -> usize {
        self.gram.n()
    }

    fn edge(&self) -> usize {
        self.edge
    }

    fn entry_type(&self) -> EntryType {
        EntryType::F64
    }

    fn read(&self, i: usize, j: usize) -> Result<Tile> {
        assert!(j <= i, "tile ({i}, {j}) is above the diagonal");
        if self.broken == Some((i, j)) {
            return Err(SpectralError::Operator { reason: format!("tile ({i}, {j}) is damaged") });
        }
        let range = |i: usize| i * self.edge..((i + 1) * self.edge).min(self.gram.n());
        let entry = |r, c| if c > r { 1e9 } else { self.gram.get(r, c) };
        Ok(Tile::F64(range(i).flat_map(|r| range(j).map(move |c| entry(r, c))).collect()))
    }
}

fn tiled(edge: usize) -> TiledOperator<InMemory> {
    let gram = random_gram(11, 150, 60);
    TiledOperator::new(InMemory { gram, edge, broken: None }).unwrap()
}

#[test]
fn products_equal_those_in_memory_for_every_edge() {
    let x = normals(3 * 150, 12);
    let expected = tiled(1).tiles().gram.product(&x).unwrap();
    let scale = expected.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
    for edge in [1, 7, 64, 149, 150, 151, 4000] {
        let mut found = vec![f64::NAN; x.len()];
        tiled(edge).apply(&x, &mut found).unwrap();
        for (a, b) in found.iter().zip(&expected) {
            assert_close(*a, *b, round_off(150) * scale);
        }
    }
}

#[test]
fn eigenpairs_equal_those_in_memory() {
    watched(|| {
        let config =
            EigshConfig { solver: Solver::Krylov, block: Some(16), ..EigshConfig::default() };
        let operator = tiled(64);
        let (a, b) = (eigsh(&operator, 20, &config), eigsh(&operator.tiles().gram, 20, &config));
        let (a, b) = (a.unwrap(), b.unwrap());
        for (x, y) in a.pairs.values().iter().zip(b.pairs.values()) {
            assert_close(*x, *y, 1e-10 * b.pairs.values()[0]);
        }
    });
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let x = normals(20 * 150, 13);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut y = vec![0.0; x.len()];
        pool.install(|| tiled(64).apply(&x, &mut y)).unwrap();
        y
    };
    let one = with(1);
    assert!([2, 4].into_iter().all(|threads| with(threads) == one));
}

#[test]
fn damage_and_bad_shapes_are_errors() {
    watched(|| {
        let gram = random_gram(11, 40, 60);
        let broken =
            TiledOperator::new(InMemory { gram: gram.clone(), edge: 16, broken: Some((2, 1)) });
        let refused = eigsh(&broken.unwrap(), 3, &EigshConfig::default());
        assert_eq!(
            refused,
            Err(SpectralError::Operator { reason: "tile (2, 1) is damaged".into() })
        );
        let none = TiledOperator::new(InMemory { gram, edge: 0, broken: None });
        assert!(matches!(none, Err(SpectralError::InvalidSetting { field: "edge", .. })));
        let mut short = [0.0; 3];
        let refused = tiled(64).apply(&[1.0; 150], &mut short);
        assert!(matches!(refused, Err(SpectralError::BufferLength { found: 3, .. })));
    });
}
