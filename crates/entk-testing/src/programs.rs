//! Built programs as their users run them: a name, a folder and flags come in, what the program
//! said goes out. Called by the tests of programs.

use std::{
    io,
    path::Path,
    process::{Command, Output},
};

use crate::files::example_program;

/// Runs a built example to its end, with `--out`.
///
/// # Errors
/// A program that was not built or cannot be started.
pub fn run_program(name: &str, out: &Path, arguments: &[&str]) -> io::Result<Output> {
    Command::new(example_program(name)?).arg("--out").arg(out).args(arguments).output()
}

/// Runs it, expects success, and returns what it says on stderr.
///
/// # Errors
/// A program that fails, with its message.
pub fn program_succeeds(name: &str, out: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = run_program(name, out, arguments)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    expected(output.status.success(), || format!("{name} {arguments:?}: {stderr}"))?;
    Ok(stderr)
}

/// Runs it, expects an error without record.json, and returns the message.
///
/// # Errors
/// A program that succeeds, panics or leaves a record.
pub fn program_fails(name: &str, out: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = run_program(name, out, arguments)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    expected(!output.status.success(), || format!("{name} {arguments:?} succeeded"))?;
    expected(!stderr.contains("panicked"), || stderr.clone())?;
    let record = out.join("record.json");
    expected(!record.exists(), || "a failed run left a record".to_owned())?;
    Ok(stderr)
}

fn expected(holds: bool, otherwise: impl Fn() -> String) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(otherwise())) }
}
