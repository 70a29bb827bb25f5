//! The program `train` on a user's own inputs and targets and on networks of several outputs: both
//! spaces of a linearization beside each other, losses, metrics, and what is refused.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::{Device, safetensors};
use entk::data::npy;
use entk_cli::Record;
use entk_testing::{program_fails, program_succeeds};

/// Round-off of a training of three epochs in f64, in weight space beside coefficient space,
/// relative to the loss.
const DOUBLE: f64 = 1e-11;

/// Training and test inputs, and classes.
const N: usize = 24;
const M: usize = 9;
const C: usize = 3;

fn succeed(out: &Path, arguments: &[&str]) -> Result<String> {
    Ok(program_succeeds("train", out, arguments)?)
}

fn fail(out: &Path, arguments: &[&str]) -> Result<String> {
    Ok(program_fails("train", out, arguments)?)
}

/// A folder with inputs (N, 1, 4, 4), classes, and real targets (N, 2), for training and test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Result<Self> {
        let folder = Self(tempfile::tempdir()?);
        for (name, count) in [("train", N), ("test", M)] {
            let wave = |step: f64, at: usize| ((at + count) as f64 * step).sin();
            let inputs: Vec<f64> = (0..16 * count).map(|at| wave(0.7, at)).collect();
            npy::write(folder.path(&format!("{name}-x.npy")), &[count, 1, 4, 4], &inputs)?;
            let classes: Vec<i64> = (0..count as i64).map(|at| at * at % 7 % 3).collect();
            npy::write(folder.path(&format!("{name}-y.npy")), &[count], &classes)?;
            let reals: Vec<f32> = (0..2 * count).map(|at| wave(0.3, at) as f32).collect();
            npy::write(folder.path(&format!("{name}-t.npy")), &[count, 2], &reals)?;
        }
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The flags of the files and of a short training in f64, with labels from the files `kind`.
    fn flags(&self, kind: &str) -> Vec<String> {
        let file = |name: String| self.path(&name).display().to_string();
        let mut flags: Vec<String> =
            ["--dtype", "f64", "--batch", "8", "--epochs", "3"].map(str::to_owned).to_vec();
        for (flag, name) in [
            ("--inputs", "train-x"),
            ("--labels", &format!("train-{kind}")),
            ("--test-inputs", "test-x"),
            ("--test-labels", &format!("test-{kind}")),
        ] {
            flags.extend([flag.to_owned(), file(format!("{name}.npy"))]);
        }
        flags.extend(["--model", "mlp"].map(str::to_owned));
        flags
    }

    /// Trains on the labels `kind` with these flags beside those of the files.
    fn train(&self, kind: &str, flags: &[&str]) -> Result<(PathBuf, Record)> {
        let out = self.path(&format!("{kind}{}", flags.join("_").replace(':', "-")));
        let all = self.flags(kind);
        let all: Vec<&str> = all.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        succeed(&out, &all)?;
        Ok((out.clone(), Record::read(&out.join("record.json"))?))
    }
}

/// A column of epochs.csv, where it is filled.
fn column(out: &Path, name: &str) -> Result<Vec<f64>> {
    let mut table = csv::Reader::from_path(out.join("epochs.csv"))?;
    let at = table.headers()?.iter().position(|header| header == name);
    let at = at.with_context(|| format!("no column {name}"))?;
    let cells = table.records().map(|row| Ok(row?[at].to_owned())).collect::<Result<Vec<_>>>()?;
    cells.iter().filter(|cell| !cell.is_empty()).map(|cell| Ok(cell.parse()?)).collect()
}

#[test]
fn a_linearization_of_several_outputs_is_the_same_in_both_spaces() -> Result<()> {
    let folder = Folder::new()?;
    let cases: [(&str, &[&str]); 4] = [
        ("y", &["--classes", "3"]),
        ("y", &["--classes", "3", "--label-smoothing", "0.1", "--class-weights", "1,2,0.5"]),
        ("y", &["--classes", "3", "--loss", "squared", "--targets", "one-hot-centred"]),
        ("t", &["--classes", "2"]),
    ];
    for (kind, flags) in cases {
        let (weights, _) = folder.train(kind, &[flags, &["--linearize"]].concat())?;
        let (dual, record) = folder.train(kind, &[flags, &["--dual"]].concat())?;
        for name in ["train_loss", "test_loss", "distance"] {
            let (a, b) = (column(&weights, name)?, column(&dual, name)?);
            assert_eq!((a.len(), b.len()), (3, 3), "{flags:?}, {name}");
            for (a, b) in a.iter().zip(&b) {
                assert!((a - b).abs() <= DOUBLE * a.abs(), "{flags:?}, {name}: {a} {b}");
            }
        }
        let kernel = &record.results["kernel"];
        assert_eq!(kernel["outputs"], "full");
        assert!(kernel["pseudo_kernel_scale"].is_null() && kernel["distance_to_exact"].is_null());
    }
    Ok(())
}

#[test]
fn kernels_that_are_not_exact_record_how_far_they_are() -> Result<()> {
    let folder = Folder::new()?;
    for (outputs, scale) in [("trace", 1.0 / 3.0), ("sum", 1.0 / 3.0), ("class:1", 1.0)] {
        let flags = ["--classes", "3", "--dual", "--outputs", outputs, "--compare", "10"];
        let (out, record) = folder.train("y", &flags)?;
        let kernel = &record.results["kernel"];
        assert_eq!((&kernel["outputs"], &kernel["classes"]), (&outputs.into(), &C.into()));
        assert_eq!(kernel["pseudo_kernel_scale"], scale);
        let distance = &kernel["distance_to_exact"];
        assert_eq!(distance["examples"], 10);
        for field in ["rms", "relative", "same_prediction"] {
            let value = distance[field].as_f64().with_context(|| format!("{field}: {distance}"))?;
            assert!(value.is_finite() && value >= 0.0, "{distance}");
        }
        assert!(distance["relative"].as_f64() > Some(0.0), "{distance}");
        assert_eq!(column(&out, "train_accuracy")?.len(), 3);
    }
    Ok(())
}

#[test]
fn real_targets_have_errors_in_place_of_accuracies() -> Result<()> {
    let folder = Folder::new()?;
    let (out, record) = folder.train("t", &["--classes", "2"])?;
    assert!(out.join("error.svg").exists() && !out.join("accuracy.svg").exists());
    for name in ["train_rmse", "test_rmse", "train_r_squared"] {
        assert_eq!(column(&out, name)?.len(), 3, "{name}");
    }
    assert!(column(&out, "train_accuracy")?.is_empty());
    let results = &record.results;
    assert_eq!((&results["targets"], &results["loss"]), (&"values".into(), &"squared loss".into()));
    assert_eq!([&results["outputs"], &results["train"], &results["test"]], [2, N, M]);
    Ok(())
}

#[test]
fn labels_and_outputs_choose_loss_and_metrics() -> Result<()> {
    let folder = Folder::new()?;
    let (_, record) = folder.train("y", &["--targets", "below:1"])?;
    assert_eq!(record.results["loss"], "cross-entropy");
    let (out, record) = folder.train("y", &["--targets", "class:2", "--loss", "squared"])?;
    assert_eq!(record.results["targets"], "class:2");
    assert!(column(&out, "train_calibration_error")?.is_empty());
    let (out, record) = folder.train("y", &["--classes", "8"])?;
    assert_eq!(record.results["loss"], "softmax cross-entropy");
    for name in ["train_top5", "test_calibration_error"] {
        assert_eq!(column(&out, name)?.len(), 3, "{name}");
    }
    // Trained weights say how wide the network is.
    let weights = out.join("weights.safetensors").display().to_string();
    let (_, record) = folder.train("y", &["--weights", &weights])?;
    assert_eq!(record.results["outputs"], 8);
    Ok(())
}

#[test]
fn all_classes_of_a_data_set_are_a_task() -> Result<()> {
    let out = tempfile::tempdir()?;
    let sizes = ["--model", "mlp", "--train", "60", "--test", "20", "--epochs", "2"];
    let classes = [&sizes[..], &["--batch", "16", "--classes", "10"]].concat();
    for flags in [&["--dual"][..], &[]] {
        succeed(out.path(), &[&classes[..], flags].concat())?;
        let record = Record::read(&out.path().join("record.json"))?;
        assert_eq!(
            (&record.results["outputs"], &record.results["train"]),
            (&10.into(), &60.into())
        );
        assert_eq!(column(out.path(), "test_top5")?.len(), 2);
    }
    let refused = out.path().join("refused");
    let message = fail(&refused, &[&classes[..], &["--task", "cifar2"]].concat())?;
    assert!(message.contains("leave --classes out"), "{message}");
    let message = fail(&refused, &[&sizes[..], &["--batch", "16", "--classes", "4"]].concat())?;
    assert!(message.contains("give --classes 10"), "{message}");
    Ok(())
}

#[test]
fn an_archive_of_several_outputs_trains() -> Result<()> {
    let folder = Folder::new()?;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../entk/tests/golden/torch");
    let values = safetensors::load(golden.join("vit.safetensors"), &Device::Cpu)?;
    let (inputs, outputs) = (&values["inputs"], values["outputs"].dim(1)?);
    let (n, x, y) = (inputs.dim(0)?, folder.path("x.npy"), folder.path("y.npy"));
    let flat = inputs.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
    npy::write(&x, inputs.dims(), &flat)?;
    let classes: Vec<i64> = (0..n).map(|at| (at % outputs) as i64).collect();
    npy::write(&y, &[n], &classes)?;
    let (x, y) = (x.display().to_string(), y.display().to_string());
    let archive = golden.join("vit.pt2").display().to_string();
    let out = folder.path("vit");
    let data = ["--model", &archive, "--inputs", &x, "--labels", &y];
    succeed(&out, &[&data[..], &["--epochs", "1", "--batch", "2"]].concat())?;
    let record = Record::read(&out.join("record.json"))?;
    assert!(outputs > 1 && record.archive.is_some());
    assert_eq!((&record.results["outputs"], &record.results["test"]), (&outputs.into(), &0.into()));
    Ok(())
}

#[test]
fn wrong_uses_name_the_remedy() -> Result<()> {
    let folder = Folder::new()?;
    let out = folder.path("refused");
    let cases: [(&str, &[&str], &str); 14] = [
        ("y", &["--classes", "2"], "0 to 1; recode"),
        ("y", &["--classes", "3", "--loss", "logistic"], "take softmax"),
        ("y", &["--targets", "below:1", "--loss", "softmax"], "take logistic"),
        ("y", &["--classes", "3", "--targets", "below:1"], "give --targets one-hot"),
        ("y", &["--targets", "one-hot"], "give --classes"),
        ("t", &["--classes", "3"], "give targets (N, C)"),
        ("t", &["--classes", "2", "--loss", "softmax"], "take --loss squared"),
        ("t", &["--classes", "2", "--class-weights", "1,2"], "leave it out"),
        ("y", &["--classes", "3", "--class-weights", "1,2"], "2 weights for 3 classes"),
        ("t", &["--classes", "2", "--label-smoothing", "0.1"], "is of --loss softmax"),
        ("y", &["--classes", "3", "--outputs", "trace"], "--dual"),
        ("y", &["--classes", "3", "--dual", "--outputs", "class:3"], "outputs 0 to 2"),
        ("y", &["--classes", "3", "--dual", "--outputs", "pairs"], "take full"),
        ("y", &["--classes", "3", "--dual", "--optimizer", "adam"], "--linearize"),
    ];
    for (kind, flags, expected) in cases {
        let all = folder.flags(kind);
        let all: Vec<&str> = all.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let message = fail(&out, &all)?;
        assert!(message.contains(expected), "{flags:?}: {expected:?} not in {message}");
    }
    let x = folder.path("train-x.npy").display().to_string();
    assert!(fail(&out, &["--inputs", &x])?.contains("--labels"));
    let task = ["--inputs", &x, "--labels", &x, "--task", "nad"];
    assert!(fail(&out, &task)?.contains("--task"));
    Ok(())
}
