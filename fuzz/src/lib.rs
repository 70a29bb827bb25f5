//! Targets for fuzzing: one function of bytes for each parser.
//!
//! Bytes come in; a panic goes out where the parser panics, or accepts what it must not. Called by
//! libFuzzer's binaries beside this file, and over the corpora by a test of the main workspace.

pub mod parsers;

/// Hands the bytes to the target of this name.
///
/// # Panics
/// As the target, and without one.
pub fn run(name: &str, data: &[u8]) {
    let target = parsers::TARGETS.iter().find(|(target, _)| *target == name);
    target.expect("a target of this name").1(data);
}
