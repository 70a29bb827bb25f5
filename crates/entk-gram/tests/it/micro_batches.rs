//! Micro-batches: never larger than the set, planned as they are swept, without effect on bits on
//! the CPU.

use std::sync::Mutex;

use candle_core::{DType, Tensor};
use entk_gram::{
    Assembly, CpuConfig, DeviceConfig, Engine, GramConfig, GramError, gram, plan::Target,
};
use entk_models::{MlpConfig, Model};
use entk_testing::{TestResult, kernel_cases, needs_cpu, networks, normal, test_device};

use crate::common::same;

#[test]
fn micro_batches_change_no_bit() -> TestResult {
    for case in kernel_cases()? {
        for dtype in [DType::F32, DType::F64] {
            let (theta, x) = case.to_dtype(dtype)?;
            let run = |micro_batch, count: usize| {
                let config = GramConfig { micro_batch, ..GramConfig::default() };
                gram(&case.network, &theta, &x.narrow(0, 0, count)?, &config)
            };
            let whole = run(None, 83)?;
            for micro_batch in [1, 2, 7, 16, 64, 1000] {
                let kernel = run(Some(micro_batch), 83)?;
                assert!(same(&kernel, &whole), "{} {dtype:?} {micro_batch}", case.name);
            }
            // Nor do the examples beside them.
            for count in [1, 3, 20, 65] {
                let first = whole.principal(&(0..count).collect::<Vec<_>>())?;
                assert!(same(&run(None, count)?, &first), "{} {dtype:?} {count}", case.name);
            }
        }
    }
    Ok(())
}

/// Whatever is computed in several passes, and in however many parts.
#[test]
fn progress_ends_at_what_was_expected() -> TestResult {
    let cpu = CpuConfig { tile: 30, expansion: 1 << 16, memory: None };
    let tensors = DeviceConfig { edge: Some(30), ..DeviceConfig::default() };
    for case in kernel_cases()? {
        for engine in [Engine::Cpu(cpu.clone()), Engine::Tensors(tensors.clone())] {
            if matches!(engine, Engine::Cpu(_)) && needs_cpu("the engine of the CPU") {
                continue;
            }
            let config = GramConfig { engine, ..GramConfig::default() };
            let seen = Mutex::new(Vec::new());
            let observe = |done, total| seen.lock().expect("a lock").push((done, total));
            Assembly::new(&case.network, &case.theta, &case.x, &config)?
                .observed(&observe)
                .gram()?;
            let seen = seen.into_inner()?;
            let last = seen.iter().map(|(done, _)| done).max();
            let name = case.name;
            assert!(seen.iter().all(|(done, total)| done <= total), "{name}: {seen:?}");
            assert_eq!(last, seen.last().map(|(_, total)| total), "{name}");
            assert!(seen.iter().all(|(_, total)| *total == seen[0].1), "{name}");
        }
    }
    Ok(())
}

/// Bytes of the sweeps of a ResNet18 of width 64 on `n` images.
fn sweeps(n: usize, micro_batch: Option<usize>) -> TestResult<u64> {
    let network = networks::resnet18([3, 16, 16], 64, 1)?;
    let theta = network.init(0, DType::F32, test_device())?;
    let x = Tensor::randn(0f32, 1.0, (n, 3, 16, 16), test_device())?;
    let config = GramConfig { micro_batch, ..GramConfig::default() };
    let plan = Assembly::new(&network, &theta, &x, &config)?.plan(Target::Memory)?;
    let buffers = plan.buffers();
    let sweeps = buffers.iter().find(|buffer| buffer.name.contains("micro-batch"));
    Ok(sweeps.ok_or("no sweeps")?.bytes)
}

#[test]
fn plans_grow_with_the_examples() -> TestResult {
    if needs_cpu("the plan of the CPU's engine") {
        return Ok(());
    }
    let one = sweeps(1, None)?;
    for (n, micro_batch) in [(2, None), (3, None), (5, None), (4, Some(64)), (5, Some(64))] {
        let bytes = sweeps(n, micro_batch)?;
        assert!(bytes <= n as u64 * one, "{n} {micro_batch:?}: {bytes} > {n} * {one}");
    }
    Ok(())
}

#[test]
fn sweeps_that_do_not_fit_are_refused_with_the_numbers() -> TestResult {
    if needs_cpu("the memory of the CPU's engine") {
        return Ok(());
    }
    let network = networks::resnet18([3, 16, 16], 64, 1)?;
    let theta = network.init(0, DType::F32, test_device())?;
    let x = Tensor::randn(0f32, 1.0, (6, 3, 16, 16), test_device())?;
    let run = |micro_batch| {
        let cpu = CpuConfig { memory: Some(1 << 20), ..CpuConfig::default() };
        let engine = Engine::Cpu(cpu);
        gram(&network, &theta, &x, &GramConfig { micro_batch, engine, ..GramConfig::default() })
    };
    let needed = |micro_batch| match run(micro_batch) {
        Err(GramError::Memory { needed, limit }) => Ok((needed, limit)),
        other => Err(format!("{other:?}")),
    };
    let (one, six) = (needed(Some(1))?, needed(Some(6))?);
    assert!(one.0 <= six.0 && one.1 == 1 << 20, "{one:?} {six:?}");
    Ok(())
}

#[test]
fn a_micro_batch_beyond_the_inputs_is_all_of_them() -> TestResult {
    let network = MlpConfig { input: [1, 2, 2], ..MlpConfig::default() }.network()?;
    let theta = network.init(0, DType::F32, test_device())?;
    let x = normal(&[3, 1, 2, 2], 1)?.to_dtype(DType::F32)?;
    let of = |micro_batch| {
        let config = GramConfig { micro_batch, ..GramConfig::default() };
        Assembly::new(&network, &theta, &x, &config)?.gram()
    };
    assert_eq!(of(Some(1 << 40))?, of(Some(3))?);
    Ok(())
}

#[test]
fn inputs_and_layers_that_are_none_are_refused_as_a_whole() -> TestResult {
    let network = MlpConfig { input: [1, 2, 2], ..MlpConfig::default() }.network()?;
    let theta = network.init(0, DType::F32, test_device())?;
    let images = |shape: &[usize]| normal(shape, 1)?.to_dtype(DType::F32);
    let (x, other) = (images(&[5, 1, 2, 2])?, images(&[7, 1, 3, 2])?);
    let refused = |x: &Tensor, others: Option<&Tensor>, config: &GramConfig| {
        let assembly = Assembly::new(&network, &theta, x, config)?;
        others.map(|others| assembly.cross(others)).transpose()
    };
    let whole = GramConfig::default();
    // The whole set is named, not the few examples that were tried first.
    for error in [refused(&other, None, &whole), refused(&x, Some(&other), &whole)] {
        let text = error.map(|_| ()).expect_err("another shape").to_string();
        assert!(text.contains("(N, 1, 2, 2), got [7, 1, 3, 2]"), "{text}");
    }
    let layers = GramConfig { layers: vec!["fc1.bias".into()], ..whole };
    let text = refused(&x, None, &layers).map(|_| ()).expect_err("a bias").to_string();
    assert!(text.contains("\"fc1.bias\" is no trained weight"), "{text}");
    assert!(text.contains("fc1.weight, fc2.weight, fc3.weight"), "{text}");
    Ok(())
}
