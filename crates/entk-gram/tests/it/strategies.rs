//! All strategies against each other and against the per-example oracle, on one list of cases.

use candle_core::{DType, Tensor};
use entk_gram::{
    Accumulate, Assembly, CpuConfig, DeviceConfig, Engine, GramConfig, GramError, Outputs,
    StoreConfig, Strategy, cross_gram, gram,
    plan::{Form, Target},
};
use entk_linearize::{Jacobian, Linearized};
use entk_models::{MlpConfig, Model, Params};
use entk_spectral::{EntryType, Gram};
use entk_testing::{Case, TestResult, kernel_cases, needs_cpu, normal, test_device};

use crate::common::{DOUBLE, SINGLE, distance, outputs_of};

fn config(strategy: Strategy, outputs: Outputs) -> GramConfig {
    let engine = match test_device().is_cpu() {
        true => Engine::Cpu(CpuConfig { tile: 30, ..CpuConfig::default() }),
        false => Engine::Tensors(DeviceConfig { edge: Some(30), ..DeviceConfig::default() }),
    };
    GramConfig { strategy, outputs, micro_batch: Some(9), engine, ..GramConfig::default() }
}

#[test]
fn every_form_has_a_case() -> TestResult {
    if needs_cpu("the forms of the CPU's engine") {
        return Ok(());
    }
    let mut forms = Vec::new();
    for Case { network, theta, x, .. } in kernel_cases()? {
        let plan = Assembly::new(&network, &theta, &x, &GramConfig::default())?;
        forms.extend(plan.plan(Target::Memory)?.layers().iter().map(|layer| layer.form));
    }
    for form in [Form::Rows, Form::Dense, Form::Expanded, Form::Pixels, Form::Embedding] {
        assert!(forms.contains(&form), "{form:?}");
    }
    Ok(())
}

#[test]
fn a_plan_counts_products_by_hand() -> TestResult {
    if needs_cpu("the forms of the CPU's engine") {
        return Ok(());
    }
    let Case { network, theta, x, .. } = &kernel_cases()?[0];
    let plan = Assembly::new(network, theta, x, &GramConfig::default())?.plan(Target::Memory)?;
    // 20-30-20-1: values of all layers, cotangents of the inputs of the last two.
    let sweep = 2 * (20 * 30 + 30 * 20 + 20) + 2 * (20 + 30 * 20);
    assert_eq!(plan.sweep_operations(), f64::from(83 * sweep));
    // Hadamard forms of the first two, rows of the last.
    let columns = (20 + 30) + (30 + 20) + (20 + 1);
    assert_eq!(plan.operations(), f64::from(83 * 84 * columns));

    // One 3 x 3 convolution of 24 -> 37 channels on 2 x 2 pixels: every pair of its pixels.
    let case = kernel_cases()?.into_iter().find(|case| case.name == "convolutions on few pixels");
    let Case { network, theta, x, .. } = case.ok_or("no such case")?;
    let plan = Assembly::new(&network, &theta, &x, &GramConfig::default())?.plan(Target::Memory)?;
    let layer = plan.layers().iter().find(|layer| layer.names[0] == "conv2.weight");
    assert_eq!(layer.map(|layer| layer.columns), Some(16 * (24 + 37) + 37));
    Ok(())
}

#[test]
fn strategies_agree_in_both_precisions() -> TestResult {
    for case in kernel_cases()? {
        for outputs in outputs_of(&case.network) {
            let oracle = config(Strategy::PerExample, outputs);
            let oracle = gram(&case.network, &case.theta, &case.x, &oracle)?;
            for strategy in [Strategy::Structured, Strategy::JacobianContraction] {
                let config = config(strategy, outputs);
                let double = gram(&case.network, &case.theta, &case.x, &config)?;
                let error = distance(&double, &oracle);
                assert!(error <= DOUBLE, "{} {strategy:?} {outputs:?}: {error:e}", case.name);

                let (theta, x) = case.to_dtype(DType::F32)?;
                let single = gram(&case.network, &theta, &x, &config)?;
                let native = distance(&single, &oracle);
                assert!(native <= SINGLE, "{} {strategy:?} {outputs:?}: {native:e}", case.name);

                let config = GramConfig { accumulate: Accumulate::F64, ..config };
                let wide = gram(&case.network, &theta, &x, &config)?;
                assert_eq!(wide.entry_type(), EntryType::F64);
                let error = distance(&wide, &oracle);
                assert!(error <= SINGLE, "{} {strategy:?} {outputs:?}: {error:e}", case.name);
            }
        }
    }
    Ok(())
}

#[test]
fn entries_are_inner_products_of_central_differences() -> TestResult {
    // K_nm = sum_p df_n/dp df_m/dp, one parameter p at a time.
    let network =
        MlpConfig { input: [1, 2, 2], hidden: vec![3], ..Default::default() }.network()?;
    let theta = network.init(5, DType::F64, test_device())?;
    let x = normal(&[4, 1, 2, 2], 6)?;
    let h = 1e-6;
    let mut rows = vec![Vec::new(); 4];
    for (name, tensor) in theta.iter() {
        for at in 0..tensor.elem_count() {
            let step = Params::from_fn(&network.specs(), DType::F64, test_device(), |spec| {
                let on = |p: usize| f64::from(u8::from(spec.name == name && p == at));
                (0..spec.elem_count()).map(on).collect()
            })?;
            let f = |t: f64| -> Result<Vec<f64>, GramError> {
                let outputs = network.forward(&theta.add_scaled(t, &step)?, &x)?;
                Ok(outputs.flatten_all()?.to_vec1()?)
            };
            let (plus, minus) = (f(h)?, f(-h)?);
            for (row, (p, m)) in rows.iter_mut().zip(plus.iter().zip(&minus)) {
                row.push((p - m) / (2.0 * h));
            }
        }
    }
    let kernel = gram(&network, &theta, &x, &GramConfig::default())?;
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate() {
            let expected: f64 = a.iter().zip(b).map(|(p, q)| p * q).sum();
            assert!((kernel.get(i, j) - expected).abs() <= 1e-7 * (1.0 + expected.abs()));
        }
    }
    Ok(())
}

#[test]
fn tiles_and_threads_change_no_bit() -> TestResult {
    if needs_cpu("tiles and threads of the CPU's engine") {
        return Ok(());
    }
    for case in kernel_cases()? {
        let (theta, x) = case.to_dtype(DType::F32)?;
        let run = |tile: usize, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            let expansion = 100_000 * tile; // another number of passes each time
            let engine = Engine::Cpu(CpuConfig { tile, expansion, memory: None });
            let config = GramConfig { engine, ..GramConfig::default() };
            let kernel = pool.install(|| gram(&case.network, &theta, &x, &config))?;
            let bits = |i: usize| (0..kernel.n()).map(move |j| (i, j));
            let all = (0..kernel.n()).flat_map(bits);
            Ok::<_, Box<dyn std::error::Error>>(
                all.map(|(i, j)| kernel.get(i, j).to_bits()).collect::<Vec<_>>(),
            )
        };
        let first = run(256, 1)?;
        for (tile, threads) in [(256, 2), (1, 1), (16, 2), (17, 1), (33, 2), (41, 4), (82, 1)] {
            assert!(run(tile, threads)? == first, "{}: tile {tile}, {threads} threads", case.name);
        }
    }
    Ok(())
}

/// The smallest memory in which the kernel can be assembled on the CPU, as the error about a byte
/// says.
fn least_memory(run: impl Fn(u64) -> Result<(), GramError>) -> Result<u64, GramError> {
    match run(1) {
        Err(GramError::Memory { needed, limit: 1 }) => Ok(needed),
        Err(other) => Err(other),
        Ok(()) => panic!("a kernel in one byte"),
    }
}

#[test]
fn memory_splits_the_parameters_and_changes_no_bit() -> TestResult {
    if needs_cpu("the memory of the CPU's engine") {
        return Ok(());
    }
    let (mut split, mut sets) = (0, 0);
    for case in kernel_cases()? {
        for (outputs, dtype) in [(Outputs::Trace, DType::F32), (Outputs::Full, DType::F64)] {
            let (theta, x) = case.to_dtype(dtype)?;
            let with = |memory| {
                let cpu = CpuConfig { memory, expansion: 1 << 16, ..CpuConfig::default() };
                GramConfig {
                    outputs,
                    micro_batch: Some(9),
                    engine: Engine::Cpu(cpu),
                    ..Default::default()
                }
            };
            let run = |memory| gram(&case.network, &theta, &x, &with(memory));
            let whole = run(None)?;
            let least = least_memory(|bytes| run(Some(bytes)).map(|_| ()))?;
            let cross = |memory| cross_gram(&case.network, &theta, &x, &x, &with(memory));
            let config = StoreConfig { edge: 30, ..StoreConfig::default() };
            for more in [0, 1 << 14, 1 << 17, 1 << 20] {
                let memory = Some(least + more);
                assert!(run(memory)? == whole, "{} {memory:?}", case.name);
                let with = with(memory);
                let assembly = Assembly::new(&case.network, &theta, &x, &with)?;
                split += usize::from(assembly.plan(Target::Memory)?.order().sweeps > 1);
                assert!(assembly.plan(Target::Memory)?.peak() <= least + more, "{}", case.name);

                let order = assembly.plan(Target::Store { edge: 30 })?.order();
                sets += usize::from((2..order.tiles).contains(&order.resident_tiles));
                let folder = tempfile::tempdir()?;
                let stored = match assembly.store(folder.path(), &config) {
                    Err(GramError::Memory { .. }) => continue, // tiles on their way to disk
                    stored => stored?,
                };
                assert!(stored.store.gram()? == whole, "{} {memory:?}", case.name);
            }
            let least = least_memory(|bytes| cross(Some(bytes)).map(|_| ()))?;
            let (got, expected) = (cross(Some(least))?, cross(None)?);
            assert!(got.entries().to_f64_vec() == expected.entries().to_f64_vec(), "{}", case.name);
        }
    }
    assert!(split > 10 && sets > 0, "{split} {sets}");
    Ok(())
}

#[test]
fn the_oracle_has_a_store() -> TestResult {
    let Case { network, theta, x, .. } = &kernel_cases()?[1];
    let config = config(Strategy::PerExample, Outputs::Full);
    let assembly = Assembly::new(network, theta, x, &config)?;
    let folder = tempfile::tempdir()?;
    let stored = StoreConfig { edge: 50, ..StoreConfig::default() };
    assert!(assembly.store(folder.path(), &stored)?.store.gram()? == assembly.gram()?);
    Ok(())
}

#[test]
fn kernels_of_the_layers_sum_to_the_whole() -> TestResult {
    for case in kernel_cases()? {
        let run = |strategy, layers: &[String]| -> Result<Gram, GramError> {
            let config = GramConfig { layers: layers.to_vec(), ..config(strategy, Outputs::Trace) };
            gram(&case.network, &case.theta, &case.x, &config)
        };
        let whole = run(Strategy::Structured, &[])?;
        let mut sum = vec![0.0; 83 * 83];
        for name in case.network.specs().into_iter().map(|spec| spec.name) {
            if name.ends_with(".bias") || name.contains("running") {
                continue;
            }
            let layer = run(Strategy::Structured, std::slice::from_ref(&name))?;
            // The oracle sweeps once an example: small networks only.
            if case.name != "resnet" {
                let oracle = run(Strategy::PerExample, std::slice::from_ref(&name))?;
                assert!(distance(&layer, &oracle) <= DOUBLE, "{} {name}", case.name);
            }
            let entries = layer.entries().to_f64_vec();
            sum.iter_mut().zip(entries).for_each(|(sum, k)| *sum += k);
        }
        assert!(distance(&Gram::from_lower_f64(83, sum)?, &whole) <= DOUBLE, "{}", case.name);
    }
    Ok(())
}

#[test]
fn alignments_of_the_layers_are_their_quadratic_forms() -> TestResult {
    for case in kernel_cases()?.into_iter().filter(|case| case.network.outputs() == 1) {
        let y: Vec<f64> = (0..83).map(|n| f64::from(n % 5) - 1.5).collect();
        let jacobian = Jacobian::new(&case.network, &case.theta, &case.x)?;
        let alignments = jacobian.layer_alignments(&y)?;
        let whole: f64 = alignments.iter().map(|(_, alignment)| alignment).sum();
        assert!((whole - jacobian.alignment(&y)?).abs() <= DOUBLE * whole, "{}", case.name);
        for (name, alignment) in &alignments {
            let Some(layer) = name.strip_suffix(".weight") else { continue };
            let config = GramConfig { layers: vec![name.clone()], ..GramConfig::default() };
            let kernel = gram(&case.network, &case.theta, &case.x, &config)?;
            let bias = alignments.iter().find(|(name, _)| *name == format!("{layer}.bias"));
            let expected = alignment + bias.map_or(0.0, |(_, alignment)| *alignment);
            let entry = |(i, j): (usize, usize)| y[i] * kernel.get(i, j) * y[j] / (83.0 * 83.0);
            let form: f64 = (0..83 * 83).map(|k| entry((k / 83, k % 83))).sum();
            assert!((form - expected).abs() <= DOUBLE * whole, "{} {name}", case.name);
        }
    }
    Ok(())
}

#[test]
fn unknown_layers_are_refused() -> TestResult {
    let case = &kernel_cases()?[0];
    let unknown = GramConfig { layers: vec!["fc9.weight".into()], ..GramConfig::default() };
    let error = gram(&case.network, &case.theta, &case.x, &unknown);
    assert!(error.is_err_and(|error| error.to_string().contains("fc9.weight")));
    Ok(())
}

#[test]
fn error_estimates_see_round_off_and_mistakes() -> TestResult {
    for case in kernel_cases()? {
        let (theta, x) = case.to_dtype(DType::F32)?;
        let assembly = Assembly::new(&case.network, &theta, &x, &GramConfig::default())?;
        let kernel = assembly.gram()?;
        let right = assembly.estimate_error(20, 7, |i, j| Ok(kernel.get(i, j)))?;
        assert!(right.largest <= SINGLE && right.rms <= right.largest, "{}: {right:?}", case.name);
        let scaled = assembly.estimate_error(20, 7, |i, j| Ok(1.01 * kernel.get(i, j)))?;
        assert!(scaled.largest > 100.0 * SINGLE, "{}: {scaled:?}", case.name);
        let broken = assembly.estimate_error(20, 7, |_, _| Ok(f64::NAN))?;
        assert!(broken.largest.is_nan());
    }
    Ok(())
}

#[test]
fn cross_gram_is_the_off_diagonal_block() -> TestResult {
    // Sets of unequal and of equal size, which are no diagonal block.
    for (case, m, n) in kernel_cases()?.iter().flat_map(|case| [(case, 9, 74), (case, 40, 40)]) {
        for strategy in [Strategy::Structured, Strategy::JacobianContraction, Strategy::PerExample]
        {
            let config = config(strategy, Outputs::Trace);
            let whole = gram(&case.network, &case.theta, &case.x, &config)?;
            let (left, right) = (case.x.narrow(0, 0, m)?, case.x.narrow(0, m, n)?);
            let cross = cross_gram(&case.network, &case.theta, &left, &right, &config)?;
            assert_eq!((cross.rows(), cross.cols()), (m, n));
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let scale = (whole.get(i, i) * whole.get(m + j, m + j)).sqrt();
                let error = (cross.get(i, j) - whole.get(i, m + j)).abs();
                assert!(error <= DOUBLE * scale, "{} {strategy:?}", case.name);
            }
        }
    }
    Ok(())
}

#[test]
fn the_gram_of_a_linearization_never_moves() -> TestResult {
    for case in kernel_cases()? {
        let linear = Linearized::new(&case.network, case.theta.clone());
        let config = GramConfig::default();
        let start = gram(&case.network, &case.theta, &case.x, &config)?;
        for seed in 0..3 {
            let specs = case.network.specs();
            let far = Params::standard_normal(&specs, seed, DType::F64, test_device())?;
            let moved = gram(&linear, &far, &case.x, &config)?;
            assert!(distance(&moved, &start) == 0.0, "{}", case.name);
        }
    }
    Ok(())
}

#[test]
fn bad_input_is_an_error() -> TestResult {
    let case = &kernel_cases()?[0];
    let run = |x: &Tensor, params: &Params, config: &GramConfig| {
        gram(&case.network, params, x, config).map(|_| ()).map_err(|e| e.to_string())
    };
    let config = GramConfig::default();
    let message = |r: Result<(), String>| r.expect_err("an error");

    let engine = Engine::Cpu(CpuConfig { tile: 0, ..CpuConfig::default() });
    let zero_tile = GramConfig { engine, ..config.clone() };
    assert!(message(run(&case.x, &case.theta, &zero_tile)).contains("tile is 0"));
    let empty = case.x.narrow(0, 0, 0)?;
    assert!(message(run(&empty, &case.theta, &config)).contains("examples is 0"));
    let other_shape = case.x.reshape((83, 1, 5, 4))?;
    assert!(message(run(&other_shape, &case.theta, &config)).contains("expected shape"));
    let single = case.x.to_dtype(DType::F32)?;
    assert!(message(run(&single, &case.theta, &config)).contains("F32"));
    // Named as it was given.
    let bytes = case.x.to_dtype(DType::U8)?;
    let refused = message(run(&bytes, &case.theta, &config));
    assert!(refused.contains("got U8") && refused.contains("to_dtype"), "{refused}");

    let mut values = case.x.flatten_all()?.to_vec1::<f64>()?;
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        values[57] = bad;
        let x = Tensor::from_vec(values.clone(), case.x.shape(), test_device())?;
        assert!(message(run(&x, &case.theta, &config)).contains("flat index 57"));
    }
    let huge = case.theta.scale(1e200)?;
    assert!(message(run(&case.x, &huge, &config)).contains("model outputs"));
    Ok(())
}
