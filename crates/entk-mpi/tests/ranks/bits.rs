//! The number of ranks changes no bit of products, sums and solves.

use entk_mpi::on_threads;
use entk_spectral::{
    DistributedOperator, DistributedTiles, EigshRun, Ranks, RowBands, SymmetricOperator,
    TiledOperator,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};

use crate::problems::{Case, K, Laplace, RANKS, config, normals, same, solved};

/// Fixed seed, nothing written to disk.
fn properties(cases: u32) -> Config {
    let rng_seed = RngSeed::Fixed(0x6e74_6b5f);
    Config { cases, failure_persistence: None, rng_seed, ..Config::default() }
}

#[test]
fn solves_have_the_same_bits_on_any_number_of_ranks() {
    for case in Case::all() {
        let on = |size| {
            let run =
                |operator: &dyn DistributedOperator| solved(operator, EigshRun::new(&config()));
            same(case.on(size, &run)).unwrap()
        };
        let one = on(1);
        assert_eq!(one.5 > 0, case.restarts(), "{case:?}");
        assert!(one.2.iter().all(|r| *r <= config().tolerance * one.0[0]), "{case:?}");
        for size in RANKS {
            assert!(on(size) == one, "{case:?} on {size} ranks");
        }
    }
}

#[test]
fn a_solve_over_ranks_is_that_of_one_process_with_the_same_tiles() {
    let tiles = Laplace::new(2100, 300);
    let alone = TiledOperator::new(tiles.clone()).unwrap();
    let alone = EigshRun::new(&config()).pairs(&alone, K).unwrap();
    for case in [Case::Read(tiles.clone()), Case::InMemory(tiles)] {
        let run = |operator: &dyn DistributedOperator| solved(operator, EigshRun::new(&config()));
        let found = same(case.on(2, &run)).unwrap();
        assert_eq!(found.0, alone.pairs.values());
        assert_eq!(found.1, alone.pairs.vectors());
        assert_eq!(found.2, alone.residuals);
        assert_eq!((found.4, found.5), (alone.products, alone.restarts));
    }
}

proptest! {
    #![proptest_config(properties(12))]

    #[test]
    fn products_of_any_tiles_are_those_of_one_process(
        n in 1_usize..2500,
        edge in 1_usize..700,
        size in 1_usize..5,
        columns in 1_usize..4,
    ) {
        let tiles = Laplace::new(n, edge.max(n / 40 + 1));
        let alone = TiledOperator::new(tiles.clone()).unwrap();
        let size = size.min(n.div_ceil(alone.band()));
        let x = normals(n * columns, 7);
        let mut expected = vec![0.0; x.len()];
        alone.apply(&x, &mut expected).unwrap();
        let found = on_threads(size, |thread| {
            let ranks = Ranks::new(thread);
            let operator = DistributedTiles::new(tiles.clone(), &ranks)?;
            let rows = operator.rows();
            let own: Vec<f64> =
                x.chunks_exact(n).flat_map(|column| column[rows.own()].to_vec()).collect();
            let mut images = vec![f64::NAN; own.len()];
            operator.apply_own(&own, &mut images)?;
            rows.gather(&images)
        });
        prop_assert!(same(found).unwrap() == expected);
    }

    #[test]
    fn sums_over_bands_do_not_depend_on_ranks(
        n in 1_usize..300,
        band in 1_usize..40,
        size in 1_usize..6,
        terms in 0_usize..4,
    ) {
        let all = normals(n * terms, 9);
        let on = |size: usize| {
            on_threads(size, |thread| {
                let ranks = Ranks::new(thread);
                let rows = RowBands::new(&ranks, n, band)?;
                let of_band = |b: usize| {
                    let rows = b * band..n.min((b + 1) * band);
                    (0..terms).map(|t| rows.clone().map(|i| all[t * n + i]).sum()).collect()
                };
                rows.sum(rows.bands_of(ranks.rank()).map(|b| Ok(of_band(b))))
            })
        };
        let one = same(on(1)).unwrap();
        prop_assert!(same(on(size.min(n.div_ceil(band)))).unwrap() == one);
        for (t, sum) in one.iter().enumerate() {
            let exact: f64 = all[t * n..(t + 1) * n].iter().sum();
            let size: f64 = all[t * n..(t + 1) * n].iter().map(|x| x.abs()).sum();
            prop_assert!((sum - exact).abs() <= n as f64 * f64::EPSILON * size);
        }
    }
}
