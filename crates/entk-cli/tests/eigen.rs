//! `eigen` and `plan` as their users run them: the same pairs with a Gram and without, stopped and
//! continued, what they cost, and what is refused.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use entk::data::npy;
use entk_cli::Record;
use entk_testing::{normals, program, program_fails, program_succeeds};

/// Round-off of f64 over a spectrum that falls to 1e-4, and the tolerance of the solves.
const TOLERANCE: f64 = 1e-9;

fn inputs(path: &Path, count: usize) -> Result<String> {
    let pixels: Vec<f32> = normals(count * 64, 1).iter().map(|x| *x as f32).collect();
    npy::write(path, &[count, 1, 8, 8], &pixels)?;
    Ok(path.to_str().context("a path of text")?.to_owned())
}

fn values(out: &Path) -> Result<Vec<f64>> {
    Ok(npy::read(out.join("eigvals.npy"))?.to_f64())
}

#[test]
fn pairs_without_a_gram_are_those_of_the_gram() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let x = inputs(&path("x.npy"), 600)?;
    for (name, more) in [("one", vec![]), ("sum", vec!["--classes", "3", "--outputs", "sum"])] {
        let model =
            [&["--model", "lenet5", "--dtype", "f64", "--inputs", &x], more.as_slice()].concat();
        let (gram, formed, free) = (
            path(&format!("gram-{name}")),
            path(&format!("formed-{name}")),
            path(&format!("free-{name}")),
        );
        program_succeeds("gram", &gram, &[&model[..], &["--no-eigen"]].concat())?;
        let kernel = gram.join("gram.npy");
        let kernel = kernel.to_str().context("a path of text")?;
        program_succeeds("eigen", &formed, &["--gram", kernel, "--k", "20"])?;
        let solved = program_succeeds(
            "eigen",
            &free,
            &[&model[..], &["--matrix-free", "--k", "20"]].concat(),
        )?;
        ensure!(solved.contains("parameters with a gradient"), "{solved}");
        let (formed, found) = (values(&formed)?, values(&free)?);
        for (a, b) in found.iter().zip(&formed) {
            ensure!((a - b).abs() <= TOLERANCE * formed[0], "{name}: {a} {b}");
        }
        // Without the flag the quicker way is taken, which both are right in.
        let chosen = path(&format!("chosen-{name}"));
        let said = program_succeeds("eigen", &chosen, &[&model[..], &["--k", "20"]].concat())?;
        ensure!(said.contains("quickest:") && !said.contains("does not fit"), "{said}");
        for (a, b) in values(&chosen)?.iter().zip(&formed) {
            ensure!((a - b).abs() <= TOLERANCE * formed[0], "{name}: {a} {b}");
        }
        let record = Record::read(&chosen.join("record.json"))?;
        ensure!(["Gram", "MatrixFree"].map(Into::into).contains(&record.results["way"]));
        let record = Record::read(&free.join("record.json"))?;
        ensure!(record.results["worst_residual"].as_f64().is_some_and(|r| r <= 1e-10));
    }
    Ok(())
}

#[test]
fn copies_of_images_are_more_rows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (x, out) = (inputs(&folder.path().join("x.npy"), 50)?, folder.path().join("out"));
    let flags = ["--matrix-free", "--model", "mlp", "--inputs", &x, "--augment", "170", "--k", "3"];
    program_succeeds("eigen", &out, &flags)?;
    assert_eq!(npy::read(out.join("eigvecs.npy"))?.shape(), [3, 170]);
    Ok(())
}

/// A signal ends the run after a block, with a checkpoint; the same command gives the bytes of an
/// undisturbed run and leaves no checkpoint.
#[cfg(unix)]
#[test]
fn a_stopped_solve_goes_on_with_the_same_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let n = 1500;
    // A spectrum without gaps takes many products.
    let rows = normals(n * 64, 3);
    let row = |i: usize| &rows[i * 64..(i + 1) * 64];
    let entry = |at: usize| {
        let (i, j) = (at / n, at % n);
        let dot: f64 = row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum();
        dot.tanh() + if i == j { 64.0 } else { 0.0 }
    };
    npy::write(path("gram.npy"), &[n, n], &(0..n * n).map(entry).collect::<Vec<f64>>())?;
    let gram = path("gram.npy");
    let gram = gram.to_str().context("a path of text")?;
    let flags = ["--gram", gram, "--k", "200", "--block", "4", "--tolerance", "1e-12"];
    program_succeeds("eigen", &path("whole"), &flags)?;

    let out = path("out");
    let mut child = program("eigen")?;
    child.args(flags).arg("--out").arg(&out).stderr(Stdio::null());
    let mut child = child.spawn()?;
    let checkpoints = || -> Result<usize> {
        let Ok(files) = std::fs::read_dir(&out) else { return Ok(0) };
        let names = files.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
        Ok(names.collect::<Result<Vec<_>>>()?.iter().filter(|n| n.ends_with(".checkpoint")).count())
    };
    sleep(Duration::from_millis(1500));
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    let code = child.wait()?.code();
    // A fast machine may have ended before the signal, a slow one not have begun.
    ensure!(matches!(code, Some(75 | 0)) || code.is_none(), "{code:?}");
    if code == Some(75) {
        ensure!(!out.join("record.json").exists());
    }
    let resumes = checkpoints()? == 1;
    let said = program_succeeds("eigen", &out, &flags)?;
    assert_eq!(said.contains("going on from"), resumes, "{said}");
    assert_eq!(checkpoints()?, 0);
    for file in ["eigvals.npy", "eigvecs.npy", "certificate.json"] {
        let bytes = |folder: &Path| std::fs::read(folder.join(file));
        assert!(bytes(&out)? == bytes(&path("whole"))?, "{file}");
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (x, out) = (inputs(&folder.path().join("x.npy"), 20)?, folder.path().join("out"));
    let free = ["--matrix-free", "--model", "mlp", "--inputs", &x];
    for (flags, said) in [
        (vec![], "--gram"),
        (vec!["--matrix-free"], "--inputs"),
        (vec!["--inputs", &x, "--gram", "x.npy"], "cannot be used with"),
        ([&free[..], &["--k", "21"]].concat(), "rank 20 at most"),
        ([&free[..], &["--k", "2", "--outputs", "pairs"]].concat(), "pairs"),
        ([&free[..], &["--k", "2", "--classes", "3", "--outputs", "class:3"]].concat(), "class:3"),
        (vec!["--gram", &x, "--outputs", "sum"], "--classes"),
        (vec!["--gram", &x], "square"),
    ] {
        let stderr = program_fails("eigen", &out, &flags)?;
        assert!(stderr.contains(said), "{flags:?}: {stderr}");
    }
    Ok(())
}

#[test]
fn plan_prints_three_ways_for_every_number_of_examples() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.npy");
    npy::write(&path, &[70, 1, 8, 8], &normals(70 * 64, 1))?;
    let x = path.to_str().context("a path of text")?;
    let plan = |more: &[&str]| -> Result<(bool, String)> {
        let flags = ["--model", "lenet5", "--inputs", x, "--k", "5"];
        let output = program("plan")?.args(flags).args(more).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8(said)?))
    };
    let (succeeded, said) = plan(&["--n", "70,100000", "--hosts", "4", "--memory", "2GiB"])?;
    ensure!(succeeded, "{said}");
    for way in ["Gram in memory", "Gram in a store", "matrix-free"] {
        ensure!(said.matches(way).count() >= 2, "{way}: {said}");
    }
    ensure!(said.contains("5 eigenpairs of 100000 rows") && said.contains("4 hosts of 2.00 GiB"));
    // 100,000 rows: 40 GB over four hosts.
    ensure!(said.contains("does not fit"), "{said}");
    for (wrong, named) in
        [(["--n", "0"], "--n"), (["--disk", "0"], "--disk"), (["--k", "x"], "--k")]
    {
        let (succeeded, said) = plan(&wrong)?;
        ensure!(!succeeded && said.contains(named), "{wrong:?}: {said}");
    }
    Ok(())
}
