//! The zoo as it is kept: every entry is what it was, and what is not so is said.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use entk_testing::{program, run_program};

fn zoo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../zoo")
}

/// Runs `zoo verify`; whether it succeeded, and what it said.
fn verify(zoo: &Path, names: &[&str]) -> Result<(bool, String)> {
    let mut command = program("zoo")?;
    let output = command.args(["verify", "--zoo"]).arg(zoo).args(names).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn kept_kernels_are_as_they_were() -> Result<()> {
    let (is_so, said) = verify(&zoo(), &["mlp-fashion-mnist", "lenet5-fashion-mnist-classes"])?;
    ensure!(is_so && said.matches("as it was").count() == 2, "{said}");
    Ok(())
}

#[test]
fn an_added_kernel_is_verified_and_one_that_is_other_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (out, zoo) = (folder.path().join("out"), folder.path().join("zoo"));
    let place = zoo.display().to_string();
    let add = ["--zoo", &place, "--train", "60", "--test", "20", "--seed", "3"];
    let added = program("zoo")?.args(["add", "small"]).args(add).arg("--out").arg(&out).output()?;
    ensure!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    ensure!(verify(&zoo, &[])?.0);
    for (file, was, is, expected) in [
        ("entry.json", "\"3\"", "\"4\"", "weights: "),
        ("entry.json", "\"60\"", "\"61\"", "n: 80 -> 81"),
        ("entry.json", "--seed", "--depth", "--depth"),
    ] {
        let path = zoo.join("small").join(file);
        let whole = std::fs::read_to_string(&path)?;
        std::fs::write(&path, whole.replacen(was, is, 1))?;
        let (is_so, said) = verify(&zoo, &["small"])?;
        ensure!(!is_so && said.contains(expected), "{expected}: {said}");
        std::fs::write(&path, whole)?;
    }
    // The last number of the kept part, which is on its diagonal.
    let path = zoo.join("small/sample.npy");
    let mut bytes = std::fs::read(&path)?;
    let last = bytes.len() - 2;
    bytes[last] ^= 16;
    std::fs::write(&path, bytes)?;
    let (is_so, said) = verify(&zoo, &[])?;
    ensure!(!is_so && said.contains("K(63, 63) was"), "{said}");
    let absent = run_program("zoo", &out, &["verify"])?;
    ensure!(!absent.status.success(), "`verify` takes no --out");
    Ok(())
}
