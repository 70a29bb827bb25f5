//! Lines for a person: text comes in and goes to stderr. Called wherever a program says something.

use std::{
    fmt::Display,
    io::{Write, stderr},
};

/// Writes a line to stderr. Where that is full or closed the line is lost, and nothing else: a log
/// on a full disk must not cost the results.
pub fn say(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}
