//! How `gram` ends: signals set a flag at which the assembly stops, and an error becomes a message
//! and an exit code. Called by its main.

use std::{
    io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Error, Result};
use entk::{
    data::DataError, device::DeviceError, gram::GramError, models::ModelError, torch::TorchError,
};
use entk_examples::{RefusedInput, say};
use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};

/// Exit code: a signal stopped the run, and the same command goes on.
const STOPPED: u8 = 75;
/// Exit code: a file could not be read or written.
const FILES: u8 = 74;
/// Exit code: an input is wrong.
const INPUT: u8 = 65;
/// Exit code: there is no such device.
const UNAVAILABLE: u8 = 69;

/// Time after a signal for the tile in hand; whatever is not written by then is computed again.
const GRACE: Duration = Duration::from_secs(4);

/// A flag that SIGINT, SIGTERM and SIGUSR1 set. If the program has not ended after [`GRACE`], or at
/// a second signal, it is ended: files are written under temporary names, so nothing half done has
/// a name.
pub fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGUSR1]).context("cannot listen for signals")?;
    let flag = Arc::clone(&stop);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(STOPPED.into());
            }
            say("stopping; finished tiles are kept");
            std::thread::spawn(|| {
                std::thread::sleep(GRACE);
                std::process::exit(STOPPED.into());
            });
        }
    });
    Ok(stop)
}

/// Says what went wrong and picks the exit code.
pub fn report(error: &Error) -> ExitCode {
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
    let found = |test: fn(&GramError) -> bool| {
        error.chain().filter_map(|cause| cause.downcast_ref::<GramError>()).any(test)
    };
    if found(|error| matches!(error, GramError::Stopped)) {
        return STOPPED;
    }
    let is_file = found(|error| matches!(error, GramError::DiskSpace { .. }));
    if is_file || error.chain().any(|cause| cause.is::<io::Error>()) {
        return FILES;
    }
    let is_absent = |cause: &(dyn std::error::Error + 'static)| {
        let absent = |error: &DeviceError| {
            matches!(error, DeviceError::Absent { .. } | DeviceError::NotCompiled { .. })
        };
        cause.downcast_ref::<DeviceError>().is_some_and(absent)
    };
    if error.chain().any(is_absent) {
        return UNAVAILABLE;
    }
    let is_input = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<GramError>()
            || cause.is::<DataError>()
            || cause.is::<ModelError>()
            || cause.is::<TorchError>()
            || cause.is::<RefusedInput>()
    };
    if error.chain().any(is_input) { INPUT } else { 1 }
}
