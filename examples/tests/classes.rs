//! Figures and the table with all classes in place of the binary task, at sizes of a second: what
//! they write, that eigenfunctions stay as they are, and which programs refuse.

use anyhow::{Context, Result};
use entk_cli::Record;
use entk_testing::{program_succeeds, run_program};

const TINY: [&str; 10] =
    ["--model", "mlp", "--train", "60", "--test", "20", "--epochs", "2", "--batch", "16"];
const CLASSES: [&str; 2] = ["--classes", "10"];

fn tiny<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&TINY[..], arguments].concat()
}

/// Runs it and returns its table, a map a line, and its record.
fn rows(name: &str, table: &str, arguments: &[&str]) -> Result<(Vec<csv::StringRecord>, Record)> {
    let out = tempfile::tempdir()?;
    program_succeeds(name, out.path(), &tiny(arguments))?;
    let mut table = csv::Reader::from_path(out.path().join(table))?;
    let rows = table.records().collect::<Result<Vec<_>, _>>()?;
    Ok((rows, Record::read(&out.path().join("record.json"))?))
}

/// The fields of the lines that have `value` in column `at`.
fn with(rows: &[csv::StringRecord], at: usize, value: &str) -> Vec<Vec<String>> {
    let is_one = |row: &&csv::StringRecord| row.get(at) == Some(value);
    rows.iter().filter(is_one).map(|row| row.iter().map(str::to_owned).collect()).collect()
}

#[test]
fn only_the_class_task_of_a_figure_changes() -> Result<()> {
    let cases: [(&str, &str, &[&str]); 3] = [
        ("fig02", "tasks.csv", &["--indices", "1,3"]),
        ("fig03", "tasks.csv", &["--indices", "1,3"]),
        ("fig06", "epochs.csv", &["--index", "3", "--top", "5"]),
    ];
    for (name, table, flags) in cases {
        let (binary, _) = rows(name, table, flags)?;
        let (classes, record) = rows(name, table, &[flags, &CLASSES].concat())?;
        assert_eq!(record.settings["classes"], 10);
        assert_eq!(binary.len(), classes.len(), "{name}");
        assert_ne!(with(&binary, 0, "0"), with(&classes, 0, "0"), "{name}");
        let eigen = |rows| {
            // The energy of the class task stands in every line of figure 2.
            let rows: Vec<Vec<String>> = with(rows, 0, "3");
            rows.into_iter().map(|row| row[..7].to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(eigen(&binary), eigen(&classes), "{name}");
        assert!(!with(&classes, 0, "3").is_empty());
    }
    Ok(())
}

#[test]
fn figures_of_the_class_task_learn_all_classes() -> Result<()> {
    let fields = |row: &csv::StringRecord, at: &[usize]| -> Result<Vec<f64>> {
        at.iter().map(|&at| Ok(row.get(at).context("a field")?.parse()?)).collect()
    };
    let (sizes, _) = rows("fig05", "sizes.csv", &[&CLASSES[..], &["--seeds", "1"]].concat())?;
    // Sizes 16 and 32, network and linearization: accuracies, loss, distance.
    assert_eq!(sizes.len(), 4);
    for row in &sizes {
        let values = fields(row, &[3, 4, 5, 6])?;
        assert!(values[0] <= 1.0 && values[1] <= 1.0 && values[3] > 0.0, "{row:?}");
        // Ten classes: nothing learnt is log 10.
        assert!(values[2] > 0.5 && values[2] < 4.0, "{row:?}");
    }
    let (epochs, _) = rows("fig08", "epochs.csv", &[&CLASSES[..], &["--seeds", "1"]].concat())?;
    assert_eq!(epochs.len(), 3 * 2);
    for row in &epochs {
        assert!(fields(row, &[3])?.iter().all(|loss| (0.5..4.0).contains(loss)), "{row:?}");
    }
    Ok(())
}

#[test]
fn energies_of_all_classes_are_measured_in_any_kernel() -> Result<()> {
    let mut all = Vec::new();
    for outputs in ["trace", "sum", "class:3", "full"] {
        let flags = [&CLASSES[..], &["--top", "10", "--seeds", "1", "--outputs", outputs]].concat();
        let (table, record) = rows("table1", "table1.csv", &flags)?;
        let at =
            |at: usize| Ok::<f64, anyhow::Error>(table[0].get(at).context("a field")?.parse()?);
        let values = [at(1)?, at(2)?, at(3)?, at(5)?, at(6)?];
        assert!(values.iter().all(|value| *value > 0.0 && *value <= 1.0), "{values:?}");
        assert!((values[0] * values[0] - values[1]).abs() < 1e-12, "{values:?}");
        assert_eq!(record.results["kernel"]["outputs"], outputs);
        all.push(values[0]);
    }
    assert!((1..4).all(|at| all[..at].iter().all(|other| *other != all[at])), "{all:?}");
    let flags = [&CLASSES[..], &["--index", "3", "--top", "5", "--outputs", "sum"]].concat();
    assert_eq!(rows("fig06", "epochs.csv", &flags)?.1.results["kernel"]["classes"], 10);
    Ok(())
}

#[test]
fn programs_without_that_meaning_refuse_and_say_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let weights = folder.path().join("w.safetensors").display().to_string();
    let cases: [(&str, &[&str], &str); 10] = [
        ("fig07", &["--classes", "10"], "leave --classes out"),
        ("fig09", &["--classes", "10"], "leave --classes out"),
        ("fig04", &["--classes", "10"], "leave --classes out"),
        ("layer_alignment", &["--classes", "10"], "leave --classes out"),
        ("fig02", &["--classes", "4"], "give --classes 10"),
        ("fig02", &["--classes", "10", "--weights", &weights], "without --weights"),
        ("fig08", &["--classes", "10", "--index", "2"], "cannot be used with"),
        ("table1", &["--classes", "10", "--outputs", "class:10"], "outputs 0 to 9"),
        ("table1", &["--classes", "10", "--outputs", "pairs"], "take trace"),
        ("fig06", &["--outputs", "class:1", "--top", "5", "--index", "3"], "--classes"),
    ];
    for (name, arguments, expected) in cases {
        let output = run_program(name, &out, &tiny(arguments))?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name} {arguments:?} succeeded");
        assert!(said.contains(expected), "{name} {arguments:?}: {expected:?} not in {said}");
    }
    Ok(())
}
