//! The engine in tensor operations, on tensors of the CPU or of a GPU (`ENTK_TEST_DEVICE`), against
//! the engine of the CPU.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor};
use entk_device::Precision;
use entk_gram::{
    Accumulate, Assembly, DeviceConfig, GramConfig, GramError, Outputs, StoreConfig, Strategy,
    gram,
    plan::{Form, Order, Target},
};
use entk_models::{Model, Params, ResNetConfig};
use entk_spectral::{EigshConfig, EntryType, Gram, Solver, SymmetricOperator, eigh, eigsh};
use entk_testing::{Case, TestResult, kernel_cases, more_test_devices, test_device};

use crate::common::{DOUBLE, SINGLE, distance, on, on_cpu, outputs_of};

/// 83 rows: three blocks, the last one shorter.
const EDGE: usize = 30;

fn config(strategy: Strategy, outputs: Outputs) -> GramConfig {
    GramConfig { strategy, outputs, micro_batch: Some(9), ..GramConfig::default() }
}

fn with_memory(memory: Option<u64>) -> DeviceConfig {
    DeviceConfig { memory, edge: Some(EDGE), ..DeviceConfig::default() }
}

fn by_device(
    case: &Case,
    dtype: DType,
    config: &GramConfig,
    device: &DeviceConfig,
) -> Result<Gram, GramError> {
    let (theta, x) = case.to_dtype(dtype)?;
    gram(&case.network, &theta, &x, &on(config, device))
}

/// The smallest memory in which the kernel can be assembled, as the error about a byte says.
fn least_memory(case: &Case, dtype: DType, config: &GramConfig) -> Result<u64, GramError> {
    match by_device(case, dtype, config, &with_memory(Some(1))) {
        Err(GramError::Memory { needed, limit: 1 }) => Ok(needed),
        Err(other) => Err(other),
        Ok(_) => panic!("a kernel in one byte"),
    }
}

fn bits(kernel: &Gram) -> Vec<u64> {
    kernel.entries().to_f64_vec().into_iter().map(f64::to_bits).collect()
}

#[test]
fn both_shapes_are_the_kernel_in_both_precisions() -> TestResult {
    for case in kernel_cases()? {
        for outputs in outputs_of(&case.network) {
            for strategy in [Strategy::Structured, Strategy::JacobianContraction] {
                if strategy != Strategy::Structured && outputs != Outputs::Trace {
                    continue;
                }
                let native = config(strategy, outputs);
                let wide = GramConfig { accumulate: Accumulate::F64, ..native.clone() };
                let oracle = on_cpu(&case, &native)?;
                for (dtype, config, tolerance) in [
                    (DType::F64, &native, DOUBLE),
                    (DType::F32, &native, SINGLE),
                    (DType::F32, &wide, SINGLE),
                ] {
                    let least = least_memory(&case, dtype, config)?;
                    for memory in [None, Some(least)] {
                        let kernel = by_device(&case, dtype, config, &with_memory(memory))?;
                        let error = distance(&kernel, &oracle);
                        let setting = format!("{} {dtype:?} {config:?} {memory:?}", case.name);
                        assert!(error <= tolerance, "{setting}: {error:e}");
                        let is_double = dtype == DType::F64 || config.accumulate == Accumulate::F64;
                        assert_eq!(kernel.entry_type() == EntryType::F64, is_double);
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn memory_changes_the_shape_and_no_bit() -> TestResult {
    let mut shapes = Vec::new();
    for case in kernel_cases()? {
        let config = config(Strategy::Structured, Outputs::Trace);
        let (theta, x) = case.to_dtype(DType::F32)?;
        let first = bits(&by_device(&case, DType::F32, &config, &with_memory(None))?);
        let least = least_memory(&case, DType::F32, &config)?;
        let whole = on(&config, &with_memory(None));
        let once = Assembly::new(&case.network, &theta, &x, &whole)?.plan(Target::Memory)?;
        assert_eq!(once.order().sweeps, 1);
        for tenths in [10, 11, 13, 16, 20, 30, 50, 100, 1000] {
            let device = with_memory(Some(least * tenths / 10));
            let assembly = Assembly::new(&case.network, &theta, &x, &on(&config, &device))?;
            let whole = assembly.plan(Target::Memory)?;
            let plan = whole.order();
            let sets = plan.tiles.div_ceil(plan.resident_tiles);
            let sweeps = (sets * plan.sweeps) as f64;
            assert_eq!(whole.sweep_operations(), once.sweep_operations() * sweeps, "{plan}");
            assert!(plan.peak <= plan.limit, "{}: {plan}", case.name);
            assert!(bits(&assembly.gram()?) == first, "{}: {plan}", case.name);
            shapes.push((
                plan.resident_operands,
                plan.resident_tiles == plan.tiles,
                plan.sweeps > 1,
            ));
        }
    }
    // Rows resident; all tiles, by one sweep and by several; some of the tiles.
    for shape in [(true, true, false), (false, true, false), (false, true, true)] {
        assert!(shapes.contains(&shape), "{shape:?} never came up");
    }
    assert!(shapes.iter().any(|(_, all, _)| !all));
    Ok(())
}

#[test]
fn any_edge_gives_the_kernel() -> TestResult {
    for case in kernel_cases()? {
        let config = config(Strategy::Structured, Outputs::Full);
        let oracle = on_cpu(&case, &config)?;
        for edge in [Some(7), Some(41), Some(1000), None] {
            let device = DeviceConfig { edge, ..DeviceConfig::default() };
            let kernel = by_device(&case, DType::F64, &config, &device)?;
            let error = distance(&kernel, &oracle);
            assert!(error <= DOUBLE, "{} {edge:?}: {error:e}", case.name);
        }
    }
    Ok(())
}

#[test]
fn single_layers_and_none_at_all() -> TestResult {
    for case in kernel_cases()? {
        let name = first_weight(&case);
        let config = GramConfig {
            layers: vec![name.clone()],
            ..config(Strategy::Structured, Outputs::Trace)
        };
        let oracle = on_cpu(&case, &config)?;
        let kernel = by_device(&case, DType::F64, &config, &with_memory(None))?;
        let scale = oracle.max_abs();
        for (a, b) in kernel.entries().to_f64_vec().iter().zip(oracle.entries().to_f64_vec()) {
            assert!((a - b).abs() <= DOUBLE * scale, "{} {name}", case.name);
        }
    }
    Ok(())
}

#[test]
fn kernels_between_two_samples() -> TestResult {
    for case in kernel_cases()? {
        for outputs in [Outputs::Trace, Outputs::Full] {
            let config = config(Strategy::Structured, outputs);
            let (left, right) = (case.x.narrow(0, 0, 35)?, case.x.narrow(0, 35, 48)?);
            let theta = case.theta.to_device(&Device::Cpu)?;
            let [there, other] = [&left, &right].map(|x| x.to_device(&Device::Cpu));
            let oracle = Assembly::new(&case.network, &theta, &there?, &config)?.cross(&other?)?;
            let config = on(&config, &with_memory(None));
            let cross = Assembly::new(&case.network, &case.theta, &left, &config)?.cross(&right)?;
            assert_eq!((cross.rows(), cross.cols()), (oracle.rows(), oracle.cols()));
            let scale = oracle.entries().to_f64_vec().iter().fold(0.0, |m: f64, k| m.max(k.abs()));
            for i in 0..cross.rows() {
                for j in 0..cross.cols() {
                    let error = (cross.get(i, j) - oracle.get(i, j)).abs();
                    assert!(error <= DOUBLE * scale, "{} {i} {j}", case.name);
                }
            }
        }
    }
    Ok(())
}

/// How far a kernel of rows that were rounded is from that of the rows, relative to sqrt(K_ii
/// K_jj), if its sums are exact; the bound of one product of vectors, e, is relative to the product
/// of their lengths (Cauchy-Schwarz on sums of absolute values).
///
/// Rows: e. A dense layer, (a a' + 1) (d d'), is a product of two such, and both factors on the
/// diagonal are at least the products of lengths: 2 e + e^2.
fn rounding(precision: Precision) -> f64 {
    let e = precision.input_error();
    2.0 * e + e * e
}

/// Pairs of pixels cancel, which rows do not; at most this often, with 4 pixels a side, in these
/// tests.
const CANCELLATION: f64 = 4.0;

#[test]
fn rounded_rows_err_within_their_bound() -> TestResult {
    for case in kernel_cases()? {
        let config = config(Strategy::Structured, Outputs::Trace);
        let oracle = on_cpu(&case, &config)?;
        let (theta, x) = case.to_dtype(DType::F32)?;
        let mut errors = Vec::new();
        for precision in [Precision::Bf16, Precision::Tf32, Precision::Bf16x3, Precision::Tf32x3] {
            let device = DeviceConfig { precision: Some(precision), ..with_memory(None) };
            let assembly = Assembly::new(&case.network, &theta, &x, &on(&config, &device))?;
            let plan = assembly.plan(Target::Memory)?;
            let layers = plan.layers();
            let by_pixels = layers.iter().any(|layer| layer.form == Form::Pixels);
            let kernel = assembly.gram()?;
            let error = distance(&kernel, &oracle);
            let bound = rounding(precision) * if by_pixels { CANCELLATION } else { 1.0 };
            assert!(error <= bound + SINGLE, "{} {precision}: {error:e} > {bound:e}", case.name);
            // The estimate from gradients in f64 says the same of a sample.
            let sample = assembly.estimate_error(30, 1, |i, j| Ok(kernel.get(i, j)))?;
            assert!(sample.largest <= error + SINGLE, "{} {precision}: {sample:?}", case.name);
            errors.push(error);
        }
        // Rounding does happen, and three products repair it.
        let [bf16, tf32, bf16x3, tf32x3] = errors[..] else { return Err("four".into()) };
        assert!(bf16 > 3.0 * tf32 && tf32 > 3.0 * tf32x3 && bf16 > 30.0 * bf16x3, "{errors:?}");
        assert!(tf32x3 <= SINGLE, "{errors:?}");
    }
    Ok(())
}

#[test]
fn precisions_of_other_element_types_are_refused() -> TestResult {
    let case = &kernel_cases()?[0];
    let config = GramConfig::default();
    for (dtype, precision) in [(DType::F64, Precision::Tf32), (DType::F32, Precision::F64)] {
        let device = DeviceConfig { precision: Some(precision), ..with_memory(None) };
        let refused = by_device(case, dtype, &config, &device);
        assert!(matches!(refused, Err(GramError::Precision { .. })), "{refused:?}");
    }
    Ok(())
}

#[test]
fn several_devices_give_the_bits_of_one() -> TestResult {
    for case in kernel_cases()?.iter().filter(|case| ["mlp", "resnet"].contains(&case.name)) {
        let config = config(Strategy::Structured, Outputs::Trace);
        let one = bits(&by_device(case, DType::F32, &config, &with_memory(None))?);
        let least = least_memory(case, DType::F32, &config)?;
        for (count, memory) in [(1, None), (2, Some(2 * least)), (9, None)] {
            let devices = more_test_devices(count);
            let several = DeviceConfig { devices, ..with_memory(memory) };
            let kernel = by_device(case, DType::F32, &config, &several)?;
            assert!(bits(&kernel) == one, "{} {count}", case.name);

            let stored = StoreConfig { edge: EDGE, ..StoreConfig::default() };
            let (theta, x) = case.to_dtype(DType::F32)?;
            let folder = tempfile::tempdir()?;
            let assembly = Assembly::new(&case.network, &theta, &x, &on(&config, &several))?;
            let store = assembly.store(folder.path(), &stored)?.store;
            assert!(bits(&store.gram()?) == one, "{} {count}", case.name);
        }
    }
    Ok(())
}

/// A run that stops after every few tiles leaves a store that goes on, with the bits of one run.
#[test]
fn stores_resume_with_equal_bits() -> TestResult {
    let stored = StoreConfig { edge: EDGE, ..StoreConfig::default() };
    for case in kernel_cases()?.iter().filter(|case| ["mlp", "resnet"].contains(&case.name)) {
        let config = config(Strategy::Structured, Outputs::Trace);
        let (theta, x) = case.to_dtype(DType::F32)?;
        let whole = by_device(case, DType::F32, &config, &with_memory(None))?;
        let least = least_memory(case, DType::F32, &config)?;
        for (memory, resident_tiles) in
            [(None, None), (Some(least), None), (Some(3 * least), Some(2))]
        {
            let (folder, stop) = (tempfile::tempdir()?, AtomicBool::new(false));
            let device = DeviceConfig { resident_tiles, ..with_memory(memory) };
            let observe =
                |done: usize, total: usize| stop.store(2 * done > total, Ordering::Relaxed);
            let assembly = Assembly::new(&case.network, &theta, &x, &on(&config, &device))?;
            let assembly = assembly.stoppable(&stop);
            let stopped = assembly.observed(&observe).store(folder.path(), &stored);
            assert!(matches!(stopped, Err(GramError::Stopped)), "{}", case.name);

            let assembly = Assembly::new(&case.network, &theta, &x, &on(&config, &device))?;
            let rest = assembly.store(folder.path(), &stored)?;
            assert_eq!(rest.computed + rest.kept, 6);
            assert!(rest.kept > 0 && rest.computed > 0, "{}: {}", case.name, rest.kept);
            assert!(bits(&rest.store.gram()?) == bits(&whole), "{}", case.name);

            // The CPU's engine gives other bits, and does not go on with these.
            let (theta, x) = (theta.to_device(&Device::Cpu)?, x.to_device(&Device::Cpu)?);
            let other = Assembly::new(&case.network, &theta, &x, &config)?;
            let refused = other.store(folder.path(), &stored);
            assert!(matches!(refused, Err(GramError::OtherRun { .. })), "{}", case.name);
        }
    }
    Ok(())
}

/// The first weight of the network.
fn first_weight(case: &Case) -> String {
    let mut names = case.theta.iter().map(|(name, _)| name);
    names.find(|name| name.ends_with(".weight")).unwrap_or_default().to_owned()
}

#[test]
fn eigenpairs_of_a_gram_that_stays_on_the_device() -> TestResult {
    let case = &kernel_cases()?[2];
    let config = config(Strategy::Structured, Outputs::Trace);
    let host = on_cpu(case, &config)?;
    for edge in [Some(EDGE), Some(41), None] {
        let device = DeviceConfig { edge, ..DeviceConfig::default() };
        let assembly = Assembly::new(&case.network, &case.theta, &case.x, &on(&config, &device))?;
        let resident = assembly.resident_gram()?;
        assert!(distance(&resident.gram()?, &host) <= DOUBLE);

        // Products, of one column and of several.
        for count in [1, 7] {
            let columns: Vec<f64> =
                (0..count * 83).map(|i| f64::from(i as u32 % 13) - 6.0).collect();
            let mut images = vec![f64::NAN; columns.len()];
            resident.apply(&columns, &mut images)?;
            let expected = host.product(&columns)?;
            let scale = 83.0 * 6.0 * host.max_abs();
            for (a, b) in images.iter().zip(&expected) {
                assert!((a - b).abs() <= DOUBLE * scale, "{a} {b}");
            }
        }
        assert!(resident.apply(&[0.0; 83], &mut [0.0; 82]).is_err());

        let solver =
            EigshConfig { solver: Solver::Krylov, block: Some(8), ..EigshConfig::default() };
        let (top, expected) = (eigsh(&resident, 5, &solver)?, eigh(&host)?);
        for (got, expected) in top.pairs.values().iter().zip(expected.values()) {
            // Both residuals bound the distance to an eigenvalue.
            let bound = 2.0 * solver.tolerance * top.pairs.values()[0];
            assert!((got - expected).abs() <= bound, "{got} {expected}");
        }
    }
    Ok(())
}

/// The order of work for so many images of the paper's ResNet18 in tiles of 2,048 on a GPU of
/// 78 GiB, and the columns of the products of one pair of images.
fn resnet18(moved: f64, n: usize, precision: Precision) -> TestResult<(Order, usize)> {
    let network = ResNetConfig::default().network()?;
    let theta = network.init(0, DType::F32, test_device())?;
    let noise = Params::standard_normal(&network.specs(), 1, DType::F32, test_device())?;
    let theta = theta.add_scaled(moved, &noise)?;
    let x = Tensor::randn(0f32, 1.0, (1, 3, 32, 32), test_device())?;
    // One image, seen n times: a plan depends on shapes alone.
    let x = x.broadcast_as((n, 3, 32, 32))?;
    let device = DeviceConfig {
        precision: Some(precision),
        memory: Some(78 << 30),
        ..DeviceConfig::default()
    };
    let config = on(&GramConfig::default(), &device);
    let plan = Assembly::new(&network, &theta, &x, &config)?.plan(Target::Store { edge: 2048 })?;
    Ok((plan.order(), plan.layers().iter().map(|layer| layer.columns).sum()))
}

#[test]
fn resnet18_of_60_000_images_fits_78_gib() -> TestResult {
    let (small, columns) = resnet18(0.0, 60_000, Precision::F32)?;
    // 180,033 parameters are active: 43.2 GB of rows.
    assert_eq!(columns, 180_033);
    assert!(small.resident_operands && small.sweeps == 1, "{small}");
    assert!((44..48).contains(&(small.peak / 1_000_000_000)), "{small}");

    // Rows of 11,169,345 parameters, but 3 layers of 2,359,296 by pairs of 16 pixels.
    let pixels = 3 * 256 * (512 + 512);
    for (precision, passes) in
        [(Precision::F32, 300), (Precision::Bf16, 300), (Precision::Tf32x3, 620)]
    {
        let (large, columns) = resnet18(0.01, 60_000, precision)?;
        assert_eq!(columns, 11_169_345 - 3 * 2_359_296 + pixels);
        assert!(!large.resident_operands, "{large}");
        // All tiles at once: no sweep is repeated.
        assert_eq!((large.resident_tiles, large.tiles), (465, 465), "{large}");
        assert!(large.sweeps <= 4 && large.passes <= passes, "{large}");
        assert!(large.peak <= large.limit && large.peak > large.limit / 2, "{large}");
    }
    // A fifth of the images: one sweep.
    assert_eq!(resnet18(0.01, 12_000, Precision::F32)?.0.sweeps, 1);
    Ok(())
}
