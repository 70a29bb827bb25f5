//! How programs end: the result of a program comes in, a message on stderr and an exit code go out.
//! Called by every main.

use std::{error::Error as StdError, io, process::ExitCode};

use anyhow::{Error, Result};
use entk::{
    data::DataError,
    device::{DeviceError, files::FileError, memory::MemoryError},
    gram::GramError,
    linearize::LinearizeError,
    models::ModelError,
    predict::PredictError,
    spectral::SpectralError,
    torch::TorchError,
    train::TrainError,
};

use crate::{cli::refused::RefusedInput, run::stderr::say};

/// The exit codes of programs, as their `--help` says them.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 2 wrong flags, 65 bad input or more memory than \
    may be used, 69 no such device, 74 a file or a full disk, 1 anything else.";

/// Exit code: a signal stopped the run, and the same command goes on.
pub const STOPPED: u8 = 75;
/// Exit code: a file could not be read or written.
const FILES: u8 = 74;
/// Exit code: an input is wrong.
const INPUT: u8 = 65;
/// Exit code: an entry of a kernel is wrong, and round-off does not explain it.
const WRONG: u8 = 70;
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

fn code(error: &Error) -> u8 {
    let any = |test: fn(&(dyn StdError + 'static)) -> bool| error.chain().any(test);
    match () {
        () if any(is_stop) => STOPPED,
        () if any(is_wrong_entry) => WRONG,
        () if any(is_absent_device) => UNAVAILABLE,
        () if any(is_failure_of_gpu) => FAILED,
        () if any(is_file) => FILES,
        () if any(is_outcome) => 1,
        () if any(is_input) => INPUT,
        () => 1,
    }
}

fn is_stop(cause: &(dyn StdError + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(GramError::Stopped))
}

fn is_wrong_entry(cause: &(dyn StdError + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(GramError::WrongEntry { .. }))
}

/// What a driver or cuBLAS says passes through the tensor library as text.
fn is_failure_of_gpu(cause: &(dyn StdError + 'static)) -> bool {
    let text = cause.to_string();
    text.contains("CUDA_ERROR") || text.contains("CUBLAS_STATUS")
}

/// Whether the file system failed; what it read may be wrong too, and is an input then.
fn is_file(cause: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind::{InvalidData, OutOfMemory, UnexpectedEof};
    let of_kind = |kind: io::ErrorKind| !matches!(kind, InvalidData | OutOfMemory | UnexpectedEof);
    let is_system = |error: &io::Error| of_kind(error.kind());
    let unreadable = |error: &SpectralError| match error {
        SpectralError::Unreadable { kind, .. } => of_kind(*kind),
        _ => false,
    };
    matches!(cause.downcast_ref(), Some(GramError::DiskSpace { .. }))
        || cause.downcast_ref::<SpectralError>().is_some_and(unreadable)
        || cause.downcast_ref::<io::Error>().is_some_and(is_system)
}

fn is_absent_device(cause: &(dyn StdError + 'static)) -> bool {
    let error = cause.downcast_ref();
    matches!(error, Some(DeviceError::Absent { .. } | DeviceError::NotCompiled { .. }))
}

/// Whether a computation with inputs in order came to no result.
fn is_outcome(cause: &(dyn StdError + 'static)) -> bool {
    use SpectralError::{NoConvergence, NotConverged, OtherRank, UntrustedSolution};
    matches!(cause.downcast_ref(), Some(TrainError::Diverged { .. }))
        || matches!(
            cause.downcast_ref(),
            Some(
                NoConvergence { .. }
                    | NotConverged { .. }
                    | OtherRank { .. }
                    | UntrustedSolution { .. }
            )
        )
}

fn is_input(cause: &(dyn StdError + 'static)) -> bool {
    cause.is::<RefusedInput>()
        || cause.is::<DataError>()
        || cause.is::<ModelError>()
        || cause.is::<TorchError>()
        || cause.is::<LinearizeError>()
        || cause.is::<GramError>()
        || cause.is::<SpectralError>()
        || cause.is::<PredictError>()
        || cause.is::<TrainError>()
        || cause.is::<MemoryError>()
        || cause.is::<FileError>()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

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
        let cut = DataError::Gzip {
            file: "x.gz".into(),
            source: io::Error::from(io::ErrorKind::UnexpectedEof),
        };
        assert_eq!(code_of(cut), INPUT);
        assert_eq!(code_of(anyhow::anyhow!("anything else")), 1);
    }
}
