//! A Gram that stays on a device, or is streamed to it, as the kernel of solvers: rows, products
//! and eigenpairs, against the same Gram in memory.

use candle_core::{DType, Device, Tensor};
use entk_device::to_device;
use entk_gram::{Assembly, DeviceConfig, DeviceGram, GramConfig, StoreConfig, StreamedGram};
use entk_spectral::{
    EigshConfig, Entries, Gram, KernelRows, Solver, SymmetricOperator, eigh, eigsh,
};
use entk_testing::{Case, TestResult, kernel_cases, more_test_devices, test_device};

use crate::common::{DOUBLE, on};

/// 83 rows in blocks of 30, 30 and 23.
const EDGE: usize = 30;

fn config() -> GramConfig {
    on(&GramConfig::default(), &DeviceConfig { edge: Some(EDGE), ..DeviceConfig::default() })
}

fn case() -> TestResult<Case> {
    Ok(kernel_cases()?.swap_remove(0))
}

#[test]
fn rows_of_a_gram_on_the_device_are_those_of_its_copy() -> TestResult {
    let case = case()?;
    for dtype in [DType::F64, DType::F32] {
        let (theta, x) = case.to_dtype(dtype)?;
        let resident = Assembly::new(&case.network, &theta, &x, &config())?.resident_gram()?;
        let (host, mut buffer) = (resident.gram()?, Vec::new());
        // Of all blocks, out of order, one twice.
        let indices = [82, 0, 31, 30, 0, 59, 60, 29];
        let rows = resident.rows(&indices, &mut buffer)?;
        assert_eq!(rows.len(), indices.len());
        for (row, index) in rows.iter().zip(indices) {
            let expected: Vec<f64> = (0..83).map(|j| host.get(index as usize, j)).collect();
            assert_eq!(*row, Entries::F64(&expected), "row {index}");
        }
        assert!(resident.rows(&[83], &mut Vec::new()).is_err());
        assert!(resident.rows(&[], &mut Vec::new())?.is_empty());
    }
    Ok(())
}

fn assert_products_agree(of: &dyn SymmetricOperator, gram: &Gram) -> TestResult {
    for count in [1, 7] {
        let columns: Vec<f64> = (0..count * 83).map(|i| f64::from(i as u32 % 13) - 6.0).collect();
        let mut images = vec![f64::NAN; columns.len()];
        of.apply(&columns, &mut images)?;
        let scale = 83.0 * 6.0 * gram.max_abs();
        for (a, b) in images.iter().zip(&gram.product(&columns)?) {
            assert!((a - b).abs() <= DOUBLE * scale, "{a} {b}");
        }
    }
    assert!(of.apply(&[0.0; 83], &mut [0.0; 82]).is_err());
    Ok(())
}

/// 1,100 rows are two blocks.
#[test]
fn a_kernel_of_the_host_is_the_same_on_the_device() -> TestResult {
    let n = 1100;
    let entries: Vec<f64> = (0..n * n).map(|at| f64::from((at * 7 % 101) as u32)).collect();
    let single = entries.iter().map(|x| *x as f32).collect();
    for gram in [Gram::from_lower_f64(n, entries)?, Gram::from_lower_f32(n, single)?] {
        let there = DeviceGram::new(&gram, test_device())?;
        assert_eq!((there.n(), there.entry_type()), (n, gram.entry_type()));
        assert!(there.gram()? == gram);
        let columns: Vec<f64> = (0..2 * n).map(|i| f64::from(i as u32 % 13) - 6.0).collect();
        let mut images = vec![f64::NAN; 2 * n];
        there.apply(&columns, &mut images)?;
        // Sums of whole numbers are exact.
        assert_eq!(images, gram.product(&columns)?);
    }
    Ok(())
}

#[test]
fn products_of_a_streamed_gram_are_those_in_memory() -> TestResult {
    let case = case()?;
    for dtype in [DType::F64, DType::F32] {
        let (theta, x) = case.to_dtype(dtype)?;
        let folder = tempfile::tempdir()?;
        let stored = StoreConfig { edge: EDGE, ..StoreConfig::default() };
        let assembly = Assembly::new(&case.network, &theta, &x, &config())?;
        let store = assembly.store(folder.path(), &stored)?.store;
        let (streamed, host) = (StreamedGram::new(&store, test_device()), store.gram()?);
        assert_products_agree(&streamed, &host)?;

        let solver =
            EigshConfig { solver: Solver::Krylov, block: Some(8), ..EigshConfig::default() };
        let (top, expected) = (eigsh(&streamed, 5, &solver)?, eigh(&host)?);
        for (got, expected) in top.pairs.values().iter().zip(expected.values()) {
            // Both residuals bound the distance to an eigenvalue.
            let bound = 2.0 * solver.tolerance * top.pairs.values()[0];
            assert!((got - expected).abs() <= bound, "{got} {expected}");
        }

        // A tile that cannot be read is an error that names it.
        std::fs::remove_file(store.folder().join("c/1/0"))?;
        let error = streamed.apply(&[1.0; 83], &mut [0.0; 83]).expect_err("a tile is missing");
        assert!(error.to_string().contains("c/1/0"), "{error}");
    }
    Ok(())
}

#[test]
fn a_tensor_moves_when_it_is_computed_and_before_it_is_freed() -> TestResult {
    let other = &more_test_devices(1)[0];
    let (source, n) = (test_device(), 1u32 << 14);
    // Nobody has waited for the last of these.
    let computed = || (Tensor::arange(0, n, source)?.to_dtype(DType::F32)? * 2.0)? + 1.0;
    let moved = to_device(&computed()?, other)?;
    // The source has gone on, and its memory holds something else.
    let after = computed()?.zeros_like()?;
    source.synchronize()?;
    let entries = moved.to_device(&Device::Cpu)?.to_vec1::<f32>()?;
    assert!(entries.iter().zip(0..n).all(|(x, i)| *x == (2 * i + 1) as f32));
    assert_eq!(after.sum_all()?.to_scalar::<f32>()?, 0.0);
    Ok(())
}
