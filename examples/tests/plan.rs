//! `plan` as its users run it: three ways for each number of examples, and what is refused.

use anyhow::{Context, Result, ensure};
use entk::data::npy;
use entk_testing::{example_program, normals};

#[test]
fn every_number_of_examples_has_three_ways() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("x.npy");
    npy::write(&path, &[70, 1, 8, 8], &normals(70 * 64, 1))?;
    let x = path.to_str().context("a path of text")?;
    let plan = |more: &[&str]| -> Result<(bool, String)> {
        let program = example_program("plan")?;
        let flags = ["--model", "lenet5", "--inputs", x, "--k", "5"];
        let output = std::process::Command::new(program).args(flags).args(more).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8(said)?))
    };
    let (succeeded, said) = plan(&["--n", "70,100000", "--hosts", "4", "--memory", "2"])?;
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
