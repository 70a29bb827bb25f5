//! Progress of an assembly, and the request to stop it: handed to engines, told to the caller.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{GramError, Result};

/// Told after every finished part of a tile: (entries done, entries in all), each entry counted as
/// often as it is added to. Called from worker threads.
pub type Observer<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Counts finished entries, and carries the request to stop.
pub(crate) struct Watch<'a> {
    stop: Option<&'a AtomicBool>,
    observe: &'a Observer<'a>,
    done: AtomicUsize,
    /// Entries in all, each as often as it is added to; the engine says how many.
    total: AtomicUsize,
    /// Set where a part of the work has failed, so that the rest is not worth doing.
    failed: AtomicBool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(stop: Option<&'a AtomicBool>, observe: &'a Observer<'a>) -> Self {
        let (done, total) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { stop, observe, done, total, failed: AtomicBool::new(false) }
    }

    /// So many entries will be reported.
    pub(crate) fn expect(&self, entries: usize) {
        self.total.store(entries, Ordering::Relaxed);
    }

    /// Ends the work of all who share this watch at their next [`check`](Self::check).
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// [`GramError::Stopped`] once the caller has asked for it, or a part of the work has failed.
    pub(crate) fn check(&self) -> Result<()> {
        let asked = self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        if asked || self.failed.load(Ordering::Relaxed) { Err(GramError::Stopped) } else { Ok(()) }
    }

    pub(crate) fn advance(&self, entries: usize) {
        let done = self.done.fetch_add(entries, Ordering::Relaxed) + entries;
        (self.observe)(done, self.total.load(Ordering::Relaxed));
    }
}
