//! The command `verify`: every line of it on tensors of the CPU, and its exit code without a
//! GPU.

use std::{path::Path, process::Output};

use anyhow::{Context, Result, ensure};
use entk::device::device_count;
use entk_cli::Record;
use entk_testing::program;
use serde_json::Value;

fn run(out: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(program("verify")?.arg("--out").arg(out).args(arguments).output()?)
}

/// A finite number above zero.
fn is_positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|x| x.is_finite() && x > 0.0)
}

fn list<'a>(record: &'a Record, name: &str) -> Result<&'a Vec<Value>> {
    record.results[name].as_array().with_context(|| format!("no {name}"))
}

#[test]
fn the_whole_program_runs_on_tensors_of_the_cpu() -> Result<()> {
    let out = tempfile::tempdir()?;
    let output = run(out.path(), &["--device", "cpu", "--quick"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout)?;
    for line in ["cpu: asked for", "right", "products, tf32x3", "training epoch", "eigenpairs"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("WRONG") && !said.contains("NaN"), "{said}");

    let record = Record::read(&out.path().join("record.json"))?;
    assert!(list(&record, "kernels")?.is_empty());
    // Five precisions, seven ways, three products, a training step and eigenvalues of four
    // networks, and a full kernel.
    assert_eq!(list(&record, "comparisons")?.len(), 4 * 17 + 1);
    assert_eq!(list(&record, "times")?.len(), 4 * (2 * 3 + 1) + 1);
    for time in list(&record, "times")? {
        assert!(is_positive(&time["seconds"]) && is_positive(&time["floor_s"]), "{time}");
        // bf16 is the coarsest.
        assert!(time["error"].is_null() || time["error"].as_f64() < Some(0.05), "{time}");
    }
    let rates = &record.results["rates"];
    assert!(is_positive(&rates["copy"]) && is_positive(&rates["to_host"]), "{rates}");
    Ok(())
}

#[test]
fn without_a_gpu_it_says_so_and_exits_with_69() -> Result<()> {
    if device_count() > 0 {
        eprintln!("skipped: there is a GPU");
        return Ok(());
    }
    let out = tempfile::tempdir()?;
    for device in [&[][..], &["--device", "cuda:3"]] {
        let output = run(out.path(), device)?;
        assert_eq!(output.status.code(), Some(69));
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains("GPU") && said.contains("device `cpu`"), "{said}");
        assert!(!out.path().join("record.json").exists());
    }
    let wrong = run(out.path(), &["--device", "gpu"])?;
    assert_eq!(wrong.status.code(), Some(2));
    Ok(())
}
