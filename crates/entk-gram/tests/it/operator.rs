//! A store as an operator and by rows: the products, eigenpairs and rows of the same Gram in
//! memory.

use candle_core::DType;
use entk_gram::{Assembly, GramConfig, GramError, Store, StoreConfig};
use entk_models::{Activation, Model};
use entk_spectral::{
    EigshConfig, EntryType, KernelRows, Solver, SpectralError, SymmetricOperator, eigsh,
};
use entk_testing::{TestResult, networks, normal, test_device};

/// Prime, so that no edge divides it.
const N: usize = 61;

/// A finished store of a small network's Gram in `folder`.
fn store(folder: &std::path::Path, edge: usize, dtype: DType) -> Result<Store, GramError> {
    let network = networks::mlp([1, 4, 5], &[9], 1, Activation::Relu)?;
    let theta = network.init(1, dtype, test_device())?;
    let (x, config) = (normal(&[N, 1, 4, 5], 3)?.to_dtype(dtype)?, GramConfig::default());
    let assembly = Assembly::new(&network, &theta, &x, &config)?;
    Ok(assembly.store(folder, &StoreConfig { edge, ..StoreConfig::default() })?.store)
}

#[test]
fn products_and_eigenpairs_are_those_of_memory() -> TestResult {
    for (edge, dtype, entry_type) in
        [(16, DType::F32, EntryType::F32), (61, DType::F64, EntryType::F64)]
    {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path(), edge, dtype)?;
        let (gram, operator) = (store.gram()?, store.operator()?);
        assert_eq!((operator.n(), operator.entry_type()), (N, entry_type));

        let x: Vec<f64> = (0..2 * N).map(|i| (0.7 * i as f64).sin()).collect();
        let (mut found, expected) = (vec![0.0; x.len()], gram.product(&x)?);
        operator.apply(&x, &mut found)?;
        // Sums of N products in another order.
        let bound = 10.0 * N as f64 * f64::EPSILON * gram.max_abs() * N as f64;
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= bound, "{a:e} {b:e}");
        }

        let config =
            EigshConfig { solver: Solver::Krylov, block: Some(8), ..EigshConfig::default() };
        let (a, b) = (eigsh(&operator, 5, &config)?, eigsh(&gram, 5, &config)?);
        for (a, b) in a.pairs.values().iter().zip(b.pairs.values()) {
            assert!((a - b).abs() <= 1e-10 * b.abs().max(gram.max_abs()), "{a:e} {b:e}");
        }
    }
    Ok(())
}

#[test]
fn damage_is_found_before_and_during_the_solution() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = store(folder.path(), 16, DType::F32)?;
    let (operator, tile) = (store.operator()?, folder.path().join("c/2/1"));
    let mut bytes = std::fs::read(&tile)?;
    bytes[7] ^= 1;
    std::fs::write(&tile, bytes)?;
    let during = eigsh(&operator, 3, &EigshConfig::default());
    assert!(matches!(during, Err(SpectralError::Operator { .. })), "{during:?}");
    assert!(matches!(store.operator(), Err(GramError::Damaged { .. })));
    Ok(())
}

#[test]
fn rows_are_those_of_memory() -> TestResult {
    for (edge, dtype) in [(16, DType::F32), (61, DType::F64)] {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path(), edge, dtype)?;
        let (gram, rows) = (store.gram()?, store.rows()?);
        assert_eq!(rows.n(), N);
        let (mut buffer, mut unused) = (Vec::new(), Vec::new());
        for indices in [&[0, 60, 17, 17][..], &[5], &[]] {
            let found = rows.rows(indices, &mut buffer)?;
            let expected = gram.rows(indices, &mut unused)?;
            assert_eq!(found.len(), indices.len());
            for (a, b) in found.iter().zip(&expected) {
                assert_eq!(a.to_f64_vec(), b.to_f64_vec());
            }
        }
        for kernel in [&rows as &dyn KernelRows, &gram] {
            let refused = kernel.rows(&[3, N as u32], &mut buffer);
            let index = SpectralError::IndexOutOfRange { what: "row", index: N, len: N };
            assert_eq!(refused.map_err(|e| e.to_string()), Err(index.to_string()));
        }
        // The store is whole, and the file is not written twice.
        assert!(store.missing()?.is_empty());
        let file = rows_file(folder.path())?;
        let written = file.metadata()?.modified()?;
        store.rows()?;
        assert_eq!(file.metadata()?.modified()?, written);
    }
    Ok(())
}

#[test]
fn a_damaged_file_of_rows_is_an_error_or_written_anew() -> TestResult {
    let folder = tempfile::tempdir()?;
    let store = store(folder.path(), 16, DType::F32)?;
    let (rows, file) = (store.rows()?, rows_file(folder.path())?);
    let whole = std::fs::read(&file)?;
    let mut broken = whole.clone();
    let at = broken.len() - 4 * N;
    broken[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&file, &broken)?;
    let mut buffer = Vec::new();
    let error = rows.rows(&[59, 60], &mut buffer).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("row 60") && error.contains("delete the file"), "{error}");

    std::fs::write(&file, &whole[..whole.len() - 1])?;
    assert!(rows.rows(&[60], &mut buffer).is_err());
    store.rows()?;
    assert_eq!(std::fs::read(&file)?, whole);
    Ok(())
}

fn rows_file(folder: &std::path::Path) -> Result<std::path::PathBuf, Box<dyn std::error::Error>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "npy") {
            return Ok(path);
        }
    }
    Err("no file of rows".into())
}
