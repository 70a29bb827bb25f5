//! `predict` as its users run it, at sizes of a second: what it writes, that its ways to one
//! solution agree, and what it says about kernels and labels that do not fit.

use std::path::Path;

use anyhow::{Context, Result};
use entk::data::npy;
use entk_cli::Record;
use entk_testing::{program_fails, program_succeeds};

/// Two solvers of one system with residuals of 1e-8 and a ridge of 1e-3 of the diagonal.
const AGREEMENT: f64 = 1e-4;

const TINY: [&str; 6] = ["--model", "mlp", "--train", "60", "--test", "20"];

fn succeed(out: &Path, arguments: &[&str]) -> Result<Record> {
    program_succeeds("predict", out, arguments)?;
    Record::read(&out.join("record.json"))
}

fn fail(arguments: &[&str]) -> Result<String> {
    Ok(program_fails("predict", tempfile::tempdir()?.path(), arguments)?)
}

fn table(out: &Path, name: &str) -> Result<(Vec<usize>, Vec<f64>)> {
    let array = npy::read(out.join(name))?;
    Ok((array.shape().to_vec(), array.to_f64()))
}

fn assert_close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= AGREEMENT, "{a} {b}");
    }
}

#[test]
fn ten_classes_get_predictions_variances_and_pictures() -> Result<()> {
    let out = tempfile::tempdir()?;
    let record = succeed(out.path(), &[&TINY[..], &["--gp"]].concat())?;
    for file in ["predict.svg", "predict.png", "predict.csv", "ridges.csv", "times.csv"] {
        assert!(out.path().join(file).metadata()?.len() > 0, "{file}");
    }
    assert_eq!(table(out.path(), "predictions.npy")?.0, [20, 10]);
    let (shape, variances) = table(out.path(), "variances.npy")?;
    assert!(shape == [20] && variances.iter().all(|v| *v >= 0.0));
    let (shape, probabilities) = table(out.path(), "probabilities.npy")?;
    assert_eq!(shape, [20, 10]);
    for row in probabilities.chunks_exact(10) {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    let results = &record.results["results"];
    let accuracy = results["regression"]["accuracy"].as_f64().context("an accuracy")?;
    assert!(accuracy > 0.4, "{accuracy}");
    assert!(results["residual"].as_f64().is_some_and(|r| r <= 1e-8));
    assert_eq!(record.results["columns"], 10);
    Ok(())
}

#[test]
fn conjugate_gradients_over_a_store_agree_with_the_factorization() -> Result<()> {
    let (dense, store) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let ridge = ["--ridge", "1e-3"];
    succeed(dense.path(), &[&TINY[..], &ridge].concat())?;
    let record = succeed(store.path(), &[&TINY[..], &ridge, &["--cg", "10"]].concat())?;
    let of = |out: &Path| Ok::<_, anyhow::Error>(table(out, "predictions.npy")?.1);
    assert_close(&of(dense.path())?, &of(store.path())?);
    assert!(record.results["results"]["iterations"].as_u64().is_some_and(|k| k > 1 && k < 200));
    Ok(())
}

#[test]
fn a_full_kernel_couples_the_outputs_of_its_head() -> Result<()> {
    let (full, trace) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let flags = [&TINY[..], &["--classes", "10", "--ridge", "0.01", "--from-outputs"]].concat();
    let record = succeed(full.path(), &[&flags[..], &["--outputs", "full", "--gp"]].concat())?;
    assert_eq!(table(full.path(), "predictions.npy")?.0, [20, 10]);
    assert_eq!(table(full.path(), "variances.npy")?.0, [20, 10]);
    assert_eq!(record.results["kernel"]["outputs"], "full");
    let record = succeed(trace.path(), &flags)?;
    assert_eq!(record.results["kernel"]["outputs"], "trace");
    Ok(())
}

/// 1 + x x' on inputs 0 to 5 for training, and between them for tests.
struct Linear {
    folder: tempfile::TempDir,
}

impl Linear {
    fn write() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (train, test) = ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.5, 4.5]);
        let kernel = |rows: &[f64], cols: &[f64]| -> Vec<f64> {
            rows.iter().flat_map(|a| cols.iter().map(move |b| 1.0 + a * b)).collect()
        };
        let path = |name: &str| folder.path().join(name);
        npy::write(path("gram.npy"), &[6, 6], &kernel(&train, &train))?;
        npy::write(path("cross.npy"), &[2, 6], &kernel(&test, &train))?;
        npy::write(path("test.npy"), &[2, 2], &kernel(&test, &test))?;
        npy::write(path("y.npy"), &[6, 2], &train.map(|x| [x, 2.0 - x]).concat())?;
        npy::write(path("y_test.npy"), &[2, 2], &test.map(|x| [x, 2.0 - x]).concat())?;
        npy::write(path("labels.npy"), &[6], &[0.0, 0.0, 0.0, 1.0, 1.0, 7.0])?;
        Ok(Self { folder })
    }

    fn flags(&self, pairs: &[(&str, &str)]) -> Vec<String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let flags = pairs.iter().flat_map(|(flag, file)| [(*flag).to_owned(), path(file)]);
        flags.collect()
    }
}

const OWN: [(&str, &str); 4] = [
    ("--gram", "gram.npy"),
    ("--cross", "cross.npy"),
    ("--labels", "y.npy"),
    ("--test-labels", "y_test.npy"),
];

fn all<'a>(files: &'a [String], others: &[&'a str]) -> Vec<&'a str> {
    files.iter().map(String::as_str).chain(others.iter().copied()).collect()
}

#[test]
fn a_kernel_of_ones_own_predicts_real_targets() -> Result<()> {
    let (linear, out) = (Linear::write()?, tempfile::tempdir()?);
    let files = linear.flags(&[&OWN[..], &[("--test-gram", "test.npy")]].concat());
    let flags = ["--targets", "values", "--ridge", "1e-9", "--gp", "--times", "0,10,inf"];
    let record = succeed(out.path(), &all(&files, &flags))?;
    // Linear targets are in the span of the kernel.
    assert_close(&table(out.path(), "predictions.npy")?.1, &[0.5, 1.5, 4.5, -2.5]);
    let limit = &record.results["results"]["limit"];
    assert!(limit["test_mean_square"].as_f64().is_some_and(|e| e < 1e-12), "{limit}");
    assert_eq!(limit["test_accuracy"], serde_json::Value::Null);
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_with_the_remedy() -> Result<()> {
    let linear = Linear::write()?;
    let files = linear.flags(&OWN);
    let own = |flags: &[&str]| fail(&all(&files, flags));
    assert!(own(&["--targets", "values", "--gp"])?.contains("--test-gram"));
    assert!(own(&["--targets", "one-hot"])?.contains("--targets values"));
    assert!(own(&["--targets", "values", "--ridge=-1"])?.contains("above 0"));
    assert!(own(&["--targets", "values", "--times=-1"])?.contains("from 0"));
    assert!(own(&["--targets", "values", "--cg", "3"])?.contains("--ridge"));
    let shorter = linear.flags(&[("--gram", "test.npy"), OWN[1], OWN[2], OWN[3]]);
    assert!(fail(&all(&shorter, &["--targets", "values"]))?.contains("for each of the 2"));
    let labels = linear.flags(&[OWN[0], OWN[1], ("--labels", "labels.npy"), OWN[3]]);
    assert!(fail(&all(&labels, &["--classes", "3"]))?.contains("found 7 at index 5"));
    let turned = linear.flags(&[OWN[0], ("--cross", "gram.npy"), OWN[2], OWN[3]]);
    assert!(fail(&all(&turned, &["--targets", "values"]))?.contains("for each of the 6"));

    let network = |flags: &[&str]| fail(&[&TINY[..], flags].concat());
    assert!(network(&["--outputs", "full", "--classes", "3"])?.contains("0 to 2"));
    assert!(network(&["--from-outputs"])?.contains("--classes 10"));
    assert!(fail(&["--model", "mlp", "--train", "100000"])?.contains("--data-root"));
    Ok(())
}
