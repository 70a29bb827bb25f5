//! A store as an operator: the products and eigenpairs of the same Gram in memory.

use candle_core::{DType, Device, Tensor};
use entk_gram::{Assembly, GramConfig, GramError, Store, StoreConfig};
use entk_models::{Initializer, MlpConfig, Model, ParamSpec};
use entk_spectral::{EigshConfig, Precision, Solver, SpectralError, SymmetricOperator, eigsh};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Prime, so that no edge divides it.
const N: usize = 61;

/// A finished store of a small network's Gram in `folder`.
fn store(folder: &std::path::Path, edge: usize, dtype: DType) -> Result<Store, GramError> {
    let config = MlpConfig { input: [1, 4, 5], hidden: vec![9], ..Default::default() };
    let network = config.network()?;
    let theta = network.init(1, dtype, &Device::Cpu)?;
    let spec = ParamSpec::trainable("x", &[N, 1, 4, 5], Initializer::Normal);
    let x = Tensor::from_vec(spec.init.draw(&spec, 3), (N, 1, 4, 5), &Device::Cpu)?;
    let (x, config) = (x.to_dtype(dtype)?, GramConfig::default());
    let assembly = Assembly::new(&network, &theta, &x, &config)?;
    Ok(assembly.store(folder, &StoreConfig { edge, ..StoreConfig::default() })?.store)
}

#[test]
fn products_and_eigenpairs_are_those_of_memory() -> TestResult {
    for (edge, dtype, precision) in
        [(16, DType::F32, Precision::F32), (61, DType::F64, Precision::F64)]
    {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path(), edge, dtype)?;
        let (gram, operator) = (store.gram()?, store.operator()?);
        assert_eq!((operator.n(), operator.precision()), (N, precision));

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
