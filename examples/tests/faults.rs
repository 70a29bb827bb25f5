//! Programs on a disk that fails: each operation on files in turn is refused, cut short or the last
//! one of its process. Afterwards nothing looks whole that is not, and the same command gives the
//! bytes of a run without faults and leaves nothing else.
#![cfg(debug_assertions)] // a release build cannot inject
#![allow(clippy::print_stderr)] // the numbers of long runs

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use entk::{
    data::npy,
    device::files::faults::{LOG, ORDER},
};
use entk_testing::program;

/// All kinds of fault.
const FAULTS: [&str; 8] = ["enospc", "eio", "eacces", "short", "half", "kill", "halfkill", "full"];
/// Faults of one program and state among the tests of every day.
const SAMPLE: usize = 20;
/// Exit code for files, as `gram --help` says, and for what has no code of its own.
const FAILED: [Option<i32>; 2] = [Some(74), Some(1)];

/// A command whose files are watched.
struct Program {
    name: &'static str,
    arguments: Vec<String>,
}

impl Program {
    fn new(name: &'static str, arguments: &str) -> Self {
        Self { name, arguments: arguments.split_whitespace().map(str::to_owned).collect() }
    }

    /// One thread, so that operations come in one order.
    fn command(&self, out: &Path) -> Result<Command> {
        let mut command = program(self.name)?;
        command.arg("--out").arg(out).args(&self.arguments).env("RAYON_NUM_THREADS", "1");
        Ok(command)
    }

    fn succeed(&self, out: &Path) -> Result<()> {
        let output = self.command(out)?.output()?;
        ensure!(output.status.success(), "{}: {}", self.name, stderr(&output));
        Ok(())
    }

    /// The operations of a run.
    fn operations(&self, out: &Path) -> Result<Vec<String>> {
        let folder = temporary()?;
        let log = folder.path().join("log");
        let output = self.command(out)?.env(LOG, &log).output()?;
        ensure!(output.status.success(), "{}: {}", self.name, stderr(&output));
        Ok(fs::read_to_string(log)?.lines().map(str::to_owned).collect())
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder in memory where there is one, so that syncing is free.
fn temporary() -> io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// The bytes of all files below a folder, by name, but for the journals of stores: who wrote what
/// when.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_file() {
                files.insert(path.strip_prefix(folder)?.to_owned(), fs::read(path)?);
            } else if !path.ends_with("journal") {
                folders.push(path);
            }
        }
    }
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("a name")?);
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, target)?;
        }
    }
    Ok(())
}

/// Times and paths stand there; everything else is compared by its bytes.
const RECORD: &str = "record.json";

/// A program and the folder that it finds: empty, or with what an earlier run has left.
struct Sweep<'p> {
    program: &'p Program,
    before: Option<&'p Path>,
    expected: &'p BTreeMap<PathBuf, Vec<u8>>,
}

/// What a sweep has seen.
#[derive(Default)]
struct Tally {
    operations: usize,
    runs: usize,
    errors: usize,
    kills: usize,
    harmless: usize,
    messages_without_path: BTreeSet<String>,
}

impl Sweep<'_> {
    fn folder(&self) -> Result<tempfile::TempDir> {
        let folder = temporary()?;
        if let Some(before) = self.before {
            copy(before, folder.path())?;
        }
        Ok(folder)
    }

    /// Runs with `most` faults, spread evenly over operations and kinds.
    fn run(&self, most: usize) -> Result<Tally> {
        let operations = self.program.operations(self.folder()?.path())?;
        let mut tally = Tally { operations: operations.len(), ..Tally::default() };
        let all = (0..operations.len()).flat_map(|at| FAULTS.map(|fault| (at, fault)));
        let stride = (operations.len() * FAULTS.len()).div_ceil(most);
        // No divisor in common with the number of kinds, so that all of them come.
        let stride = if stride == 1 { 1 } else { stride | 1 };
        for (at, fault) in all.step_by(stride) {
            let shown = || format!("{} {fault}@{at}: {}", self.program.name, operations[at]);
            self.one(&format!("{fault}@{at}"), &mut tally).with_context(shown)?;
        }
        Ok(tally)
    }

    fn one(&self, order: &str, tally: &mut Tally) -> Result<()> {
        let folder = self.folder()?;
        let output = self.program.command(folder.path())?.env(ORDER, order).output()?;
        tally.runs += 1;
        let said = stderr(&output);
        ensure!(!said.contains("panicked"), "{said}");
        self.nothing_is_wrong(folder.path(), output.status.success())?;
        match output.status.code() {
            Some(0) => tally.harmless += 1,
            None => tally.kills += 1,
            code => {
                ensure!(FAILED.contains(&code), "exit code {code:?}: {said}");
                ensure!(!order.starts_with("short"), "a short transfer is no error: {said}");
                tally.errors += 1;
                if !said.contains('/') {
                    tally.messages_without_path.insert(said);
                }
            }
        }
        self.program.succeed(folder.path())?;
        let after = contents(folder.path())?;
        ensure!(self.same_names(&after), "left over: {:?}", after.keys());
        self.nothing_is_wrong(folder.path(), true)
    }

    fn same_names(&self, found: &BTreeMap<PathBuf, Vec<u8>>) -> bool {
        found.keys().eq(self.expected.keys())
    }

    /// Every file that has a name of a result is that result, and with a record all are there.
    fn nothing_is_wrong(&self, folder: &Path, is_whole: bool) -> Result<()> {
        let found = contents(folder)?;
        for (name, bytes) in &found {
            let is_wrong = |expected: &Vec<u8>| !name.ends_with(RECORD) && expected != bytes;
            ensure!(!self.expected.get(name).is_some_and(is_wrong), "{name:?} has other bytes");
        }
        if is_whole || found.contains_key(Path::new(RECORD)) {
            let missing: Vec<_> =
                self.expected.keys().filter(|name| !found.contains_key(*name)).collect();
            ensure!(missing.is_empty(), "it looks whole without {missing:?}");
        }
        Ok(())
    }
}

/// Sweeps over a program in an empty folder and in one with the results of an earlier run.
fn sweep(program: &Program, most: usize) -> Result<()> {
    let (first, second) = (temporary()?, temporary()?);
    program.succeed(first.path())?;
    program.succeed(second.path())?;
    let expected = contents(first.path())?;
    let other = contents(second.path())?;
    let differs = |(name, bytes): &(&PathBuf, &Vec<u8>)| other.get(*name) != Some(*bytes);
    let differing: Vec<_> = expected.iter().filter(differs).map(|(name, _)| name).collect();
    ensure!(differing == [Path::new(RECORD)], "two runs differ in {differing:?}");
    for before in [None, Some(first.path())] {
        let state = if before.is_some() { "finished" } else { "empty" };
        let tally = Sweep { program, before, expected: &expected }.run(most)?;
        let Tally { operations, runs, errors, kills, harmless, messages_without_path } = tally;
        // Shown with --nocapture.
        eprintln!(
            "{}, {state} folder: {operations} operations, {runs} runs: {errors} errors, {kills} \
             kills, {harmless} without effect",
            program.name
        );
        ensure!(messages_without_path.is_empty(), "{messages_without_path:?}");
    }
    Ok(())
}

/// 24 inputs of eight numbers in a file of their own folder.
fn inputs() -> Result<(tempfile::TempDir, String)> {
    let folder = temporary()?;
    let path = folder.path().join("x.npy");
    let values: Vec<f32> = (0..24 * 8).map(|at| (at as f32 * 0.7).sin()).collect();
    npy::write(&path, &[24, 1, 2, 4], &values)?;
    let shown = path.display().to_string();
    Ok((folder, shown))
}

fn gram(most: usize) -> Result<()> {
    let (_folder, x) = inputs()?;
    let flags = format!("--model mlp --inputs {x} --store --edge 8 --export");
    sweep(&Program::new("gram", &flags), most)
}

fn eigen(most: usize) -> Result<()> {
    let (_folder, x) = inputs()?;
    let kernel = temporary()?;
    let flags = format!("--model mlp --inputs {x} --store --edge 8");
    Program::new("gram", &flags).succeed(kernel.path())?;
    let flags = format!("--gram {}/gram.zarr --k 3", kernel.path().display());
    sweep(&Program::new("eigen", &flags), most)
}

fn train(most: usize) -> Result<()> {
    let flags = "--model mlp --train 40 --test 20 --batch 20 --epochs 2";
    sweep(&Program::new("train", flags), most)
}

fn predict(most: usize) -> Result<()> {
    sweep(&Program::new("predict", "--model mlp --train 30 --test 10"), most)
}

fn figure(most: usize) -> Result<()> {
    let flags = "--model mlp --quick --train 40 --test 20 --batch 20 --epochs 1 --indices 1,10";
    sweep(&Program::new("fig02", flags), most)
}

#[test]
fn gram_on_a_failing_disk() -> Result<()> {
    gram(SAMPLE)
}

#[test]
fn eigen_on_a_failing_disk() -> Result<()> {
    eigen(SAMPLE)
}

#[test]
fn train_on_a_failing_disk() -> Result<()> {
    train(SAMPLE)
}

#[test]
fn predict_on_a_failing_disk() -> Result<()> {
    predict(SAMPLE)
}

#[test]
fn a_figure_on_a_failing_disk() -> Result<()> {
    figure(SAMPLE)
}

/// Every fault at every operation, or as many runs a sweep as `ENTK_FAULT_RUNS` says:
/// `cargo test --workspace faults -- --ignored --nocapture`.
#[test]
#[ignore = "takes hours"]
fn all_programs_with_every_fault() -> Result<()> {
    let runs = std::env::var("ENTK_FAULT_RUNS").ok().map(|runs| runs.parse()).transpose()?;
    let sweep = |program: &fn(usize) -> Result<()>| program(runs.unwrap_or(usize::MAX));
    [gram, eigen, train, predict, figure].iter().try_for_each(sweep)
}
