//! Results come back from their files and from tensors bit for bit, and files that are none are
//! refused by name.

use std::path::{Path, PathBuf};

use entk::{
    AsTensor, Save,
    data::npy,
    prelude::*,
    spectral::EntryType,
    train::{Distance, EpochRecord},
};
use entk_testing::{TestResult, normals};
use proptest::prelude::*;
use safetensors::{Dtype, tensor::TensorView};

/// A kernel x x^T of normal x, so that eigenpairs exist.
fn entries(n: usize, seed: u64) -> Vec<f64> {
    let x = normals(n * 3, seed);
    let dot = |i: usize, j: usize| (0..3).map(|k| x[3 * i + k] * x[3 * j + k]).sum();
    (0..n * n).map(|at| dot(at / n, at % n)).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|x| *x as f32).collect()
}

fn grams(n: usize, seed: u64) -> TestResult<[Gram; 2]> {
    let values = entries(n, seed);
    Ok([Gram::from_lower_f32(n, narrow(&values))?, Gram::from_lower_f64(n, values)?])
}

fn comes_back<R: Save + PartialEq + std::fmt::Debug>(result: &R, path: &Path) -> TestResult {
    result.save(path)?;
    assert_eq!(&R::load(path)?, result);
    Ok(())
}

fn history(loss: f64) -> History {
    let record = EpochRecord {
        epoch: 1,
        learning_rate: 0.1,
        train: None,
        test: None,
        minibatch_loss: loss,
        distance: Distance { l2: 1.0 / 3.0, cosine: Some(2e-17) },
    };
    History { epochs: vec![record], ..History::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn results_come_back_bit_for_bit(n in 1_usize..20, rows in 1_usize..6, seed in 0_u64..1000) {
        let run = || -> TestResult {
            let folder = tempfile::tempdir()?;
            let path = |name: &str| folder.path().join(name);
            for gram in grams(n, seed)? {
                comes_back(&gram, &path("gram.npy"))?;
                comes_back(&eigh(&gram)?, &path("all.safetensors"))?;
                let top = eigsh(&gram, n.div_ceil(2), &EigshConfig::default())?.pairs;
                comes_back(&top, &path("top.safetensors"))?;
            }
            let values = normals(rows * n, seed);
            comes_back(&CrossGram::from_f32(rows, n, narrow(&values))?, &path("cross.npy"))?;
            comes_back(&CrossGram::from_f64(rows, n, values.clone())?, &path("cross.npy"))?;
            comes_back(&history(values[0]), &path("history.json"))?;
            Ok(())
        };
        prop_assert!(run().is_ok(), "{:?}", run());
    }

    #[test]
    fn kernels_come_back_from_tensors(n in 1_usize..20, rows in 1_usize..6, seed in 0_u64..1000) {
        let run = || -> TestResult {
            for gram in grams(n, seed)? {
                let tensor = gram.to_tensor(&Device::Cpu)?;
                assert_eq!(Gram::from_tensor(&tensor.t()?)?, gram);
            }
            let cross = CrossGram::from_f64(rows, n, normals(rows * n, seed))?;
            let tensor = cross.to_tensor(&Device::Cpu)?;
            assert_eq!(CrossGram::from_tensor(&tensor)?, cross);
            let transposed = CrossGram::from_tensor(&tensor.t()?)?;
            assert_eq!(transposed.get(n - 1, 0), cross.get(0, n - 1));
            Ok(())
        };
        prop_assert!(run().is_ok(), "{:?}", run());
    }
}

/// Loading is an error that names the file and says this.
fn is_refused<R: Save + std::fmt::Debug>(path: &Path, reason: &str) {
    let error = R::load(path).expect_err("no such result").to_string();
    assert!(error.contains(reason), "{error}");
    assert!(error.contains(&path.display().to_string()), "{error}");
}

#[test]
fn arrays_that_are_no_kernels_are_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.npy");
    let write = |shape: &[usize], values: &[f64]| npy::write(&path, shape, values);
    write(&[2, 3], &[0.0; 6])?;
    is_refused::<Gram>(&path, "has 2 and 3");
    write(&[4], &[0.0; 4])?;
    is_refused::<Gram>(&path, "two axes");
    is_refused::<CrossGram>(&path, "two axes");
    write(&[2, 2], &[1.0, 0.5, 0.0, 1.0])?;
    is_refused::<Gram>(&path, "symmetric");
    write(&[2, 2], &[1.0, f64::NAN, f64::NAN, 1.0])?;
    is_refused::<Gram>(&path, "NaN");
    is_refused::<CrossGram>(&path, "NaN");
    npy::write(&path, &[2, 2], &[1_i64, 0, 0, 1])?;
    is_refused::<Gram>(&path, "astype");
    is_refused::<CrossGram>(&path, "astype");
    std::fs::write(&path, b"no array")?;
    is_refused::<Gram>(&path, "");
    Ok(())
}

/// A file of `values` and `vectors` of this type with a note on the kernel's.
fn write_pairs(path: &Path, dtype: Dtype, names: [&str; 2], note: &str) -> TestResult {
    let bytes = [1.0_f64, 0.5].map(f64::to_le_bytes).concat();
    let width = bytes.len() * 8 / dtype.bitsize();
    let values = TensorView::new(dtype, vec![width], &bytes)?;
    let vectors = TensorView::new(dtype, vec![1, width], &bytes)?;
    let notes = [("entries".to_owned(), note.to_owned())].into();
    let file = safetensors::serialize([(names[0], values), (names[1], vectors)], Some(notes))?;
    Ok(std::fs::write(path, file)?)
}

#[test]
fn files_that_hold_no_eigenpairs_are_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.safetensors");
    let names = ["values", "vectors"];
    write_pairs(&path, Dtype::F64, names, "f16")?;
    is_refused::<Eigenpairs>(&path, "neither f32 nor f64");
    write_pairs(&path, Dtype::F32, names, "f32")?;
    is_refused::<Eigenpairs>(&path, "has to be F64");
    write_pairs(&path, Dtype::F64, ["values", "others"], "f32")?;
    is_refused::<Eigenpairs>(&path, "vectors");
    write_pairs(&path, Dtype::F64, names, "f32")?;
    is_refused::<Eigenpairs>(&path, "eigenvectors");
    let pairs = eigh(&Gram::from_lower_f64(2, vec![2.0, 0.0, 1.0, 2.0])?)?;
    pairs.save(&path)?;
    assert_eq!(Eigenpairs::load(&path)?.entry_type(), EntryType::F64);
    let bytes = std::fs::read(&path)?;
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length])?;
        is_refused::<Eigenpairs>(&path, "no whole safetensors file");
    }
    Ok(())
}

#[test]
fn histories_without_finite_numbers_are_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path: PathBuf = folder.path().join("history.json");
    for loss in [f64::NAN, f64::INFINITY] {
        let error = history(loss).save(&path).expect_err("no word in JSON").to_string();
        assert!(error.contains("NaN or infinite"), "{error}");
        assert!(!path.exists());
    }
    std::fs::write(&path, b"{}")?;
    is_refused::<History>(&path, "epochs");
    Ok(())
}

#[test]
fn tensors_that_are_no_kernels_are_refused() -> TestResult {
    let refused = |tensor: Tensor| Gram::from_tensor(&tensor).expect_err("no Gram").to_string();
    let of = |values: Vec<f64>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu);
    assert!(refused(of(vec![1.0; 6], &[2, 3])?).contains("6"));
    refused(of(vec![1.0; 4], &[4])?);
    assert!(refused(Tensor::ones((2, 2), DType::U32, &Device::Cpu)?).contains("U32"));
    assert!(refused(of(vec![1.0, 0.0, 0.5, 1.0], &[2, 2])?).contains("symmetric"));
    Ok(())
}
