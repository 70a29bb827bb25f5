//! The ways to eigenpairs: costs of a sample carry over to other numbers of examples.

use candle_core::{DType, Tensor};
use entk_gram::{Cluster, CostProbe, GramConfig, GramError, Outputs, Way};
use entk_models::{MlpConfig, Model};
use entk_spectral::EigshConfig;
use entk_testing::{TestResult, normal};

/// Of factors that are computed twice, in another order.
const ROUND_OFF: f64 = 1e-9;

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
fn costs_grow_by_their_powers() -> TestResult {
    let probe = probe(1, &GramConfig::default(), 3)?;
    let [once, twice] = [1_000_000, 2_000_000].map(|n| probe.cost(n, &hosts(1)));
    let ratio = |of: &dyn Fn(&entk_gram::WayCost) -> f64, way| {
        Ok::<_, String>(of(twice.of(way).ok_or("a way")?) / of(once.of(way).ok_or("a way")?))
    };
    // N^2 entries of 4 bytes, half of them in a store; matrix-free nothing of N^2.
    assert_eq!(once.of(Way::Store).map(|cost| cost.disk), Some(2_000_000_000_000));
    assert!(once.of(Way::Gram).is_some_and(|cost| cost.memory >= 4_000_000_000_000));
    assert!((ratio(&|cost| cost.disk as f64, Way::Store)? - 4.0).abs() <= ROUND_OFF);
    let memory = ratio(&|cost| cost.memory as f64, Way::MatrixFree)?;
    assert!((1.0..=2.0).contains(&memory), "{memory}");
    let seconds = ratio(&|cost| cost.seconds(), Way::MatrixFree)?;
    assert!((seconds - 2.0).abs() <= 0.1, "{seconds}");
    // At a million examples the solve is nearly all products.
    let seconds = ratio(&|cost| cost.solve_s, Way::Gram)?;
    assert!((3.5..=4.0 + ROUND_OFF).contains(&seconds), "{seconds}");
    assert_eq!(once.best().map(|cost| cost.way), Some(Way::MatrixFree));
    Ok(())
}

#[test]
fn hosts_share_memory_and_work() -> TestResult {
    let probe = probe(1, &GramConfig::default(), 3)?;
    let [one, four] = [1, 4].map(|count| probe.cost(400_000, &hosts(count)));
    for (one, four) in one.ways.iter().zip(&four.ways) {
        assert!(four.seconds() < one.seconds(), "{}", one.way);
        assert_eq!(four.disk, one.disk);
    }
    let memory = |cost: &entk_gram::EigenpairsCost| cost.of(Way::Gram).map(|cost| cost.memory);
    assert!(memory(&four) < memory(&one));
    Ok(())
}

#[test]
fn outputs_are_rows_and_no_pairs_are_refused() -> TestResult {
    let full = GramConfig { outputs: Outputs::Full, ..GramConfig::default() };
    assert_eq!(probe(3, &full, 4)?.cost(50, &hosts(1)).rows, 150);
    let Err(error) = probe(1, &GramConfig::default(), 0) else {
        return Err("no pairs were taken".into());
    };
    let error = error.downcast::<GramError>()?;
    assert!(matches!(*error, GramError::Setting { got: 0, least: 1, .. }), "{error}");
    Ok(())
}
