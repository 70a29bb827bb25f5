//! How long programs are stopped: signals come in and set a flag at which the work ends. Called by
//! the mains of programs that go on later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};

use crate::{cli::exit::STOPPED, run::stderr::say};

/// A flag that SIGINT, SIGTERM and SIGUSR1 set; `said` is then said on stderr. If the program has
/// not ended after `grace`, or at a second signal, it is ended: files are written under temporary
/// names, so nothing half done has a name.
///
/// # Errors
/// Those of the system.
pub fn stop_on_signals(said: &'static str, grace: Option<Duration>) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGUSR1]).context("cannot listen for signals")?;
    let flag = Arc::clone(&stop);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(STOPPED.into());
            }
            say(said);
            if let Some(grace) = grace {
                std::thread::spawn(move || {
                    std::thread::sleep(grace);
                    std::process::exit(STOPPED.into());
                });
            }
        }
    });
    Ok(stop)
}
