//! The ways to eigenpairs: costs of a sample carry over to other numbers of examples.

use candle_core::{DType, Tensor};
use entk_gram::{Cluster, CostProbe, EigenpairsCost, GramConfig, GramError, Outputs, Way};
use entk_models::{MlpConfig, Model};
use entk_spectral::EigshConfig;
use entk_testing::{TestResult, normal};

fn probe(outputs: usize, config: &GramConfig, pairs: usize) -> TestResult<CostProbe> {
    let network = MlpConfig { input: [1, 3, 4], outputs, ..MlpConfig::default() }.network()?;
    let theta = network.init(1, DType::F32, &candle_core::Device::Cpu)?;
    let x: Tensor = normal(&[90, 1, 3, 4], 2)?.to_device(&candle_core::Device::Cpu)?;
    let solver = EigshConfig::default();
    Ok(CostProbe::measure(&network, &theta, &x, config, &solver, pairs)?)
}

fn hosts(hosts: usize) -> Cluster {
    let mut cluster = Cluster::default();
    (cluster.hosts, cluster.memory) = (hosts, 1 << 40);
    cluster
}

#[test]
fn memory_and_disk_grow_by_their_powers() -> TestResult {
    let probe = probe(1, &GramConfig::default(), 3)?;
    let [once, twice] = [1_000_000, 2_000_000].map(|n| probe.cost(n, &hosts(1)));
    let of = |cost: &EigenpairsCost, way| *cost.of(way).expect("all three ways");
    // N^2 entries of 4 bytes, half of them in a store; matrix-free nothing of N^2.
    assert_eq!(of(&once, Way::Store).disk, 2_000_000_000_000);
    assert_eq!(of(&twice, Way::Store).disk, 8_000_000_000_000);
    assert!(of(&once, Way::Gram).memory >= 4_000_000_000_000);
    assert!(of(&twice, Way::MatrixFree).memory <= 2 * of(&once, Way::MatrixFree).memory);
    let shared = of(&probe.cost(1_000_000, &hosts(4)), Way::Gram).memory;
    assert!(shared < of(&once, Way::Gram).memory / 3, "{shared}");
    // Of twelve parts of a store each sweeps half of the examples.
    let assembly = |count| {
        let cost = probe.cost(1_000, &hosts(count));
        [Way::Store, Way::Gram].map(|way| of(&cost, way).assembly_s)
    };
    let ([store, gram], [alone, whole]) = (assembly(12), assembly(1));
    assert!(store < gram && alone >= whole, "{store} {gram} {alone} {whole}");
    for cost in once.ways {
        assert!(cost.seconds() > 0.0 && cost.seconds().is_finite(), "{cost:?}");
    }
    // A terabyte of memory holds no Gram.
    assert_eq!(once.best().map(|cost| cost.way == Way::Gram), Some(false));
    Ok(())
}

/// Their buffers do not grow with the examples.
#[test]
fn threads_do_not_change_what_an_example_needs() -> TestResult {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(64).build()?;
    let probe = pool.install(|| probe(1, &GramConfig::default(), 3).map_err(|e| e.to_string()))?;
    let of = |n| *probe.cost(n, &hosts(1)).of(Way::Store).expect("all three ways");
    assert!(of(2_000_000).memory < 100 << 30, "{:?}", of(2_000_000));
    Ok(())
}

#[test]
fn outputs_are_rows_and_no_pairs_are_refused() -> TestResult {
    let full = GramConfig { outputs: Outputs::Full, ..GramConfig::default() };
    let cost = probe(3, &full, 4)?.cost(50, &hosts(1));
    assert_eq!(cost.rows, 150);
    // The lower triangle, in f32.
    assert_eq!(cost.of(Way::Store).map(|way| way.disk), Some(4 * 150 * 150 / 2));
    let Err(error) = probe(1, &GramConfig::default(), 0) else {
        return Err("no pairs were taken".into());
    };
    let error = error.downcast::<GramError>()?;
    assert!(matches!(*error, GramError::Setting { got: 0, least: 1, .. }), "{error}");
    Ok(())
}
