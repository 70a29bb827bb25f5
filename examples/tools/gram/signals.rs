//! How `gram` is stopped: signals come in and set a flag at which the assembly ends. Called by its
//! main.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use entk_examples::{STOPPED, say};
use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGUSR1},
    iterator::Signals,
};

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
