//! How programs end: the result of a program comes in, a message on stderr and an exit code go out.
//! Called by every main.

use std::{error::Error as StdError, process::ExitCode};

use anyhow::{Error, Result};
use entk::ErrorKind;

use crate::{cli::refused::RefusedInput, run::stderr::say};

/// The exit codes of programs, as their `--help` says them.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 2 flags that cannot be read or do not go \
    together, 65 flags or input that do not fit, or more memory than may be used, 69 no such \
    device, 70 a wrong number of a GPU, 71 a GPU that failed, 74 a file that cannot be read or \
    written, a full disk or a closed pipe, 75 stopped by a signal, 1 anything else.";

/// The exit codes of programs that compute nothing.
pub const FILE_EXIT_CODES: &str = "Exit codes: 0 done, 2 flags that cannot be read, 65 input that \
    does not fit, 74 a file that cannot be read or written, a full disk or a closed pipe, 1 \
    anything else.";

/// Exit code: a signal stopped the run, and the same command goes on.
pub const STOPPED: u8 = 75;
/// Exit code: a file could not be read or written.
const FILES: u8 = 74;
/// Exit code: an input is wrong.
const INPUT: u8 = 65;
/// Exit code: a number of a GPU is wrong, and round-off does not explain it.
pub const WRONG: u8 = 70;
/// Exit code: a GPU failed; finished tiles of a store are kept.
const FAILED: u8 = 71;
/// Exit code: there is no such device.
const UNAVAILABLE: u8 = 69;

/// Says what went wrong, if something did, and picks the [exit code](EXIT_CODES).
pub fn exit(result: Result<()>) -> ExitCode {
    result.map_or_else(|error| exit_with(&error), |()| ExitCode::SUCCESS)
}

/// Says what went wrong and picks the exit code.
pub fn exit_with(error: &Error) -> ExitCode {
    let mut said = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let text = cause.to_string();
        if depth == 0 {
            say(format_args!("error: {text}"));
        } else if !said.contains(&text) {
            say(format_args!("  because: {text}"));
        }
        said += &text;
    }
    ExitCode::from(code(error))
}

/// Prints what a command line made of its flags, a mistake, help or the version, and ends.
///
/// Help that stdout does not take is a failure of a file.
pub fn exit_without_flags(error: &clap::Error) -> ! {
    let is_lost = error.print().is_err() && !error.use_stderr();
    std::process::exit(if is_lost { FILES.into() } else { error.exit_code() })
}

fn code(error: &Error) -> u8 {
    let cause: &(dyn StdError + 'static) = error.as_ref();
    match ErrorKind::of(cause) {
        Some(ErrorKind::Stopped) => STOPPED,
        Some(ErrorKind::WrongEntry) => WRONG,
        Some(ErrorKind::NoDevice) => UNAVAILABLE,
        Some(ErrorKind::DeviceFailed) => FAILED,
        Some(ErrorKind::File) => FILES,
        Some(ErrorKind::Input | ErrorKind::Memory | ErrorKind::Numerical) => INPUT,
        None if error.is::<RefusedInput>() => INPUT,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;
    use entk::{
        data::DataError,
        device::{DeviceError, files::FileError},
        gram::GramError,
        models::ModelError,
        predict::PredictError,
        spectral::SpectralError,
        train::TrainError,
    };

    use super::*;
    use crate::cli::refused::refused;

    fn code_of<E: Into<Error>>(error: E) -> u8 {
        let wrapped: Result<()> = Err(error.into()).context("stage \"read\" failed");
        wrapped.map_or_else(|error| code(&error), |()| 0)
    }

    #[test]
    fn every_kind_of_failure_has_its_code() {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(code_of(GramError::Stopped), STOPPED);
        assert_eq!(code_of(absent()), FILES);
        let file = FileError { action: "write", path: "x".into(), source: absent() };
        assert_eq!(code_of(ModelError::from(file)), FILES);
        assert_eq!(code_of(DeviceError::NotCompiled { ordinal: 1 }), UNAVAILABLE);
        assert_eq!(code_of(refused("--n 0")), INPUT);
        assert_eq!(code_of(SpectralError::InvalidK { k: 3, available: 2 }), INPUT);
        assert_eq!(code_of(SpectralError::NoConvergence { n: 3 }), 1);
        assert_eq!(code_of(TrainError::from(SpectralError::NoConvergence { n: 3 })), 1);
        let slow = PredictError::NotConverged { iterations: 9, reached: 1.0, asked: 1e-8 };
        assert_eq!(code_of(slow), 1);
        assert_eq!(code_of(SpectralError::Overflow { quantity: "trace" }), INPUT);
        assert_eq!(code_of(entk::Error::from(SpectralError::ConstantGram { n: 3 })), INPUT);
        assert_eq!(code_of(anyhow::anyhow!("CUDA_ERROR_LAUNCH_FAILED")), FAILED);
        let cut = DataError::Gzip {
            file: "x.gz".into(),
            source: io::Error::from(io::ErrorKind::UnexpectedEof),
        };
        assert_eq!(code_of(cut), INPUT);
        assert_eq!(code_of(anyhow::anyhow!("anything else")), 1);
    }
}
