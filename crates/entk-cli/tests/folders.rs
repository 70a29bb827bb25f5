//! Results of programs are whole or absent, and belong to one run: refused commands, dry runs, two
//! runs at once, streams that fail, matrices of others.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use entk::data::npy;
use entk_testing::program;

/// Exit code for files, as `gram --help` says.
const FILES: i32 = 74;

fn into(out: &Path, name: &str) -> Result<Command> {
    let mut command = program(name)?;
    command.arg("--out").arg(out);
    Ok(command)
}

/// Runs to the end; exit code and what stderr said.
fn run(command: &mut Command) -> Result<(Option<i32>, String)> {
    let output = command.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!stderr.contains("panicked"), "{stderr}");
    Ok((output.status.code(), stderr))
}

fn small_gram(out: &Path) -> Result<Command> {
    let mut command = into(out, "gram")?;
    command.args(["--n", "20"]);
    Ok(command)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[test]
fn refused_commands_and_dry_runs_leave_finished_results_alone() -> Result<()> {
    let out = tempfile::tempdir()?;
    let out = out.path();
    ensure!(run(&mut small_gram(out)?)?.0 == Some(0));
    let (files, record) = (names(out)?, fs::read(out.join("record.json"))?);
    for arguments in [
        &["--dry-run"][..],
        &["--inputs", "absent.npy"],
        &["--top", "21"],
        &["--max-memory", "1kB"],
    ] {
        let (code, stderr) = run(small_gram(out)?.args(arguments))?;
        ensure!((code == Some(0)) == (arguments == ["--dry-run"]), "{arguments:?}: {stderr}");
        ensure!(names(out)? == files, "{arguments:?}: {:?}", names(out)?);
        ensure!(fs::read(out.join("record.json"))? == record, "{arguments:?}");
    }
    Ok(())
}

#[test]
fn a_dry_run_makes_no_folder() -> Result<()> {
    let root = tempfile::tempdir()?;
    let out = root.path().join("absent");
    ensure!(run(small_gram(&out)?.arg("--dry-run"))?.0 == Some(0));
    ensure!(!out.exists());
    Ok(())
}

#[test]
fn of_two_runs_in_one_folder_one_is_refused_or_they_take_turns() -> Result<()> {
    let out = tempfile::tempdir()?;
    let out = out.path();
    let started = ["12", "20", "28"].map(|n| -> Result<_> {
        let mut command = into(out, "gram")?;
        command.args(["--n", n]).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok((n, command.spawn()?))
    });
    let mut finished = 0;
    for started in started {
        let (n, child) = started?;
        let output = child.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => finished += 1,
            code => {
                ensure!(code == Some(FILES), "--n {n}: {code:?} {stderr}");
                ensure!(stderr.contains("is being written to by process "), "{stderr}");
            }
        }
    }
    ensure!(finished >= 1);
    let record: serde_json::Value = serde_json::from_slice(&fs::read(out.join("record.json"))?)?;
    let n = record["settings"]["n"].as_u64().context("--n is in the record")? as usize;
    ensure!(npy::read(out.join("gram.npy"))?.shape() == [n, n]);
    ensure!(npy::read(out.join("eigvals.npy"))?.shape() == [n]);
    ensure!(!names(out)?.contains(&".lock".to_owned()));
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_or_closed_stderr_costs_no_result() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (at, closed) in [false, true].into_iter().enumerate() {
        let out = folder.path().join(at.to_string());
        let mut command = small_gram(&out)?;
        if closed {
            // The reading end is gone before the program writes.
            command.stderr(Stdio::piped());
            let mut child = command.spawn()?;
            drop(child.stderr.take());
            ensure!(child.wait()?.code() == Some(0));
        } else {
            command.stderr(File::options().write(true).open("/dev/full")?);
            ensure!(command.status()?.code() == Some(0));
        }
        ensure!(out.join("record.json").exists());
    }
    let help = File::options().write(true).open("/dev/full")?;
    ensure!(program("gram")?.arg("--help").stdout(help).status()?.code() == Some(FILES));
    let out = folder.path().join("full");
    let stdout = File::options().write(true).open("/dev/full")?;
    let code = small_gram(&out)?.arg("--json").stdout(stdout).status()?.code();
    ensure!(code == Some(FILES), "{code:?}");
    ensure!(out.join("record.json").exists());
    Ok(())
}

/// Entries of a 3 x 3 kernel, with one of them changed.
fn kernel(at: usize, value: f64) -> Vec<f64> {
    let mut entries = vec![2.0, 0.5, 0.25, 0.5, 3.0, 0.125, 0.25, 0.125, 4.0];
    entries[at] = value;
    entries
}

#[test]
fn a_matrix_that_is_no_kernel_is_refused_with_the_entry() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, out) = (folder.path().join("k.npy"), folder.path().join("out"));
    for (entries, expected) in [
        (kernel(1, 0.5), None),
        (kernel(1, 0.5 + 1e-13), None),
        (vec![0.0; 9], None),
        (kernel(1, 0.6), Some("entry (1, 0) is 0.5 and entry (0, 1) is 0.6")),
        (kernel(2, f64::NAN), Some("kernel entry (0, 2) is NaN")),
    ] {
        npy::write(&file, &[3, 3], &entries)?;
        let (code, stderr) = run(into(&out, "eigen")?.arg("--gram").arg(&file).args(["--k", "2"]))?;
        match expected {
            None => ensure!(code == Some(0), "{entries:?}: {stderr}"),
            Some(text) => {
                ensure!(code != Some(0) && stderr.contains(text), "{entries:?}: {stderr}");
                ensure!(stderr.contains("k.npy"), "{stderr}");
            }
        }
    }
    Ok(())
}

#[test]
fn pixels_that_were_not_scaled_are_noted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, out) = (folder.path().join("x.npy"), folder.path().join("out"));
    let pixels: Vec<i64> = (0..48).map(|i| i * 5).collect();
    npy::write(&file, &[3, 1, 4, 4], &pixels)?;
    let (code, stderr) = run(into(&out, "gram")?.arg("--inputs").arg(&file))?;
    ensure!(code == Some(0) && stderr.contains("divide pixels by 255"), "{stderr}");
    let record: serde_json::Value = serde_json::from_slice(&fs::read(out.join("record.json"))?)?;
    let note = record["notes"][0].as_str().context("a note in the record")?;
    ensure!(note.contains("whole numbers from 0 to 235"), "{note}");
    Ok(())
}
