//! Given products of inputs change no bit, and are refused where they are not those of the inputs.

use candle_core::{DType, Device, Tensor};
use entk_gram::{
    Accumulate, Assembly, GramConfig, GramError, InputGram, Outputs, Store, StoreConfig,
};
use entk_models::{Activation, LeNet5Config, Model, Network};
use entk_testing::{TestResult, networks, normal};

/// Prime; tiles of 15, the last ones of one example.
const N: usize = 61;

fn disk() -> StoreConfig {
    StoreConfig { edge: 15, ..StoreConfig::default() }
}

fn inputs(seed: u64, dtype: DType) -> Result<Tensor, GramError> {
    Ok(normal(&[N, 1, 8, 5], seed)?.to_dtype(dtype)?)
}

fn mlp(outputs: usize) -> Result<Network, GramError> {
    Ok(networks::mlp([1, 8, 5], &[30, 20], outputs, Activation::Relu)?)
}

fn products(x: &Tensor, config: &GramConfig) -> Result<(tempfile::TempDir, InputGram), GramError> {
    let folder = tempfile::tempdir().map_err(|source| GramError::Io {
        action: "create",
        path: std::env::temp_dir(),
        source,
    })?;
    let (linear, zero) = InputGram::model(x)?;
    Assembly::new(&linear, &zero, x, config)?.store(folder.path(), &disk())?;
    let products = InputGram::open(folder.path())?;
    Ok((folder, products))
}

#[test]
fn kernels_have_the_bits_of_kernels_without() -> TestResult {
    for (dtype, accumulate, outputs) in [
        (DType::F32, Accumulate::Native, 1),
        (DType::F32, Accumulate::F64, 1),
        (DType::F64, Accumulate::Native, 3),
    ] {
        let x = inputs(1, dtype)?;
        let config = GramConfig { accumulate, micro_batch: Some(7), ..GramConfig::default() };
        let (_folder, products) = products(&x, &config)?;
        let network = mlp(outputs)?;
        for seed in 0..2 {
            let theta = network.init(seed, dtype, &Device::Cpu)?;
            let assembly = || Assembly::new(&network, &theta, &x, &config);
            let alone = assembly()?.gram()?;
            assert!(assembly()?.reusing(&products)?.gram()? == alone, "{dtype:?}, in memory");
            let folder = tempfile::tempdir()?;
            assembly()?.reusing(&products)?.store(folder.path(), &disk())?;
            assert!(Store::open(folder.path())?.gram()? == alone, "{dtype:?}, on disk");
        }
    }
    Ok(())
}

#[test]
fn the_products_are_those_of_the_inputs() -> TestResult {
    let x = inputs(1, DType::F64)?;
    let (_folder, products) = products(&x, &GramConfig::default())?;
    let (linear, zero) = InputGram::model(&x)?;
    let kernel = Assembly::new(&linear, &zero, &x, &GramConfig::default())?.gram()?;
    let rows = x.flatten_from(1)?.to_vec2::<f64>()?;
    for (i, j) in [(0, 0), (3, 1), (60, 60), (60, 14)] {
        let product: f64 = rows[i].iter().zip(&rows[j]).map(|(a, b)| a * b).sum();
        assert!((kernel.get(i, j) - product).abs() <= 1e-13 * 40.0, "({i}, {j})");
    }
    assert_eq!(products.edge(), 15);
    Ok(())
}

#[test]
fn other_products_are_refused() -> TestResult {
    let x = inputs(1, DType::F32)?;
    let config = GramConfig::default();
    let (folder, products) = products(&x, &config)?;
    let network = mlp(2)?;
    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    let reusing = |x: &Tensor, config: &GramConfig| -> Result<(), GramError> {
        Assembly::new(&network, &theta, x, config)?.reusing(&products).map(|_| ())
    };
    assert!(reusing(&x, &config).is_ok());

    let error = reusing(&inputs(2, DType::F32)?, &config);
    assert!(
        matches!(error, Err(GramError::OtherRun { differences, .. }) if differences[0].starts_with("inputs"))
    );
    let summed = GramConfig { accumulate: Accumulate::F64, ..config.clone() };
    assert!(matches!(reusing(&x, &summed), Err(GramError::OtherRun { .. })));
    let full = GramConfig { outputs: Outputs::Full, ..config.clone() };
    assert!(matches!(reusing(&x, &full), Err(GramError::InputGram { .. })));

    let assembly = Assembly::new(&network, &theta, &x, &config)?.reusing(&products)?;
    let other = tempfile::tempdir()?;
    let edges = assembly.store(other.path(), &StoreConfig { edge: 20, ..disk() });
    assert!(matches!(edges, Err(GramError::Edge { expected: 15, got: 20 })));

    let lenet = LeNet5Config { input: [1, 8, 5], ..Default::default() }.network();
    if let Ok(lenet) = lenet {
        let theta = lenet.init(0, DType::F32, &Device::Cpu)?;
        let kernel = Assembly::new(&lenet, &theta, &x, &config)?.reusing(&products)?.gram();
        assert!(matches!(kernel, Err(GramError::InputGram { .. })));
    }

    let tile = folder.path().join("c/2/1");
    std::fs::copy(folder.path().join("c/3/1"), &tile)?;
    assert!(matches!(assembly.gram(), Err(GramError::Damaged { path, .. }) if path == tile));
    Ok(())
}
