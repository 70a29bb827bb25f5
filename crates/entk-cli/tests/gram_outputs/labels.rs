//! Alignments and energies of labels by every rule, beside those computed from the files.

use std::path::Path;

use anyhow::{Context, Result};
use entk::data::npy;
use entk_cli::Record;
use serde_json::Value;

use crate::{C, Folder, N, assert_close, matrix, succeed};

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
    Ok(())
}

#[test]
fn a_store_alone_says_what_the_kernel_in_memory_says() -> Result<()> {
    let folder = Folder::new()?;
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
