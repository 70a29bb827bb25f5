//! `gram --store` as its users run it: planned, in parts, stopped, continued.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use entk::gram::Store;
use entk_cli::Record;
use entk_testing::program;

/// What schedulers and launchers tell a process.
const OF_LAUNCHERS: [&str; 5] = [
    "SLURM_ARRAY_TASK_ID",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "SLURM_PROCID",
    "SLURM_STEP_NUM_TASKS",
];

/// The program, launched by nobody.
fn alone() -> Result<Command> {
    let mut command = program("gram")?;
    OF_LAUNCHERS.iter().for_each(|name| {
        command.env_remove(name);
    });
    Ok(command)
}

fn gram(out: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = alone()?;
    Ok(command.args(arguments).arg("--out").arg(out).output()?)
}

/// Runs it, expects this exit code, and returns stdout and stderr.
fn run(out: &Path, arguments: &[&str], code: i32) -> Result<(String, String)> {
    let output = gram(out, arguments)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.code() == Some(code), "{arguments:?}: {:?}: {stderr}", output.status);
    ensure!(!stderr.contains("panicked"), "{stderr}");
    Ok((stdout, stderr))
}

const SMALL: [&str; 5] = ["--n", "60", "--store", "--edge", "16"];

#[test]
fn parts_and_finish_give_the_kernel_of_one_run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    run(&whole, &["--n", "60"], 0)?;
    for part in ["2/3", "3/3"] {
        run(&parts, &[&SMALL[..], &["--part", part]].concat(), 0)?;
    }
    let (_, stderr) = run(&parts, &["finish"], 65)?;
    assert!(stderr.contains("3 of 10 tiles are missing"), "{stderr}");
    assert_eq!(run(&parts, &["missing", "--parts", "3"], 0)?.0, "1\n");
    assert_eq!(run(&parts, &["missing", "--parts", "5"], 0)?.0, "1,2\n");
    run(&parts, &[&SMALL[..], &["--part", "1/3"]].concat(), 0)?;
    let (stdout, _) = run(&parts, &["finish", "--export"], 0)?;
    assert!(stdout.contains("10 tiles"), "{stdout}");
    assert_eq!(run(&parts, &["missing", "--parts", "3"], 0)?.0, "\n");
    let file = |folder: &Path| std::fs::read(folder.join("gram.npy"));
    assert!(file(&parts)? == file(&whole)?, "the exported kernel has the bytes of the other");

    // The same command without a part goes on to the eigenpairs; no tile is computed again.
    run(&parts, &SMALL, 0)?;
    let record = Record::read(&parts.join("record.json"))?;
    assert_eq!(record.results["kept_tiles"], 10);
    let eigen = |folder: &Path| std::fs::read(folder.join("eigvals.npy"));
    assert!(eigen(&parts)? == eigen(&whole)?);

    let (_, stderr) = run(&parts, &[&SMALL[..], &["--seed", "1"]].concat(), 65)?;
    assert!(stderr.contains("weights: ") && stderr.contains("inputs: "), "{stderr}");
    Ok(())
}

/// Runs it with these variables, and says of which part it was.
fn launched(out: &Path, variables: &[(&str, &str)]) -> Result<String> {
    let output = alone()?
        .args(SMALL)
        .arg("--out")
        .arg(out)
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{variables:?}: {said}");
    Ok(said)
}

#[test]
fn tasks_of_an_array_and_ranks_of_a_launcher_are_parts() -> Result<()> {
    let array = |id: &'static str| {
        vec![
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_MIN", "5"),
            ("SLURM_ARRAY_TASK_COUNT", "3"),
        ]
    };
    let ranks =
        |[rank, size]: [&'static str; 2]| ["2", "0", "1"].map(|at| vec![(rank, at), (size, "3")]);
    for tasks in [
        ["7", "5", "6"].map(array),
        ranks(["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"]),
        ranks(["PMI_RANK", "PMI_SIZE"]),
        ranks(["SLURM_PROCID", "SLURM_STEP_NUM_TASKS"]),
    ] {
        let folder = tempfile::tempdir()?;
        for task in &tasks[..2] {
            launched(folder.path(), task)?;
        }
        // Each has computed its own tiles only.
        run(folder.path(), &["finish"], 65)?;
        launched(folder.path(), &tasks[2])?;
        run(folder.path(), &["finish"], 0)?;
    }
    Ok(())
}

#[test]
fn a_plan_is_shown_and_kept_to() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (stdout, _) = run(folder.path(), &["--n", "2000", "--dry-run"], 0)?;
    for part in ["fc1.weight", "gradient factors", "kernel, full", "peak", "operations"] {
        assert!(stdout.contains(part), "{part:?} not in {stdout}");
    }
    assert!(!folder.path().join("gram.npy").exists());
    let (_, stderr) = run(folder.path(), &["--n", "6000", "--max-memory", "150MB"], 65)?;
    for part in ["this run needs", "the given limit", "kernel, full", "help: a store on disk"] {
        assert!(stderr.contains(part), "{part:?} not in {stderr}");
    }
    assert!(!folder.path().join("record.json").exists());
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_signal_stops_it_within_seconds_and_it_continues() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Tiles of one example: more work than the test waits for.
    let slow = ["--n", "3000", "--store", "--edge", "16", "--no-eigen"];
    let mut child = program("gram")?
        .args(slow)
        .arg("--out")
        .arg(folder.path())
        .stderr(Stdio::null())
        .spawn()?;
    let store = folder.path().join("gram.zarr");
    let started = Instant::now();
    while !store.join("c/5/0").exists() {
        ensure!(started.elapsed() < Duration::from_secs(60), "no tile in a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    let asked = Instant::now();
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    assert_eq!(child.wait()?.code(), Some(75));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(!folder.path().join("record.json").exists());
    let store = Store::open_partial(&store)?;
    let left = store.missing()?.len();
    assert!(left > 0 && left < store.grid().lower().count());
    Ok(())
}

#[test]
fn given_products_of_inputs_change_no_byte() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let products = folder.path().join("inputs.zarr");
    let given = [&SMALL[..], &["--no-eigen", "--export", "--input-gram"]].concat();
    let given = [&given[..], &[products.to_str().context("a path in UTF-8")?]].concat();
    let file = |folder: &Path| std::fs::read(folder.join("gram.npy"));
    let [alone, first, second, other] =
        ["alone", "first", "second", "other"].map(|name| folder.path().join(name));
    run(&alone, &["--n", "60", "--no-eigen"], 0)?;
    run(&first, &given, 0)?;
    let written = products.join("commit.json").metadata()?.modified()?;
    run(&second, &given, 0)?;
    assert!(file(&first)? == file(&alone)? && file(&second)? == file(&alone)?);
    assert_eq!(products.join("commit.json").metadata()?.modified()?, written, "computed once");
    let (_, stderr) = run(&other, &[&given[..], &["--model", "lenet5"]].concat(), 65)?;
    assert!(stderr.contains("first layer is dense"), "{stderr}");
    Ok(())
}

/// A file system of 8 MiB in memory, unmounted at the end; `None` where one may not be mounted.
#[cfg(target_os = "linux")]
struct SmallDisk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount() -> Result<Option<Self>> {
        let disk = Self(tempfile::tempdir()?);
        Ok(disk.with(&["-t", "tmpfs", "-o", "size=8m", "tmpfs"])?.then_some(disk))
    }

    fn with(&self, arguments: &[&str]) -> Result<bool> {
        let output = Command::new("mount").args(arguments).arg(self.0.path()).output();
        Ok(output.is_ok_and(|output| output.status.success()))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_with_74_and_the_run_continues_with_more_room() -> Result<()> {
    let Some(disk) = SmallDisk::mount()? else {
        eprintln!("skipped: this user may not mount a file system of 8 MiB");
        return Ok(());
    };
    // 36 tiles of 256 KiB: refused before anything is computed.
    let folder = disk.0.path();
    let large = ["--n", "2000", "--store", "--edge", "256", "--no-eigen"];
    let (_, stderr) = run(folder, &large, 74)?;
    assert!(stderr.contains("are free"), "{stderr}");
    // 120 tiles of 64 KiB: they seem to fit, but files take whole pages.
    let tight = ["--n", "1900", "--store", "--edge", "128", "--no-eigen"];
    std::fs::remove_dir_all(folder.join("gram.zarr"))?;
    let (_, stderr) = run(folder, &tight, 74)?;
    assert!(stderr.contains("No space left"), "{stderr}");
    let kept = 120 - Store::open_partial(folder.join("gram.zarr"))?.missing()?.len();
    assert!(kept > 0);

    ensure!(disk.with(&["-o", "remount,size=32m"])?, "remounting a mounted file system");
    run(folder, &tight, 0)?;
    let record = Record::read(&folder.join("record.json"))?;
    assert_eq!(record.results["kept_tiles"], kept);
    Ok(())
}
