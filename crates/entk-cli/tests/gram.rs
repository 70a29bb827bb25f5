//! The program `gram` as its users run it: files in, files out, and an error for every bad file.

use std::{path::Path, process::Output};

use anyhow::{Context, Result, ensure};
use entk::{
    data::npy,
    models::{MlpConfig, Model},
};
use entk_cli::Record;
use entk_testing::{program_fails, run_program};

/// Round-off of an f32 kernel entry beside its f64 value, relative to the largest diagonal entry.
const SINGLE: f64 = 1e-5;

fn gram(out: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(run_program("gram", out, arguments)?)
}

/// Runs it and expects success.
fn succeed(out: &Path, arguments: &[&str]) -> Result<String> {
    let output = gram(out, arguments)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

fn fail(out: &Path, arguments: &[&str]) -> Result<String> {
    Ok(program_fails("gram", out, arguments)?)
}

/// A small .npy file of images (3, 1, 4, 4) with distinct values.
fn images(folder: &Path) -> Result<String> {
    let path = folder.join("x.npy");
    let values: Vec<f32> = (0..48).map(|i| (i as f32 * 0.7).sin()).collect();
    npy::write(&path, &[3, 1, 4, 4], &values)?;
    Ok(path.display().to_string())
}

fn matrix(path: &Path) -> Result<(Vec<usize>, Vec<f64>)> {
    let array = npy::read(path)?;
    Ok((array.shape().to_vec(), array.to_f64()))
}

#[test]
fn embedded_images_give_the_whole_set_of_files() -> Result<()> {
    let out = tempfile::tempdir()?;
    let stdout = succeed(out.path(), &["--n", "60", "--model", "lenet", "--json"])?;
    let line: serde_json::Value = serde_json::from_str(stdout.trim())?;
    for field in ["kernel_s", "cpu_s", "peak_rss_mb"] {
        assert!(line[field].is_number(), "{field} in {line}");
    }
    let (shape, k) = matrix(&out.path().join("gram.npy"))?;
    assert_eq!(shape, [60, 60]);
    assert_eq!(matrix(&out.path().join("outputs.npy"))?.0, [60, 1]);
    let (_, values) = matrix(&out.path().join("eigvals.npy"))?;
    let (_, vectors) = matrix(&out.path().join("eigvecs.npy"))?;
    assert!(values.is_sorted_by(|a, b| a >= b));
    // Row 0 is an eigenvector: K phi = lambda phi.
    let phi = &vectors[..60];
    for (row, expected) in k.chunks(60).zip(phi) {
        let image: f64 = row.iter().zip(phi).map(|(k, p)| k * p).sum();
        assert!((image - values[0] * expected).abs() <= SINGLE * values[0]);
    }
    let record = Record::read(&out.path().join("record.json"))?;
    assert_eq!(record.results["inputs"], 60);
    let error = record.results["largest_error"].as_f64().context("no error estimate")?;
    assert!(error <= SINGLE, "{error:e}");
    assert_eq!(record.results["labels"]["positive"], 30);
    assert_eq!(record.results["labels"]["top"], 50);
    let energy = record.results["labels"]["energy_ratio"].as_f64().context("no energy")?;
    assert!(energy > 0.0 && energy <= 1.0);
    Ok(())
}

#[test]
fn files_layouts_weights_and_a_second_set() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (x, out) = (images(folder.path())?, folder.path().join("out"));
    let weights = folder.path().join("w.safetensors").display().to_string();
    let network = MlpConfig { input: [1, 4, 4], ..Default::default() }.network()?;
    let theta = network.init(3, candle_core::DType::F64, &candle_core::Device::Cpu)?;
    theta.save(&weights)?;
    let labels = folder.path().join("y.npy").display().to_string();
    npy::write(&labels, &[3], &[7_i64, 0, 4])?;

    let common = ["--inputs", &x, "--weights", &weights, "--dtype", "f64"];
    succeed(&out, &[&common[..], &["--labels", &labels, "--cross", &x]].concat())?;
    let (_, k) = matrix(&out.join("gram.npy"))?;
    let (shape, cross) = matrix(&out.join("cross.npy"))?;
    assert_eq!((shape, &cross), (vec![3, 3], &k));
    let record = Record::read(&out.join("record.json"))?;
    assert_eq!(record.results["labels"]["positive"], 2);

    // The same images with the channel last are the same kernel; an old cross.npy does not stay.
    let last = folder.path().join("last.npy").display().to_string();
    let values = npy::read(&x)?.to_f64();
    npy::write(&last, &[3, 4, 4, 1], &values)?;
    let nhwc = ["--inputs", &last, "--weights", &weights, "--dtype", "f64", "--layout", "nhwc"];
    succeed(&out, &[&nhwc[..], &["--no-eigen"]].concat())?;
    assert_eq!(matrix(&out.join("gram.npy"))?.1, k);
    for name in ["cross.npy", "eigvals.npy", "eigvecs.npy"] {
        assert!(!out.join(name).exists(), "{name} is of an earlier run");
    }
    Ok(())
}

#[test]
fn bad_files_are_named_with_what_was_expected() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (x, out) = (images(folder.path())?, folder.path().join("out"));
    let file = |name: &str| folder.path().join(name).display().to_string();

    let missing = file("missing.npy");
    let nan = file("nan.npy");
    npy::write(&nan, &[1, 1, 2, 2], &[1.0_f32, f32::NAN, 0.0, 0.0])?;
    let huge = file("huge.npy");
    npy::write(&huge, &[1, 1, 1, 2], &[1.0_f64, 1e300])?;
    let flat = file("flat.npy");
    npy::write(&flat, &[3], &[0.0_f32, 1.0, 2.0])?;
    let odd = file("odd.npy");
    npy::write(&odd, &[3], &[0_i64, 3, -2])?;
    let short = file("short.npy");
    std::fs::write(&short, &std::fs::read(&x)?[..100])?;
    let garbage = file("garbage.safetensors");
    std::fs::write(&garbage, [255; 64])?;

    let cases: [(&[&str], &[&str]); 11] = [
        (&["--inputs", &missing], &["missing.npy"]),
        (&["--inputs", &nan], &["nan.npy", "NaN", "index 1"]),
        (&["--inputs", &huge], &["huge.npy", "inf", "index 1"]),
        (&["--inputs", &flat], &["flat.npy", "four axes", "[3]"]),
        (&["--inputs", &short], &["short.npy"]),
        (&["--inputs", &x, "--n", "4"], &["--n 4", "has 3 inputs"]),
        (&["--inputs", &x, "--labels", &odd], &["odd.npy", "-2", "index 2"]),
        (&["--inputs", &x, "--labels", &x], &["x.npy", "3 inputs", "[3, 1, 4, 4]"]),
        (&["--inputs", &x, "--weights", &garbage], &["garbage.safetensors"]),
        (&["--inputs", &x, "--top", "4"], &["--top 4", "3"]),
        (&["--inputs", &x, "--cross", &huge], &["huge.npy"]),
    ];
    for (arguments, expected) in cases {
        let message = fail(&out, arguments)?;
        for part in expected {
            assert!(message.contains(part), "{arguments:?}: {part:?} not in {message}");
        }
    }
    Ok(())
}

#[test]
fn weights_of_another_network_are_listed_tensor_by_tensor() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (x, out) = (images(folder.path())?, folder.path().join("out"));
    let weights = folder.path().join("w.safetensors").display().to_string();
    let other = MlpConfig { input: [1, 5, 5], ..Default::default() }.network()?;
    other.init(0, candle_core::DType::F32, &candle_core::Device::Cpu)?.save(&weights)?;
    let message = fail(&out, &["--inputs", &x, "--weights", &weights])?;
    for part in ["w.safetensors", "fc1.weight", "[100, 16]", "[100, 25]"] {
        assert!(message.contains(part), "{part:?} not in {message}");
    }
    let message = fail(&out, &["--inputs", &x, "--weights", &weights, "--model", "lenet5"])?;
    assert!(message.contains("conv1.weight"), "{message}");
    Ok(())
}

#[test]
fn an_unwritable_folder_is_refused_and_every_flag_explained() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = folder.path().join("taken");
    std::fs::write(&taken, b"x")?;
    let output = gram(&taken, &["--n", "10"])?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("--out"), "{stderr}");

    let help = succeed(&folder.path().join("unused"), &["--help"])?;
    let flags = "--model --trainable --frozen --verify --weights --classes --activation --inputs --outputs --labels --targets --cross --layout --n --dtype --device --precision --top \
                 --no-eigen --accumulate --store --edge --part --export --check --rate --max-memory --dry-run \
                 --seed --json --out";
    for flag in flags.split_whitespace() {
        assert!(help.contains(flag), "{flag} is not in --help");
    }
    Ok(())
}

/// A CPU computes what a GPU would, rounding included; the record says how far it is from f64.
#[test]
fn precisions_of_a_gpu_are_emulated_and_their_errors_recorded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let x = images(folder.path())?;
    let kernel = |arguments: &[&str]| -> Result<(Vec<f64>, Record)> {
        let out = folder.path().join(arguments.join("_"));
        succeed(&out, &[&["--inputs", &x, "--no-eigen"], arguments].concat())?;
        Ok((matrix(&out.join("gram.npy"))?.1, Record::read(&out.join("record.json"))?))
    };
    let (exact, _) = kernel(&["--dtype", "f64"])?;
    let mut errors = Vec::new();
    for (precision, allowed) in
        [("f32", SINGLE), ("tf32x3", SINGLE), ("tf32", 4e-3), ("bf16", 3e-2)]
    {
        let (gram, record) = kernel(&["--device", "cpu", "--precision", precision])?;
        assert_eq!(record.settings["precision"], precision);
        assert_eq!(record.settings["device"], "cpu");
        let scale = exact.iter().fold(0.0, |m: f64, k| m.max(k.abs()));
        let error = |(a, b): (&f64, &f64)| (a - b).abs() / scale;
        // No entry is NaN either.
        assert!(gram.iter().zip(&exact).map(error).all(|error| error <= allowed), "{precision}");
        let recorded = record.results["largest_error"].as_f64().context("no error")?;
        assert!(recorded <= allowed, "{precision}: {recorded:e}");
        errors.push(recorded);
    }
    assert!(errors[3] > errors[2] && errors[2] > errors[1], "{errors:?}");

    let out = folder.path().join("refused");
    let message = fail(&out, &["--inputs", &x, "--dtype", "f64", "--precision", "tf32"])?;
    assert!(message.contains("f64"), "{message}");
    let absent = gram(&out, &["--inputs", &x, "--device", "cuda:4096"])?;
    assert_eq!(absent.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("device `cpu`"));
    Ok(())
}
