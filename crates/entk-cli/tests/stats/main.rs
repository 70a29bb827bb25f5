//! `stats` as its users run it: against the kernel that `gram` computes, in parts, interrupted, and
//! refused.

use std::{
    path::Path,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use entk::data::npy;
use entk_cli::Record;
use entk_testing::{normals, program, program_fails, program_succeeds, run_program};

/// Images of one channel, 8 x 8, of three classes.
const N: usize = 150;
const FLAGS: [&str; 12] = [
    "--deflation",
    "4",
    "--powers",
    "1",
    "--probes",
    "8",
    "--steps",
    "2",
    "--sample",
    "60",
    "--dtype",
    "f64",
];

/// Writes x.npy and y.npy.
fn inputs(folder: &Path) -> Result<[String; 4]> {
    let (x, y) = (folder.join("x.npy"), folder.join("y.npy"));
    npy::write(&x, &[N, 1, 8, 8], &normals(N * 64, 1))?;
    npy::write(&y, &[N], &(0..N).map(|n| (n % 3) as i64).collect::<Vec<_>>())?;
    let [x, y] = [x, y].map(|path| path.display().to_string());
    Ok(["--inputs".into(), x, "--labels".into(), y])
}

fn table(folder: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(folder.join("statistics.csv"))?)
}

/// The cells of the first row of a statistic.
fn row<'t>(table: &'t str, begin: &str) -> Result<Vec<&'t str>> {
    let found = table.lines().find(|line| line.starts_with(begin));
    Ok(found.with_context(|| format!("no row {begin} in {table}"))?.split(',').collect())
}

/// Starts one of two ranks.
fn launch(out: &Path, flags: &[&str], rank: &str) -> Result<Child> {
    let of_launcher = [("OMPI_COMM_WORLD_RANK", rank), ("OMPI_COMM_WORLD_SIZE", "2")];
    let mut command = program("stats")?;
    command.args(flags).arg("--out").arg(out).envs(of_launcher);
    Ok(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

fn ensure_same(one: &Path, other: &Path) -> Result<()> {
    for file in ["statistics.csv", "spectrum.csv", "spectrum.svg", "diagonal.npy"] {
        let read = |folder: &Path| std::fs::read(folder.join(file));
        ensure!(read(one)? == read(other)?, "{file} has other bytes in {}", other.display());
    }
    Ok(())
}

#[test]
fn what_is_exact_agrees_with_the_kernel_and_parts_with_the_whole() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (whole, parts, kernel) =
        (folder.path().join("whole"), folder.path().join("parts"), folder.path().join("kernel"));
    let inputs = inputs(folder.path())?;
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let all = [&inputs[..], &FLAGS[..], &["--parts", "2"]].concat();
    program_succeeds("stats", &whole, &all)?;
    let found = table(&whole)?;

    let gram = [&inputs[..], &["--dtype", "f64", "--targets", "class:0", "--no-eigen"]].concat();
    program_succeeds("gram", &kernel, &gram)?;
    let record = Record::read(&kernel.join("record.json"))?.results;
    for (statistic, of, exact) in [
        ("trace", "", &record["trace"]),
        ("alignment", "classes 0", &record["labels"]["alignment"]),
        ("rayleigh alignment", "classes 0", &record["labels"]["rayleigh_alignment"]),
    ] {
        let value: f64 = row(&found, &format!("{statistic},{of},"))?[2].parse()?;
        let exact = exact.as_f64().context("a number")?;
        ensure!((value - exact).abs() <= 1e-12 * exact, "{statistic}: {value} {exact}");
    }
    let layers: f64 = found
        .lines()
        .filter(|line| line.starts_with("alignment of ") && line.contains(",classes 0,"))
        .filter_map(|line| line.split(',').nth(2)?.parse::<f64>().ok())
        .sum();
    let alignment: f64 = row(&found, "alignment,classes 0,")?[2].parse()?;
    ensure!((layers - alignment).abs() <= 1e-12 * alignment, "{layers} {alignment}");

    // Two ranks at once.
    let ranks = folder.path().join("ranks");
    let [first, second] =
        ["0", "1"].map(|rank| launch(&ranks, &[&inputs[..], &FLAGS].concat(), rank));
    for rank in [first?, second?] {
        let output = rank.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    ensure_same(&whole, &ranks)?;

    // Two processes, in turns.
    let mut waited = 0;
    for turn in 0..40 {
        let part = ["1", "2"][turn % 2];
        let output = run_program("stats", &parts, &[&all[..], &["--part", part]].concat())?;
        match output.status.code() {
            Some(75) => waited += 1,
            Some(0) => break,
            code => anyhow::bail!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    ensure!(waited >= 5, "{waited} starts waited for another part");
    program_succeeds("stats", &parts, &all)?;
    ensure_same(&whole, &parts)
}

#[test]
fn a_run_that_was_interrupted_gives_the_bytes_of_one_that_was_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let inputs = inputs(folder.path())?;
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let out = folder.path().join("out");
    let all = [&inputs[..], &FLAGS[..], &["--augment", "400"]].concat();
    program_succeeds("stats", &out, &all)?;
    let expected = table(&out)?;

    // Killed in pass 3, with the file of pass 2 damaged.
    let pass = |pass: usize| out.join(format!("passes/pass-{pass:03}.sum"));
    std::fs::remove_file(pass(3))?;
    let mut bytes = std::fs::read(pass(2))?;
    bytes[100] ^= 1;
    std::fs::write(pass(2), bytes)?;
    let kept = std::fs::metadata(pass(1))?.modified()?;
    program_succeeds("stats", &out, &all)?;
    ensure!(std::fs::metadata(pass(1))?.modified()? == kept, "a whole pass was computed again");
    ensure!(table(&out)? == expected, "other bytes");

    // Sums of other settings are not taken.
    program_succeeds("stats", &out, &[&all[..], &["--seed", "1"]].concat())?;
    ensure!(table(&out)? != expected, "the sums of another seed");
    Ok(())
}

#[test]
fn a_plan_is_printed_and_what_has_no_statistics_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let inputs = inputs(folder.path())?;
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let out = folder.path().join("out");
    let planned = run_program("stats", &out, &[&inputs[..], &["--dry-run"]].concat())?;
    let said = String::from_utf8_lossy(&planned.stdout).into_owned();
    ensure!(said.contains("14 passes over 150 examples, 256 columns"), "{said}");
    ensure!(!out.exists(), "a dry run leaves no trace");
    for (flags, expected) in [
        (&["--probes", "4"][..], "probes"),
        (&["--parts", "2", "--part", "3"], "--part 3: of --parts 2"),
        (&["--parts", "151"], "--parts 151: of 150 examples"),
        (&["--wait", "1"], "--wait: no other process sums a part"),
        (&["--classes", "2", "--outputs", "full"], "take trace, sum or class:K"),
    ] {
        let said = program_fails("stats", &out, &[&inputs[..], flags].concat())?;
        ensure!(said.contains(expected), "{flags:?}: {said}");
    }
    Ok(())
}
