//! Which kernel of several outputs: how the kernels of one network follow from each other.

use candle_core::{DType, Tensor};
use entk_gram::{
    Assembly, CpuConfig, Engine, GramConfig, GramError, Outputs, StoreConfig, cross_gram, gram,
    plan::Target, store::Part,
};
use entk_models::{MlpConfig, Model, ModelError};
use entk_spectral::{Gram, OutputBlocks, check_psd, eigh};
use entk_testing::{Case, TestResult, kernel_cases, needs_cpu, test_device};

use crate::common::{DOUBLE, distance};

fn config(outputs: Outputs) -> GramConfig {
    GramConfig { outputs, micro_batch: Some(9), ..GramConfig::default() }
}

fn kernel(case: &Case, outputs: Outputs) -> Result<Gram, GramError> {
    gram(&case.network, &case.theta, &case.x, &config(outputs))
}

#[test]
fn trace_sum_and_single_outputs_are_blocks_of_the_full_kernel() -> TestResult {
    for case in kernel_cases()? {
        let (full, c) = (kernel(&case, Outputs::Full)?, case.network.outputs());
        assert_eq!(full.n(), 83 * c);
        assert!(check_psd(&eigh(&full)?).is_ok(), "{}", case.name);
        let blocks = OutputBlocks::new(&full, c)?;
        let close = |found: &Gram, expected: &Gram, what: &str| {
            let error = distance(found, expected);
            assert!(error <= DOUBLE * c as f64, "{} {what}: {error:e}", case.name);
        };
        close(&blocks.trace()?, &kernel(&case, Outputs::Trace)?, "trace");
        for output in 0..c {
            close(&blocks.gram(output)?, &kernel(&case, Outputs::One(output))?, "one");
        }
        // Sums of outputs may cancel: relative to what is added.
        let (sum, found) = (kernel(&case, Outputs::SumOfLogits)?, blocks.sum()?);
        let scale = |i: usize| (0..c).map(|a| full.get(i * c + a, i * c + a)).sum::<f64>();
        for (i, j) in (0..83).flat_map(|i| (0..83).map(move |j| (i, j))) {
            let error = (found.get(i, j) - sum.get(i, j)).abs();
            assert!(error <= DOUBLE * c as f64 * (scale(i) * scale(j)).sqrt(), "{}", case.name);
        }
    }
    Ok(())
}

#[test]
fn blocks_between_outputs_are_those_of_a_cross_kernel() -> TestResult {
    for case in kernel_cases()?.into_iter().filter(|case| case.network.outputs() > 1) {
        let (full, c) = (kernel(&case, Outputs::Full)?, case.network.outputs());
        let full_config = config(Outputs::Full);
        let cross = cross_gram(&case.network, &case.theta, &case.x, &case.x, &full_config)?;
        let block = OutputBlocks::new(&full, c)?.cross(0, c - 1)?;
        for (i, j) in (0..83).flat_map(|i| (0..83).map(move |j| (i, j))) {
            let (row, col) = (i * c, j * c + c - 1);
            let scale = (full.get(row, row) * full.get(col, col)).sqrt();
            let error = (block.get(i, j) - cross.get(row, col)).abs();
            assert!(error <= DOUBLE * scale, "{} {i} {j}: {error:e}", case.name);
        }
    }
    Ok(())
}

#[test]
fn an_output_that_the_network_does_not_have_is_refused() -> TestResult {
    for case in kernel_cases()? {
        let outputs = case.network.outputs();
        let refused =
            Assembly::new(&case.network, &case.theta, &case.x, &config(Outputs::One(outputs)));
        let message = refused.map(|_| ()).expect_err("no such output").to_string();
        let expected = ModelError::NoOutput { asked: outputs, outputs }.to_string();
        assert_eq!(message, expected, "{}", case.name);
    }
    Ok(())
}

/// Edge of tiles that cut the rows of an example apart.
const EDGE: usize = 23;

#[test]
fn tiles_threads_and_parts_of_full_kernels_change_no_bit() -> TestResult {
    if needs_cpu("the engine of the CPU") {
        return Ok(());
    }
    for case in kernel_cases()?.into_iter().filter(|case| case.network.outputs() > 1) {
        let whole = kernel(&case, Outputs::Full)?;
        for (tile, threads) in [(1, 2), (17, 1), (41, 4)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            let engine = Engine::Cpu(CpuConfig { tile, expansion: 1 << 16, memory: None });
            let config = GramConfig { engine, ..config(Outputs::Full) };
            let other = pool.install(|| gram(&case.network, &case.theta, &case.x, &config))?;
            assert!(other == whole, "{}: tile {tile}, {threads} threads", case.name);
        }
        let folder = tempfile::tempdir()?;
        let run = |part: Part| {
            let assembly =
                Assembly::new(&case.network, &case.theta, &case.x, &config(Outputs::Full))?;
            let stored = StoreConfig { edge: EDGE, part };
            assembly.store(folder.path(), &stored)
        };
        for index in [2, 3, 2, 1] {
            run(Part::new(index, 3)?)?;
        }
        let finished = run(Part::default())?;
        assert_eq!(finished.computed, 0, "{}", case.name);
        assert!(finished.store.gram()? == whole, "{}", case.name);
    }
    Ok(())
}

/// A wide head on a few features.
fn wide_head(outputs: usize) -> TestResult<(entk_models::Network, entk_models::Params, Tensor)> {
    let config = MlpConfig { input: [1, 2, 3], hidden: vec![12, 9], outputs, ..Default::default() };
    let network = config.network()?;
    let theta = network.init(3, DType::F64, test_device())?;
    Ok((network, theta, entk_testing::normal(&[7, 1, 2, 3], 4)?))
}

#[test]
fn the_trace_of_a_wide_head_keeps_its_inputs_once() -> TestResult {
    let outputs = 1000;
    let (network, theta, x) = wide_head(outputs)?;
    let assembly = Assembly::new(&network, &theta, &x, &GramConfig::default())?;
    let plan = assembly.plan(Target::Memory)?;
    let head = |layer: &&entk_gram::plan::LayerPlan| layer.names[0] == "fc3.weight";
    let heads: Vec<_> = plan.layers().iter().filter(head).collect();
    assert_eq!(heads.len(), 1);
    assert_eq!(heads[0].kept, 9 + outputs);
    let oracle = GramConfig { strategy: entk_gram::Strategy::PerExample, ..GramConfig::default() };
    let error = distance(&assembly.gram()?, &gram(&network, &theta, &x, &oracle)?);
    assert!(error <= DOUBLE, "{error:e}");
    let layers = vec!["fc3.weight".to_owned()];
    let alone = GramConfig { layers, ..GramConfig::default() };
    let alone = gram(&network, &theta, &x, &alone)?;
    // C (a . a' + 1) for the inputs a of the head: a multiple of C to round-off.
    let features = alone.get(0, 0) / outputs as f64 - 1.0;
    assert!(features > 0.0 && features.is_finite(), "{features}");
    Ok(())
}

#[test]
fn a_full_kernel_of_a_thousand_outputs_is_refused_with_its_size() -> TestResult {
    if needs_cpu("the engine of the CPU") {
        return Ok(());
    }
    let (network, theta, x) = wide_head(1000)?;
    let cpu = CpuConfig { memory: Some(64 << 20), ..CpuConfig::default() };
    let engine = Engine::Cpu(cpu);
    let refused = gram(&network, &theta, &x, &GramConfig { engine, ..config(Outputs::Full) });
    match refused {
        // 7000 x 7000 entries of 8 bytes.
        Err(GramError::Memory { needed, limit }) => {
            assert!(needed >= 7000 * 7000 * 8 && limit == 64 << 20, "{needed}");
        }
        other => return Err(format!("{:?}", other.map(|gram| gram.n())).into()),
    }
    Ok(())
}
