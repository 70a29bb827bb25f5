//! Runs in company: several at once into one folder, one store and one cache, some of them killed;
//! folders and caches that are damaged, read-only or oddly named.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use entk_testing::program;

/// Exit code for files, as every `--help` says.
const FILES: i32 = 74;

const TINY: &str = "--model mlp --train 60 --test 20 --epochs 2 --batch 16";

fn command(line: &str, out: &Path) -> Result<Command> {
    let mut words = line.split(' ');
    let mut command = program(words.next().context("a program")?)?;
    command.args(words).arg("--out").arg(out).stdout(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}

fn succeed(line: &str, out: &Path) -> Result<()> {
    let output = command(line, out)?.output()?;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Waits, or kills after a while, and refuses every end that is none of: done, refused, killed.
fn end(child: Child, kill_after: Option<Duration>) -> Result<()> {
    let mut child = child;
    if let Some(after) = kill_after {
        std::thread::sleep(after);
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_refused = output.status.code() == Some(FILES) && said.contains("is being written to");
    let is_killed = kill_after.is_some() && output.status.code().is_none();
    ensure!(output.status.success() || is_refused || is_killed, "{:?}: {said}", output.status);
    Ok(())
}

/// Names of files below a folder that no finished run leaves.
fn left_over(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(left_over(&path)?);
        } else if name.starts_with(".tmp-") || name.ends_with("lock") {
            found.push(path);
        }
    }
    Ok(found)
}

/// How long each of several runs may take before it is killed.
fn fates(count: u64) -> impl Iterator<Item = Option<Duration>> {
    (0..count).map(|at| (at % 2 == 1).then(|| Duration::from_millis(40 * at)))
}

#[test]
fn several_at_once_with_one_cache_end_with_the_same_bytes() -> Result<()> {
    let (root, alone) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let cache = root.path().join("cache");
    let figure = |name: &str, flags: &str| format!("{name} {TINY} {flags}");
    let lines = [figure("fig02", "--indices 1,2,5"), figure("fig03", "--indices 1,2,5")];
    let tables: Vec<_> = (lines.iter().enumerate())
        .map(|(at, line)| -> Result<_> {
            let out = alone.path().join(at.to_string());
            succeed(line, &out)?;
            Ok(fs::read(out.join("tasks.csv"))?)
        })
        .collect::<Result<_>>()?;
    for round in 0..2 {
        let out = |at: usize| root.path().join(format!("{round}-{at}"));
        let started = (0..4).map(|at| {
            let mut command = command(&lines[at % 2], &out(at))?;
            Ok(command.arg("--cache").arg(&cache).spawn()?)
        });
        let started: Vec<Child> = started.collect::<Result<_>>()?;
        for (child, kill_after) in started.into_iter().zip(fates(4)) {
            end(child, kill_after)?;
        }
        for at in 0..4 {
            let line = format!("{} --cache {}", lines[at % 2], cache.display());
            succeed(&line, &out(at))?;
            ensure!(fs::read(out(at).join("tasks.csv"))? == tables[at % 2], "{round} {at}");
        }
        ensure!(left_over(root.path())?.is_empty(), "{:?}", left_over(root.path())?);
        if round == 0 {
            fs::remove_dir_all(&cache)?;
        }
    }
    Ok(())
}

#[test]
fn several_parts_of_one_store_at_once_end_with_the_same_bytes() -> Result<()> {
    let (root, alone) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let line = "gram --n 60 --model mlp --store --edge 16 --no-eigen --export";
    succeed(line, alone.path())?;
    let started = ["1/2", "2/2", "1/2", "2/2", "1/2"].map(|part| -> Result<Child> {
        Ok(command(line, root.path())?.args(["--part", part]).spawn()?)
    });
    for (child, kill_after) in started.into_iter().zip(fates(5)) {
        end(child?, kill_after)?;
    }
    succeed(line, root.path())?;
    let gram = |folder: &Path| fs::read(folder.join("gram.npy"));
    ensure!(gram(root.path())? == gram(alone.path())?);
    ensure!(left_over(root.path())?.is_empty(), "{:?}", left_over(root.path())?);
    Ok(())
}

#[test]
fn programs_of_any_kind_take_turns_in_one_folder() -> Result<()> {
    let root = tempfile::tempdir()?;
    let out = root.path().join("out");
    let train = format!("train {TINY}");
    let lines = ["gram --n 30", &train, "gram --n 20 --store --edge 16", "eigen --gram no.npy"];
    let started = lines.map(|line| -> Result<_> { Ok((line, command(line, &out)?.spawn()?)) });
    for (started, kill_after) in started.into_iter().zip(fates(3).chain([None])) {
        let (line, child) = started?;
        // There is no such Gram: it is refused for that, or for the company.
        if line.starts_with("eigen") {
            ensure!(child.wait_with_output()?.status.code() == Some(FILES));
        } else {
            end(child, kill_after)?;
        }
    }
    // The next run of a program removes what a killed one has left where it writes.
    succeed(&train, &out)?;
    succeed("gram --n 30", &out)?;
    ensure!(left_over(root.path())?.is_empty(), "{:?}", left_over(root.path())?);
    Ok(())
}

/// All files of this name below a folder.
fn named(folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(named(&path, name)?);
        } else if path.ends_with(name) {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn records_in_the_cache_that_are_changed_count_as_absent() -> Result<()> {
    let root = tempfile::tempdir()?;
    let (line, out) = (format!("fig02 {TINY} --indices 1,2,5"), root.path());
    succeed(&line, out)?;
    let table = fs::read(out.join("tasks.csv"))?;
    for (file, from, to) in [
        ("run.json", "\"model\": \"", "\"model\": \"0"),
        ("run.json", "{", "["),
        ("checkpoint.json", "\"learning_rate\"", "\"learning-rate\""),
        ("checkpoint.json", "f64:0.05", "f64:0.06"),
    ] {
        let files = named(&out.join("cache"), file)?;
        ensure!(!files.is_empty(), "{file}");
        for path in files {
            fs::write(&path, fs::read_to_string(&path)?.replacen(from, to, 1))?;
        }
        succeed(&line, out)?;
        ensure!(fs::read(out.join("tasks.csv"))? == table, "{file} {from}");
    }
    Ok(())
}

#[test]
fn paths_may_have_spaces_and_other_alphabets() -> Result<()> {
    let root = tempfile::tempdir()?;
    let folder = root.path().join("with spaces, ünd Ωmega, 'quotes'");
    succeed("gram --n 12 --no-eigen", &folder)?;
    let mut eigen = command("eigen --k 2", &folder.join("eigen"))?;
    let output = eigen.arg("--gram").arg(folder.join("gram.npy")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    succeed(&format!("train {TINY}"), &folder.join("train"))?;
    ensure!(folder.join("train/record.json").exists());
    Ok(())
}

#[test]
fn folders_that_cannot_be_written_name_the_flag() -> Result<()> {
    let root = tempfile::tempdir()?;
    let file = root.path().join("file");
    fs::write(&file, "no folder")?;
    let refused = |line: &str, out: &Path, flag: &str| -> Result<()> {
        let output = command(line, out)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(FILES), "{line}: {:?} {said}", output.status);
        ensure!(said.contains(flag), "{line}: {said}");
        Ok(())
    };
    let (fig02, train) = (format!("fig02 {TINY}"), format!("train {TINY}"));
    for line in ["gram --n 12", "eigen --gram k.npy", "predict", &fig02, &train] {
        refused(line, &file, "--out")?;
        refused(line, &file.join("below"), "--out")?;
    }
    let cache = format!("{fig02} --indices 1 --cache {}", file.display());
    refused(&cache, &root.path().join("out"), "--cache")
}
