//! Solves that are ended and go on: the same bits from every block, and damaged or foreign
//! checkpoints refused.

use std::ops::ControlFlow;

use entk_spectral::{
    CertifiedPairs, CrossGram, EigshConfig, EigshProgress, EigshRun, Gram, Solver, SpectralError,
    eigsh, eigsh_row_gram,
};
use entk_testing::normals;

use crate::support::{gram_f64, orthogonal, random_gram, with_spectrum};

const K: usize = 6;

/// A small basis, so that the solve restarts and locks pairs.
fn config() -> EigshConfig {
    EigshConfig {
        solver: Solver::Krylov,
        block: Some(3),
        basis: Some(K + 14),
        seed: 5,
        ..EigshConfig::default()
    }
}

/// The checkpoints after every block of a solve.
fn checkpoints(gram: &Gram) -> (CertifiedPairs, Vec<Vec<u8>>) {
    let mut all = Vec::new();
    let mut observe = |progress: &EigshProgress<'_>| {
        let mut bytes = Vec::new();
        progress.write(&mut bytes).unwrap();
        all.push(bytes);
        ControlFlow::Continue(())
    };
    let pairs = EigshRun::new(&config()).observed(&mut observe).pairs(gram, K).unwrap();
    (pairs, all)
}

fn resumed(
    gram: &Gram,
    config: &EigshConfig,
    bytes: &[u8],
) -> Result<CertifiedPairs, SpectralError> {
    EigshRun::new(config).resumed(&mut &*bytes).pairs(gram, K)
}

#[test]
fn a_solve_goes_on_with_the_same_bits_from_every_block() {
    // A multiple eigenvalue, for which the solver draws random columns on its way.
    let mut values: Vec<f64> = (0..80).map(|j| 0.8_f64.powi(j)).collect();
    values[..5].fill(1.0);
    let multiple = gram_f64(80, with_spectrum(&orthogonal(3, 80), &values));
    for gram in [random_gram(1, 90, 60), multiple] {
        let (expected, all) = checkpoints(&gram);
        assert!(expected.restarts > 1 && all.len() > 10, "{expected:?}");
        assert_eq!(expected, eigsh(&gram, K, &config()).unwrap());
        for bytes in &all {
            assert_eq!(resumed(&gram, &config(), bytes).unwrap(), expected);
        }
    }
}

#[test]
fn an_observer_ends_a_solve() {
    let gram = random_gram(1, 90, 60);
    let mut blocks = 0;
    let mut observe = |progress: &EigshProgress<'_>| {
        blocks += 1;
        assert_eq!((progress.products(), progress.wanted()), (3 * blocks, K));
        // Of one rank, what it says of itself.
        assert_eq!([true, false].map(|here| progress.any(here)), [true, false]);
        assert_eq!([true, false].map(|here| progress.first(here)), [true, false]);
        if blocks == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stopped = EigshRun::new(&config()).observed(&mut observe).pairs(&gram, K);
    assert_eq!(stopped, Err(SpectralError::Stopped { products: 12 }));
}

#[test]
fn damaged_checkpoints_are_refused() {
    let gram = random_gram(1, 90, 60);
    let (_, all) = checkpoints(&gram);
    let bytes = all.last().unwrap();
    let refused = |bytes: &[u8]| {
        let error = resumed(&gram, &config(), bytes).unwrap_err();
        let named =
            matches!(error, SpectralError::Checkpoint { .. } | SpectralError::OtherSolve { .. });
        assert!(named, "{error}");
    };
    for cut in [0, 7, 8, 100, 191, 192, 198, bytes.len() / 2, bytes.len() - 1] {
        refused(&bytes[..cut]);
    }
    refused(&[bytes.as_slice(), &[0]].concat());
    // Every byte of the header, and some of the rest; a wrong size may not ask for memory.
    for at in (0..192).chain((192..bytes.len()).step_by(997)) {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            refused(&bytes);
        }
    }
}

#[test]
fn checkpoints_of_other_solves_are_refused_by_name() {
    let gram = random_gram(1, 90, 60);
    let (_, all) = checkpoints(&gram);
    let field = |gram: &Gram, config: &EigshConfig| match resumed(gram, config, &all[3]) {
        Err(SpectralError::OtherSolve { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(&gram, &EigshConfig { seed: 6, ..config() }), "seed");
    assert_eq!(field(&gram, &EigshConfig { tolerance: 1e-9, ..config() }), "tolerance");
    assert_eq!(field(&gram, &EigshConfig { block: Some(2), ..config() }), "block");
    assert_eq!(field(&gram, &EigshConfig { basis: Some(K + 15), ..config() }), "basis");
    assert_eq!(field(&random_gram(1, 91, 60), &config()), "rows");
}

#[test]
fn the_gram_of_rows_goes_on_too() {
    let a = CrossGram::from_f64(120, 50, normals(120 * 50, 2)).unwrap();
    let expected = eigsh_row_gram(&a, K, &config()).unwrap();
    let mut bytes = Vec::new();
    let mut observe = |progress: &EigshProgress<'_>| {
        if progress.products() < 20 {
            return ControlFlow::Continue(());
        }
        progress.write(&mut bytes).unwrap();
        ControlFlow::Break(())
    };
    let stopped = EigshRun::new(&config()).observed(&mut observe).row_gram_pairs(&a, K);
    assert!(matches!(stopped, Err(SpectralError::Stopped { .. })), "{stopped:?}");
    let run = EigshRun::new(&config());
    assert_eq!(run.resumed(&mut bytes.as_slice()).row_gram_pairs(&a, K).unwrap(), expected);
}
