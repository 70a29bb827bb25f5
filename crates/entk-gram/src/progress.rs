//! Progress of an assembly, and the request to stop it: handed to engines, told to the caller.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{GramError, Result};

/// Told after every finished part of a tile: (entries done, entries in all), each entry counted as
/// often as it is added to. Called from worker threads.
pub type Observer<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Counts finished entries, and carries the request to stop.
pub(crate) struct Watch<'a> {
    pub(crate) stop: Option<&'a AtomicBool>,
    pub(crate) observe: &'a Observer<'a>,
    pub(crate) done: AtomicUsize,
    /// Entries in all, each as often as it is added to; the engine says how many.
    pub(crate) total: AtomicUsize,
}

impl Watch<'_> {
    /// So many entries will be reported.
    pub(crate) fn expect(&self, entries: usize) {
        self.total.store(entries, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(GramError::Stopped),
            _ => Ok(()),
        }
    }

    pub(crate) fn advance(&self, entries: usize) {
        let done = self.done.fetch_add(entries, Ordering::Relaxed) + entries;
        (self.observe)(done, self.total.load(Ordering::Relaxed));
    }
}
