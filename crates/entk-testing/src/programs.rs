//! Built programs as their users run them: a name, a folder and flags come in, what the program
//! said goes out. Called by the tests of programs.

use std::{
    io,
    path::Path,
    process::{Command, Output},
};

use crate::files::built;

/// Commands of `entk`; other programs are examples of the workspace.
const COMMANDS: [&str; 8] =
    ["eigen", "gram", "plan", "predict", "report", "stats", "train", "verify"];

/// A command of `entk`, or another program of the workspace, by its name.
///
/// # Errors
/// As [`built`].
pub fn program(name: &str) -> io::Result<Command> {
    if !COMMANDS.contains(&name) {
        return Ok(Command::new(built(&format!("examples/{name}"))?));
    }
    let mut command = Command::new(built("entk")?);
    command.arg(name);
    Ok(command)
}

/// Runs a program to its end, with `--out`.
///
/// # Errors
/// A program that was not built or cannot be started.
pub fn run_program(name: &str, out: &Path, arguments: &[&str]) -> io::Result<Output> {
    program(name)?.arg("--out").arg(out).args(arguments).output()
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
