//! The figure programs as their users run them, at sizes of a second.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use entk_examples::Record;

const TINY: [&str; 8] = ["--model", "mlp", "--train", "60", "--test", "20", "--epochs", "2"];

/// The built example beside this test's own executable.
fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).context("the test has no folder")?;
    let path = profile.join("examples").join(name);
    ensure!(path.exists(), "{} is missing: run all of the package's tests", path.display());
    Ok(path)
}

fn run(name: &str, out: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(program(name)?).arg("--out").arg(out).args(TINY).args(arguments).output()?)
}

fn succeed(name: &str, out: &Path, arguments: &[&str]) -> Result<()> {
    let output = run(name, out, arguments)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Runs it, expects an error without record.json, and returns the message.
fn fail(name: &str, out: &Path, arguments: &[&str]) -> Result<String> {
    let output = run(name, out, arguments)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "{arguments:?} succeeded");
    ensure!(!stderr.contains("panicked"), "{stderr}");
    ensure!(!out.join("record.json").exists(), "a failed run left a record");
    Ok(stderr)
}

#[test]
fn figure_2_writes_pictures_numbers_and_a_record() -> Result<()> {
    let out = tempfile::tempdir()?;
    succeed("fig02", out.path(), &["--batch", "16", "--indices", "1,2,10"])?;
    for file in ["fig02.svg", "fig02.png", "fig02.csv", "tasks.csv"] {
        assert!(out.path().join(file).metadata()?.len() > 0, "{file}");
    }
    let table = std::fs::read_to_string(out.path().join("tasks.csv"))?;
    let indices: Vec<&str> =
        table.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!(indices, ["0", "1", "2", "10"]);
    let record = Record::read(&out.path().join("record.json"))?;
    assert_eq!(record.results["images"], 80);
    assert_eq!(record.settings["epochs"], 2);
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_numbers() -> Result<()> {
    let tables: Vec<String> = (["3", "3", "4"].iter())
        .map(|seed| {
            let out = tempfile::tempdir()?;
            let flags = ["--batch", "16", "--indices", "2,5", "--seed", seed];
            succeed("fig02", out.path(), &flags)?;
            Ok(std::fs::read_to_string(out.path().join("tasks.csv"))?)
        })
        .collect::<Result<_>>()?;
    assert_eq!(tables[0], tables[1]);
    assert_ne!(tables[0], tables[2]);
    Ok(())
}

#[test]
fn table_1_reports_energies_and_accuracies() -> Result<()> {
    let out = tempfile::tempdir()?;
    // A minibatch of 128 needs as many images.
    let sizes = ["--seeds", "2", "--top", "10", "--initial-only"];
    succeed("table1", out.path(), &sizes)?;
    let table = std::fs::read_to_string(out.path().join("table1.csv"))?;
    assert_eq!(table.lines().count(), 3);
    for line in table.lines().skip(1) {
        let energy: f64 = line.split(',').nth(1).context("a second column")?.parse()?;
        assert!(energy > 0.0 && energy <= 1.0, "{line}");
    }
    Ok(())
}

#[test]
fn label_flips_counts_labels_of_both_kernels() -> Result<()> {
    let out = tempfile::tempdir()?;
    succeed("label_flips", out.path(), &["--indices", "1,40", "--gelu"])?;
    let table = std::fs::read_to_string(out.path().join("label_flips.csv"))?;
    let rows: Vec<Vec<f64>> = (table.lines().skip(1))
        .map(|line| Ok(line.split(',').map(str::parse).collect::<Result<_, _>>()?))
        .collect::<Result<_>>()?;
    assert_eq!([rows[0][0], rows[1][0]], [1.0, 40.0]);
    assert!(rows[0][1] > rows[1][1] && rows[1][1] > 0.0, "shares of the trace fall: {table}");
    // 80 inputs determine the first eigenfunction far better than f32 resolves.
    assert_eq!(rows[0][2..], [0.0, 0.0]);
    assert!(rows[1][2..].iter().all(|flipped| *flipped <= 40.0), "{table}");
    let message = fail("label_flips", &out.path().join("none"), &["--indices", "80"])?;
    assert!(message.contains("80"), "{message}");
    Ok(())
}

#[test]
fn bad_settings_say_what_to_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "not a folder")?;
    let message = fail("fig02", &blocked.join("results"), &[])?;
    assert!(message.contains("file"), "{message}");

    let out = folder.path().join("out");
    let cases: [(&[&str], &str); 5] = [
        (&["--indices", "1,81"], "81"),
        (&["--indices", "0"], "0"),
        (&["--batch", "61"], "61"),
        (&["--data", "cifar10"], "cifar"),
        (&["--data-root", "/nonexistent/folder"], "/nonexistent/folder"),
    ];
    for (arguments, expected) in cases {
        let message = fail("fig02", &out, arguments)?;
        assert!(message.to_lowercase().contains(expected), "{arguments:?}: {message}");
    }
    Ok(())
}
