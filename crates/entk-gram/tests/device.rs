//! The engine in tensor operations, on CPU tensors, against the engine of the CPU.

mod common;

use candle_core::DType;
use common::{Case, DOUBLE, SINGLE, cases, distance};
use entk_gram::{
    Accumulate, Assembly, DeviceConfig, GramConfig, GramError, Outputs, Strategy, gram,
};
use entk_spectral::{Gram, Precision as Stored};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn config(strategy: Strategy, outputs: Outputs) -> GramConfig {
    GramConfig { strategy, outputs, micro_batch: 9, ..GramConfig::default() }
}

fn by_device(case: &Case, dtype: DType, config: &GramConfig, device: &DeviceConfig) -> Result<Gram, GramError> {
    let (theta, x) = (case.theta.to_dtype(dtype)?, case.x.to_dtype(dtype)?);
    Assembly::new(&case.network, &theta, &x, config)?.on_device(device).gram()
}

/// The smallest memory, in steps of a tenth, in which a kernel can be assembled.
fn least_memory(case: &Case, config: &GramConfig, edge: usize) -> Result<u64, GramError> {
    let mut bytes = 50_000;
    loop {
        let device = DeviceConfig { memory: Some(bytes), edge: Some(edge), ..Default::default() };
        match by_device(case, DType::F32, config, &device) {
            Err(GramError::DeviceMemory { .. }) => bytes += bytes / 10,
            Err(other) => return Err(other),
            Ok(_) => return Ok(bytes),
        }
    }
}

#[test]
fn both_shapes_are_the_kernel_in_both_precisions() -> TestResult {
    for case in cases()? {
        for outputs in [Outputs::Trace, Outputs::SumOfLogits, Outputs::Full] {
            for strategy in [Strategy::Structured, Strategy::JacobianContraction] {
                let config = config(strategy, outputs);
                let oracle = gram(&case.network, &case.theta, &case.x, &config)?;
                let least = least_memory(&case, &config, 30)?;
                for memory in [None, Some(least), Some(2 * least), Some(3 * least)] {
                    let device = DeviceConfig { memory, edge: Some(30), ..Default::default() };
                    let single = by_device(&case, DType::F32, &config, &device)?;
                    let error = distance(&single, &oracle);
                    assert!(error <= SINGLE, "{} {config:?} {device:?}: {error:e}", case.name);
                    let device = DeviceConfig { memory: memory.map(|m| 2 * m), ..device };
                    let double = by_device(&case, DType::F64, &config, &device)?;
                    let error = distance(&double, &oracle);
                    assert!(error <= DOUBLE, "{} {config:?} {device:?}: {error:e}", case.name);

                    let wide = GramConfig { accumulate: Accumulate::F64, ..config.clone() };
                    let kernel = by_device(&case, DType::F32, &wide, &device)?;
                    assert_eq!(kernel.precision(), Stored::F64);
                    let error = distance(&kernel, &oracle);
                    assert!(error <= SINGLE, "{} {wide:?} {device:?}: {error:e}", case.name);
                }
            }
        }
    }
    Ok(())
}
