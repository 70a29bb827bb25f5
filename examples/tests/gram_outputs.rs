//! The programs `gram` and `eigen` on networks of several outputs: each kernel beside the full one,
//! widths of heads, stores and parts, and what is refused.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device};
use entk::{
    data::npy,
    models::{MlpConfig, Model},
};
use entk_examples::Record;
use entk_testing::example_program;
use serde_json::Value;

/// Sums of the same some hundred terms in f64 in another order, relative to the largest entry.
const ORDER: f64 = 1e-13;

/// Inputs and outputs of the networks here.
const N: usize = 5;
const C: usize = 3;

fn run(name: &str, out: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(example_program(name)?).arg("--out").arg(out).args(arguments).output()?)
}

/// Runs it, expects success, and returns what it says on stderr.
fn succeed(name: &str, out: &Path, arguments: &[&str]) -> Result<String> {
    let output = run(name, out, arguments)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{arguments:?}: {stderr}");
    Ok(stderr)
}

/// A folder with inputs, labels 0, 1, 2, 0, 1 and a place for results.
struct Folder {
    root: tempfile::TempDir,
    inputs: String,
    labels: String,
}

impl Folder {
    fn new() -> Result<Self> {
        let root = tempfile::tempdir()?;
        let path = |name: &str| root.path().join(name).display().to_string();
        let (inputs, labels) = (path("x.npy"), path("y.npy"));
        let values: Vec<f64> = (0..16 * N).map(|i| (i as f64 * 0.7).sin()).collect();
        npy::write(&inputs, &[N, 1, 4, 4], &values)?;
        npy::write(&labels, &[N], &[0_i64, 1, 2, 0, 1])?;
        Ok(Self { root, inputs, labels })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Runs `gram` of three classes in f64 into a folder named after its flags.
    fn gram(&self, flags: &[&str]) -> Result<(PathBuf, Record)> {
        let out = self.path(&flags.join("_").replace(':', "-"));
        let common = ["--inputs", &self.inputs, "--classes", "3", "--dtype", "f64"];
        succeed("gram", &out, &[&common[..], flags].concat())?;
        Ok((out.clone(), Record::read(&out.join("record.json"))?))
    }
}

fn matrix(path: &Path) -> Result<(Vec<usize>, Vec<f64>)> {
    let array = npy::read(path)?;
    Ok((array.shape().to_vec(), array.to_f64()))
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    let scale = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= ORDER * scale, "{what}, {at}: {a} {b}");
    }
}

/// Block K_cc' of a full kernel.
fn block(full: &[f64], c: usize, d: usize) -> Vec<f64> {
    (0..N * N).map(|at| full[(at / N * C + c) * N * C + at % N * C + d]).collect()
}

fn sum_of(blocks: impl Iterator<Item = Vec<f64>>) -> Vec<f64> {
    blocks.fold(vec![0.0; N * N], |sum, block| sum.iter().zip(block).map(|(a, b)| a + b).collect())
}

#[test]
fn every_kernel_is_blocks_of_the_full_one() -> Result<()> {
    let folder = Folder::new()?;
    let (out, record) = folder.gram(&["--outputs", "full", "--cross", &folder.inputs])?;
    let (shape, full) = matrix(&out.join("gram.npy"))?;
    assert_eq!(shape, [N * C, N * C]);
    assert_eq!(matrix(&out.join("cross.npy"))?, (shape, full.clone()));
    assert_eq!(matrix(&out.join("outputs.npy"))?.0, [N, C]);
    assert_eq!(matrix(&out.join("eigvals.npy"))?.0, [N * C]);
    let sizes = ["classes", "rows"].map(|field| record.results[field].as_u64());
    assert_eq!((&record.results["outputs"], sizes), (&"full".into(), [Some(3), Some(15)]));
    assert!(record.results["formula"].as_str().is_some_and(|text| text.contains("n C + c")));
    assert!(record.results["largest_error"].as_f64().is_some_and(|error| error < 1e-12));

    let kernel =
        |flags: &[&str]| Ok::<_, anyhow::Error>(matrix(&folder.gram(flags)?.0.join("gram.npy"))?.1);
    let trace = sum_of((0..C).map(|c| block(&full, c, c)));
    assert_close(&kernel(&["--outputs", "trace"])?, &trace, "trace");
    assert_close(&kernel(&["--no-eigen"])?, &trace, "the default");
    let all = (0..C * C).map(|at| block(&full, at / C, at % C));
    assert_close(&kernel(&["--outputs", "sum"])?, &sum_of(all), "sum");
    for c in 0..C {
        let name = format!("class:{c}");
        assert_close(&kernel(&["--outputs", &name])?, &block(&full, c, c), &name);
    }
    Ok(())
}

#[test]
fn pairs_are_the_blocks_in_files_of_their_own() -> Result<()> {
    let folder = Folder::new()?;
    let full = matrix(&folder.gram(&["--outputs", "full"])?.0.join("gram.npy"))?.1;
    let stored = ["--outputs", "pairs", "--no-eigen", "--store", "--edge", "4"];
    for flags in [&["--outputs", "pairs"][..], &stored] {
        let (out, record) = folder.gram(flags)?;
        assert_eq!(record.results["outputs"], "pairs");
        for (c, d) in (0..C).flat_map(|c| (c..C).map(move |d| (c, d))) {
            let (shape, found) = matrix(&out.join(format!("gram_{c}_{d}.npy")))?;
            assert_eq!(shape, [N, N]);
            assert_close(&found, &block(&full, c, d), &format!("{flags:?}, {c} {d}"));
        }
        assert!(!out.join("gram.npy").exists() && !out.join("gram_1_0.npy").exists());
    }
    // Blocks of an earlier run do not stay.
    let out = folder.path("--outputs_pairs");
    let common = ["--inputs", &folder.inputs, "--classes", "3", "--no-eigen"];
    succeed("gram", &out, &common)?;
    assert!(out.join("gram.npy").exists() && !out.join("gram_0_1.npy").exists());
    Ok(())
}

#[test]
fn a_full_kernel_is_planned_stored_resumed_and_shared() -> Result<()> {
    let folder = Folder::new()?;
    let full = matrix(&folder.gram(&["--outputs", "full"])?.0.join("gram.npy"))?.1;
    let out = folder.path("store");
    let common = ["--inputs", &folder.inputs, "--classes", "3", "--dtype", "f64"];
    let stored = [&common[..], &["--outputs", "full", "--store", "--edge", "4"]].concat();
    let planned = run("gram", &out, &[&stored[..], &["--dry-run"]].concat())?;
    assert!(planned.status.success() && !out.join("gram.zarr").exists());
    for part in ["1/2", "2/2"] {
        succeed("gram", &out, &[&stored[..], &["--part", part]].concat())?;
    }
    succeed("gram", &out, &[&stored[..], &["--export", "--labels", &folder.labels]].concat())?;
    let record = Record::read(&out.join("record.json"))?;
    assert_eq!(record.results["kept_tiles"], 10);
    assert_eq!(matrix(&out.join("gram.npy"))?, (vec![N * C, N * C], full));
    let other = [&common[..], &["--outputs", "trace", "--store", "--edge", "4"]].concat();
    let refused = run("gram", &out, &other)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(65) && said.contains("outputs: "), "{said}");
    Ok(())
}

#[test]
fn the_head_of_the_weights_decides_the_width() -> Result<()> {
    let folder = Folder::new()?;
    let weights = folder.text("w.safetensors");
    let config = MlpConfig { input: [1, 4, 4], outputs: C, ..Default::default() };
    let network = config.network()?;
    network.init(3, DType::F64, &Device::Cpu)?.save(&weights)?;
    let out = folder.path("out");
    let arguments = ["--inputs", &folder.inputs, "--weights", &weights];
    let said = succeed("gram", &out, &arguments)?;
    assert!(said.contains("3 outputs: --outputs trace") && said.contains("sum_c"), "{said}");
    let record = Record::read(&out.join("record.json"))?;
    assert_eq!(record.results["classes"], C);
    assert_eq!(
        record.results["parameters"],
        network.specs().iter().map(|s| s.elem_count()).sum::<usize>()
    );
    let said = succeed("gram", &out, &[&arguments[..], &["--outputs", "sum"]].concat())?;
    assert!(!said.contains("--outputs trace"), "{said}");
    Ok(())
}

/// y^T K y.
fn form(kernel: &[f64], y: &[f64]) -> f64 {
    let image =
        kernel.chunks(y.len()).map(|row| row.iter().zip(y).map(|(k, y)| k * y).sum::<f64>());
    image.zip(y).map(|(image, y)| image * y).sum()
}

/// ||Phi y||^2 for the leading eigenvectors in a file.
fn captured(out: &Path, y: &[f64], top: usize) -> Result<f64> {
    let (_, vectors) = matrix(&out.join("eigvecs.npy"))?;
    let inner = |phi: &[f64]| phi.iter().zip(y).map(|(phi, y)| phi * y).sum::<f64>();
    Ok(vectors.chunks(y.len()).take(top).map(|phi| inner(phi).powi(2)).sum())
}

fn number(value: &Value, field: &str) -> Result<f64> {
    value[field].as_f64().with_context(|| format!("no {field} in {value}"))
}

#[test]
fn alignments_and_energies_are_of_each_class_and_of_all() -> Result<()> {
    let folder = Folder::new()?;
    let labels = [0, 1, 2, 0, 1];
    let column = |c: usize, shift: f64| -> Vec<f64> {
        labels.iter().map(|&label| if label == c { 1.0 - shift } else { -shift }).collect()
    };
    for (rule, shift) in [("one-hot", 0.0), ("one-hot-centred", 1.0 / 3.0)] {
        for outputs in ["trace", "class:1", "full"] {
            let flags = ["--labels", &folder.labels, "--targets", rule, "--outputs", outputs];
            let (out, record) = folder.gram(&[&flags[..], &["--top", "2"]].concat())?;
            let kernel = matrix(&out.join("gram.npy"))?.1;
            let found = &record.results["labels"];
            assert_eq!((&found["targets"], &found["top"]), (&rule.into(), &2.into()));
            assert_eq!(found["classes"].as_array().map(Vec::len), Some(C));
            let all: Vec<f64> = (0..N)
                .flat_map(|n| (0..C).map(move |c| (n, c)))
                .map(|(n, c)| column(c, shift)[n])
                .collect();
            let (mut forms, mut squares, mut shares) = (0.0, 0.0, 0.0);
            for c in 0..C {
                let y: Vec<f64> = match outputs {
                    "full" => all
                        .iter()
                        .enumerate()
                        .map(|(at, y)| if at % C == c { *y } else { 0.0 })
                        .collect(),
                    _ => column(c, shift),
                };
                let (form, square) = (form(&kernel, &y), y.iter().map(|y| y * y).sum::<f64>());
                let share = captured(&out, &y, 2)?;
                let class = &found["classes"][c];
                assert_eq!(
                    (&class["class"], &class["examples"]),
                    (&c.into(), &[2, 2, 1][c].into())
                );
                assert_close(&[number(class, "alignment")?], &[form / 25.0], "alignment");
                assert_close(&[number(class, "rayleigh_alignment")?], &[form / square], "rayleigh");
                let energy = number(class, "energy_squared")?;
                assert!((energy - share / square).abs() < 1e-12, "{energy} {share}");
                (forms, squares, shares) = (forms + form, squares + square, shares + share);
            }
            if outputs == "full" {
                (forms, shares) = (form(&kernel, &all), captured(&out, &all, 2)?);
            }
            assert_close(&[number(found, "alignment")?], &[forms / 25.0], "alignment of all");
            let ratio = number(found, "energy_ratio")?;
            assert!((ratio - (shares / squares).sqrt()).abs() < 1e-12, "{ratio}");
            // Layer by layer the same, but for the trace, which would take nine sweeps.
            let layers = found["layers"].as_object();
            assert_eq!(layers.is_none(), outputs == "trace", "{found}");
            if let Some(layers) = layers {
                let sum: f64 = layers.values().filter_map(Value::as_f64).sum();
                assert_close(&[sum], &[forms / 25.0], "layers");
            }
        }
    }
    // Without eigenpairs, from the store alone, as from memory.
    let flags = ["--labels", &folder.labels, "--no-eigen", "--outputs", "full"];
    let stored = [&flags[..], &["--store", "--edge", "4"]].concat();
    let (memory, store) = (folder.gram(&flags)?.1, folder.gram(&stored)?.1);
    let of = |record: &Record| number(&record.results["labels"], "alignment");
    assert_close(&[of(&store)?], &[of(&memory)?], "store");
    Ok(())
}

#[test]
fn rules_for_binary_targets_and_real_ones() -> Result<()> {
    let folder = Folder::new()?;
    let (out, reals) = (folder.path("out"), folder.text("reals.npy"));
    let values: Vec<f64> = (0..N * C).map(|at| at as f64 * 0.3 - 1.0).collect();
    npy::write(&reals, &[N, C], &values)?;
    let of = |flags: &[&str]| -> Result<(String, Value)> {
        let said = succeed("gram", &out, &[&["--inputs", &folder.inputs], flags].concat())?;
        Ok((said, Record::read(&out.join("record.json"))?.results["labels"].clone()))
    };
    let (said, found) = of(&["--labels", &folder.labels])?;
    assert!(said.contains("--targets below:5"), "{said}");
    assert_eq!((&found["targets"], &found["positive"]), (&"below:5".into(), &5.into()));
    let (_, found) = of(&["--labels", &folder.labels, "--targets", "below:1"])?;
    assert_eq!((&found["positive"], &found["negative"]), (&2.into(), &3.into()));
    let class = ["--labels", &folder.labels, "--targets", "class:2", "--classes", "3"];
    assert_eq!(of(&class)?.1["positive"], 1);
    let (said, found) = of(&["--labels", &reals, "--classes", "3", "--outputs", "full"])?;
    assert!(said.contains("--targets values"), "{said}");
    assert!(found["positive"].is_null() && found["classes"][2]["examples"].is_null(), "{found}");
    // The embedded slice has ten classes.
    let said = succeed("gram", &out, &["--n", "20", "--classes", "4", "--no-eigen"])?;
    assert!(said.contains("no alignments"), "{said}");
    succeed("gram", &out, &["--n", "20", "--classes", "10", "--no-eigen"])?;
    assert_eq!(Record::read(&out.join("record.json"))?.results["labels"]["targets"], "one-hot");
    Ok(())
}

#[test]
fn wrong_uses_name_the_remedy() -> Result<()> {
    let folder = Folder::new()?;
    let (out, weights) = (folder.path("out"), folder.text("w.safetensors"));
    let network = MlpConfig { input: [1, 4, 4], outputs: 4, ..Default::default() }.network()?;
    network.init(3, DType::F64, &Device::Cpu)?.save(&weights)?;
    let (twelve, wide) = (folder.text("twelve.npy"), folder.text("wide.npy"));
    npy::write(&twelve, &[N], &[0_i64, 1, 12, 0, 1])?;
    npy::write(&wide, &[N, 2], &[0.5; 2 * N])?;
    let (x, y) = (&*folder.inputs, &*folder.labels);
    let cases: [(&[&str], i32, &[&str]); 13] = [
        (&["--inputs", x, "--classes", "3", "--outputs", "class:3"], 65, &["outputs 0 to 2"]),
        (&["--inputs", x, "--outputs", "class:1"], 65, &["outputs 0 to 0", "--classes"]),
        (&["--inputs", x, "--outputs", "all"], 2, &["class:K"]),
        (&["--inputs", x, "--classes", "0"], 2, &["1.."]),
        (&["--inputs", x, "--weights", &weights, "--classes", "3"], 65, &["fc3.weight", "has 4"]),
        (
            &["--inputs", x, "--labels", &twelve, "--classes", "3"],
            65,
            &["found 12 at index 2", "0 to 2"],
        ),
        (
            &["--inputs", x, "--labels", y, "--targets", "signs"],
            65,
            &["found 2 at index 2", "below:K"],
        ),
        (&["--inputs", x, "--labels", y, "--targets", "class:7"], 65, &["classes 0 to 2"]),
        (&["--inputs", x, "--labels", y, "--targets", "halves"], 2, &["one-hot"]),
        (
            &["--inputs", x, "--labels", &wide, "--classes", "3", "--outputs", "full"],
            65,
            &["2 columns", "3 outputs"],
        ),
        (
            &[
                "--inputs",
                x,
                "--labels",
                y,
                "--targets",
                "below:1",
                "--classes",
                "3",
                "--outputs",
                "full",
            ],
            65,
            &["--targets one-hot"],
        ),
        (&["--inputs", x, "--targets", "signs"], 65, &["give --labels"]),
        (&["--inputs", x, "--classes", "3", "--top", "6"], 65, &["--top 6", "5"]),
    ];
    for (arguments, code, expected) in cases {
        let output = run("gram", &out, arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        for part in expected {
            assert!(said.contains(part), "{arguments:?}: {part:?} not in {said}");
        }
        assert!(!out.join("record.json").exists());
    }
    Ok(())
}

#[test]
fn eigen_takes_kernels_out_of_a_full_one() -> Result<()> {
    let folder = Folder::new()?;
    let store = ["--outputs", "full", "--store", "--edge", "4", "--export"];
    let (full, _) = folder.gram(&store)?;
    for outputs in ["trace", "sum", "class:2", "full"] {
        let (expected, _) = folder.gram(&["--outputs", outputs])?;
        let (_, expected) = matrix(&expected.join("eigvals.npy"))?;
        for source in ["gram.npy", "gram.zarr"] {
            let gram = full.join(source).display().to_string();
            let out = folder.path(&format!("eigen-{outputs}-{source}"));
            let flags = ["--gram", &gram, "--k", "3", "--classes", "3", "--outputs", outputs];
            succeed("eigen", &out, &flags)?;
            let (_, found) = matrix(&out.join("eigvals.npy"))?;
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-10 * expected[0], "{outputs}, {source}: {a} {b}");
            }
            let record = Record::read(&out.join("record.json"))?;
            assert_eq!(record.results["kernel"]["outputs"], outputs);
        }
    }
    let gram = full.join("gram.npy").display().to_string();
    let cases: [(&[&str], &str); 4] = [
        (&["--classes", "4"], "outputs"),
        (&["--classes", "3", "--outputs", "class:3"], "outputs 0 to 2"),
        (&["--classes", "3", "--outputs", "pairs"], "class:K"),
        (&["--outputs", "trace"], "--classes"),
    ];
    for (flags, expected) in cases {
        let output = run(
            "eigen",
            &folder.path("refused"),
            &[&["--gram", &gram, "--k", "3"], flags].concat(),
        )?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{flags:?}: {said}");
    }
    Ok(())
}
