//! Input that a program refuses: a message that names the remedy comes in, an error that exit codes
//! can tell from failures goes out. Called wherever flags and files meet.

use std::fmt;

pub(crate) mod unused;

use anyhow::{Error, Result};

/// What is wrong with the input, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedInput(String);

impl fmt::Display for RefusedInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RefusedInput {}

/// The error of an input that is refused.
pub fn refused(message: impl Into<String>) -> Error {
    RefusedInput(message.into()).into()
}

/// Refuses the input unless it is right.
///
/// # Errors
/// The message, as [`RefusedInput`].
pub fn ensure_input(is_right: bool, message: impl FnOnce() -> String) -> Result<()> {
    if is_right { Ok(()) } else { Err(refused(message())) }
}
