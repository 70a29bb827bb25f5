//! Programs on networks of PyTorch's archives, as their users run them: kernels beside reference
//! values, notes in the record, other archives that must not be taken for the same, refusals.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, safetensors};
use entk::{data::npy, gram::Store};
use entk_cli::Record;
use entk_testing::{archives, program_fails as fail, program_succeeds as succeed};

/// Two independent f64 implementations: round-off of sums of some thousand terms.
const DOUBLE: f64 = 1e-10;

/// The file of a network with reference values.
fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/entk/tests/golden/torch").join(file)
}

/// Flatten, 784 to 3, GELU, 3 to 1: for images of Fashion-MNIST.
fn fashion() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fashion.pt2")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// Reference values of a network.
fn values(network: &str) -> Result<HashMap<String, Tensor>> {
    Ok(safetensors::load(golden(&format!("{network}.safetensors")), &Device::Cpu)?)
}

/// The inputs as a `.npy` file.
fn write_inputs(folder: &Path, inputs: &Tensor) -> Result<PathBuf> {
    let path = folder.join("inputs.npy");
    let (shape, flat) = (inputs.dims(), inputs.flatten_all()?);
    match inputs.dtype().is_int() {
        true => npy::write(&path, shape, &flat.to_dtype(DType::I64)?.to_vec1::<i64>()?)?,
        false => npy::write(&path, shape, &flat.to_dtype(DType::F64)?.to_vec1::<f64>()?)?,
    }
    Ok(path)
}

fn matrix(path: &Path) -> Result<(Vec<usize>, Vec<f64>)> {
    let array = npy::read(path)?;
    Ok((array.shape().to_vec(), array.to_f64()))
}

/// Largest difference of two kernels of n inputs, relative to sqrt(K_ii K_jj).
fn error(n: usize, found: &[f64], expected: &[f64]) -> f64 {
    let diagonal = |at: usize| expected[at * (n + 1)];
    let errors = (0..n * n)
        .map(|at| (found[at] - expected[at]).abs() / (diagonal(at / n) * diagonal(at % n)).sqrt());
    errors.fold(0.0, f64::max) + found.iter().sum::<f64>() * 0.0
}

#[test]
fn kernels_are_those_of_pytorch() -> Result<()> {
    for network in ["vit", "gpt2"] {
        let folder = tempfile::tempdir()?;
        let (out, values) = (folder.path().join("out"), values(network)?);
        let inputs = write_inputs(folder.path(), &values["inputs"])?;
        let n = values["inputs"].dim(0)?;
        let labels = folder.path().join("labels.npy");
        let y: Vec<i64> = (0..n as i64).map(|at| at % 2).collect();
        npy::write(&labels, &[n], &y)?;
        let archive = golden(&format!("{network}.pt2"));
        let arguments = ["--model", text(&archive)?, "--inputs", text(&inputs)?, "--dtype", "f64"];
        let said = succeed(
            "gram",
            &out,
            &[&arguments[..], &["--labels", text(&labels)?, "--targets", "signs"]].concat(),
        )?;
        assert!(said.contains("nothing was compared with PyTorch"), "{said}");

        let (shape, kernel) = matrix(&out.join("gram.npy"))?;
        let expected = values["ntk_trace"].flatten_all()?.to_vec1::<f64>()?;
        let error = error(n, &kernel, &expected);
        assert!(shape == [n, n] && error <= DOUBLE, "{network}: {shape:?}, {error:e}");
        assert_eq!(matrix(&out.join("outputs.npy"))?.0, values["outputs"].dims());

        let record = Record::read(&out.join("record.json"))?;
        let signs: Vec<f64> = y.iter().map(|y| 2.0 * *y as f64 - 1.0).collect();
        let quadratic: f64 =
            (0..n * n).map(|at| signs[at / n] * kernel[at] * signs[at % n]).sum::<f64>();
        let alignment = record.results["labels"]["alignment"].as_f64().context("no alignment")?;
        let expected = quadratic / (n * n) as f64;
        let scale = kernel.iter().map(|k| k.abs()).sum::<f64>() / (n * n) as f64;
        let difference = (alignment - expected).abs();
        assert!(difference <= DOUBLE * scale, "{network}: {alignment} for {expected}");
        let noted = record.archive.context("no archive in the record")?;
        assert!(noted.torch_version.starts_with("2."), "{noted:?}");
        let hash = blake3::hash(&std::fs::read(&archive)?).to_string();
        assert_eq!(noted.blake3, hash);
    }
    Ok(())
}

#[test]
fn a_kernel_is_the_sum_over_what_is_trained_and_frozen() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let values = values("vit")?;
    let (n, inputs) = (values["inputs"].dim(0)?, write_inputs(folder.path(), &values["inputs"])?);
    let archive = golden("vit.pt2");
    let kernel = |name: &str, flags: &[&str]| -> Result<(Vec<f64>, Record)> {
        let out = folder.path().join(name);
        let common = ["--model", text(&archive)?, "--inputs", text(&inputs)?, "--dtype", "f64"];
        succeed("gram", &out, &[&common[..], &["--no-eigen"], flags].concat())?;
        Ok((matrix(&out.join("gram.npy"))?.1, Record::read(&out.join("record.json"))?))
    };
    let (whole, _) = kernel("whole", &[])?;
    let (head, record) = kernel("head", &["--trainable", "heads.*"])?;
    assert_eq!(record.settings["trainable"], serde_json::json!(["heads.*"]));
    let noted = record.archive.context("no archive")?;
    assert!(noted.frozen > noted.trained && noted.trained > 0, "{noted:?}");
    let (rest, _) = kernel("rest", &["--frozen", "heads.*"])?;
    let sum: Vec<f64> = head.iter().zip(&rest).map(|(a, b)| a + b).collect();
    let error = error(n, &sum, &whole);
    assert!(error <= DOUBLE, "{error:e}");

    let built_in = folder.path().join("built-in");
    succeed("gram", &built_in, &["--n", "20", "--no-eigen", "--frozen", "fc1.*"])?;
    assert_eq!(Record::read(&built_in.join("record.json"))?.results["parameters"], 10_201);
    Ok(())
}

#[test]
fn an_archive_is_compared_with_pytorch_before_anything_is_computed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (out, other) = (folder.path().join("out"), folder.path().join("other.pt2"));
    let inputs = write_inputs(folder.path(), &values("vit")?["inputs"])?;
    let (archive, reference) = (golden("vit.pt2"), golden("vit.safetensors"));
    let common = ["--inputs", text(&inputs)?, "--verify", text(&reference)?, "--model"];
    let said = succeed("gram", &out, &[&common[..], &[text(&archive)?]].concat())?;
    assert!(said.contains("agree with") && !said.contains("nothing was compared"), "{said}");
    let noted = Record::read(&out.join("record.json"))?.archive.context("no archive")?;
    assert!(noted.verified.is_some_and(|verified| verified.jvp.is_some()));

    changed(&archive, &other, "models/model.json", another_activation)?;
    let refused = folder.path().join("refused");
    let said = fail("gram", &refused, &[&common[..], &[text(&other)?]].concat())?;
    assert!(said.contains("differ") && said.contains("--verify"), "{said}");
    assert!(!refused.join("gram.npy").exists());
    let built_in = ["--verify", text(&reference)?];
    assert!(fail("gram", &refused, &built_in)?.contains("--model mlp"));
    Ok(())
}

/// An archive with one entry changed.
fn changed(from: &Path, to: &Path, entry: &str, change: fn(Vec<u8>) -> Vec<u8>) -> Result<()> {
    Ok(std::fs::write(to, archives::changed(&std::fs::read(from)?, entry, change)?)?)
}

/// The last bit of the first weight.
fn another_weight(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[0] ^= 1;
    bytes
}

/// SiLU in place of GELU.
fn another_activation(bytes: Vec<u8>) -> Vec<u8> {
    String::from_utf8_lossy(&bytes).replace("aten.gelu.default", "aten.silu.default").into_bytes()
}

/// Archives like `fashion` of the same shapes: with another weight, and with another activation.
fn others(folder: &Path) -> Result<[PathBuf; 2]> {
    let [weight, activation] = ["weight.pt2", "activation.pt2"].map(|name| folder.join(name));
    changed(&fashion(), &weight, "weights/weight_0", another_weight)?;
    changed(&fashion(), &activation, "models/model.json", another_activation)?;
    Ok([weight, activation])
}

#[test]
fn a_store_is_of_one_archive() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (out, archive) = (folder.path().join("out"), fashion());
    let flags = ["--n", "30", "--store", "--edge", "16", "--no-eigen", "--model"];
    succeed("gram", &out, &[&flags[..], &[text(&archive)?]].concat())?;
    succeed("gram", &out, &[&flags[..], &[text(&archive)?]].concat())?;
    assert_eq!(Record::read(&out.join("record.json"))?.results["kept_tiles"], 3);
    assert!(Store::open(out.join("gram.zarr")).is_ok());
    let [weight, activation] = others(folder.path())?;
    for (other, field) in [(weight, "weights: "), (activation, "model: ")] {
        let said = fail("gram", &out, &[&flags[..], &[text(&other)?]].concat())?;
        assert!(said.contains(field), "{said}");
    }
    Ok(())
}

#[test]
fn figures_and_trainings_take_archives_and_cache_each_for_itself() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (cache, out) = (folder.path().join("cache"), folder.path().join("out"));
    let sizes = ["--train", "60", "--test", "20", "--epochs", "2", "--batch", "16"];
    let uses = |archive: &Path| -> Result<Record> {
        let cached = ["--cache", text(&cache)?, "--indices", "1,2", "--model", text(archive)?];
        succeed("fig02", &out, &[&sizes[..], &cached].concat())?;
        Record::read(&out.join("record.json"))
    };
    let first = uses(&fashion())?;
    assert!(first.archive.is_some() && first.cache.computed > 0, "{:?}", first.cache);
    assert_eq!(uses(&fashion())?.cache.computed, 0);
    for other in others(folder.path())? {
        let record = uses(&other)?;
        assert_eq!(record.cache, first.cache, "{}", other.display());
    }
    let train = folder.path().join("train");
    let archive = fashion();
    succeed("train", &train, &[&sizes[..], &["--model", text(&archive)?]].concat())?;
    assert!(Record::read(&train.join("record.json"))?.archive.is_some());

    let vit = golden("vit.pt2");
    let refused = folder.path().join("refused");
    let said = fail("train", &refused, &[&sizes[..], &["--model", text(&vit)?]].concat())?;
    assert!(said.contains("takes inputs of shape (N, ") && said.contains("28, 28"), "{said}");
    Ok(())
}

#[test]
fn what_does_not_fit_an_archive_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let inputs =
        write_inputs(folder.path(), &Tensor::zeros((2, 1, 4, 4), DType::F64, &Device::Cpu)?)?;
    let inputs = text(&inputs)?;
    let ids = folder.path().join("ids.npy");
    npy::write(&ids, &[2, 12], &[0.5_f64; 24])?;
    let [ids, vit, gpt2] = [ids, golden("vit.pt2"), golden("gpt2.pt2")];
    let (ids, vit, gpt2) = (text(&ids)?, text(&vit)?, text(&gpt2)?);
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--model", vit], &["takes inputs of shape (N, ", "--inputs FILE"]),
        (&["--model", vit, "--inputs", inputs], &["inputs.npy", "(N, 1, 4, 4)", "vit.pt2"]),
        (&["--model", vit, "--inputs", inputs, "--layout", "nhwc"], &["(N, 4, 1, 4)"]),
        (&["--model", gpt2, "--inputs", inputs], &["whole numbers", "(N, 1, 4, 4)"]),
        (&["--model", vit, "--weights", "w.safetensors"], &["--weights", "of its own"]),
        (&["--model", vit, "--frozen", "hat.*"], &["hat.*", "heads"]),
        (&["--model", vit, "--frozen", "*"], &["there are none"]),
        (&["--model", "missing.pt2"], &["missing.pt2"]),
        (&["--model", ids], &["ids.npy", "FILE.pt2", "--weights"]),
    ];
    for (arguments, expected) in cases {
        let message = fail("gram", &out, arguments)?;
        for part in expected {
            assert!(message.contains(part), "{arguments:?}: {part:?} not in {message}");
        }
    }
    let fashion = fashion();
    let message = fail("gram", &out, &["--model", text(&fashion)?, "--activation", "tanh"])?;
    assert!(message.contains("has its own"), "{message}");
    let last = folder.path().join("last.npy");
    npy::write(&last, &[1, 28, 28, 1], &[0.5_f32; 784])?;
    let channels_last = ["--model", text(&fashion)?, "--inputs", text(&last)?];
    let message = fail("gram", &out, &channels_last)?;
    assert!(message.contains("--layout nhwc"), "{message}");
    Ok(())
}
