//! Long work with the interpreter free: a job comes in, which runs on a thread of its own; the
//! calling thread waits, reports progress and looks for Ctrl-C. All that takes long calls it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use pyo3::prelude::*;

use crate::error::{InternalError, exception};

/// How often signals are looked for.
const BEAT: Duration = Duration::from_millis(50);
/// How long a job that was asked to stop is waited for. One that cannot stop goes on by itself, and
/// what it gives is dropped.
const PATIENCE: Duration = Duration::from_secs(2);
/// As the main thread of a process has it: deep networks are walked by recursion.
const STACK: usize = 8 << 20;

/// What a job tells, and what it is told.
#[derive(Default)]
pub(crate) struct Watch {
    stop: AtomicBool,
    done: AtomicUsize,
    total: AtomicUsize,
}

impl Watch {
    /// Set once the job is to end.
    pub(crate) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells how far the job is.
    pub(crate) fn report(&self, done: usize, total: usize) {
        self.total.store(total, Ordering::Relaxed);
        self.done.store(done, Ordering::Relaxed);
    }
}

/// The end of a job: its result, or what it panicked with.
type End<T> = Result<entk::Result<T>, Box<dyn Any + Send>>;

/// Where the job's thread leaves its end.
struct Slot<T> {
    end: Mutex<Option<End<T>>>,
    filled: Condvar,
}

impl<T> Slot<T> {
    fn put(&self, end: End<T>) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        self.filled.notify_all();
    }

    fn wait(&self, time: Duration) -> Option<End<T>> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.filled.wait_timeout_while(end, time, |end| end.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

/// The result of `job`, which runs without the interpreter's lock. `progress` is called with
/// (done, total) now and then, by the calling thread; what it raises ends the job, as does Ctrl-C.
pub(crate) fn run<T, F>(py: Python<'_>, progress: Option<&Bound<'_, PyAny>>, job: F) -> PyResult<T>
where
    T: Send + 'static,
    F: FnOnce(&Watch) -> entk::Result<T> + Send + 'static,
{
    let watch = Arc::new(Watch::default());
    let slot = Arc::new(Slot { end: Mutex::new(None), filled: Condvar::new() });
    let (of_job, to_fill) = (Arc::clone(&watch), Arc::clone(&slot));
    let work = move || to_fill.put(catch_unwind(AssertUnwindSafe(|| job(&of_job))));
    thread::Builder::new().name("entk".into()).stack_size(STACK).spawn(work)?;
    loop {
        if let Some(end) = py.detach(|| slot.wait(BEAT)) {
            // All of it is done, also where the last report was lost between two beats.
            return result(end).and_then(|value| report(&watch, progress).map(|()| value));
        }
        if let Err(raised) = py.check_signals().and_then(|()| report(&watch, progress)) {
            watch.stop.store(true, Ordering::Relaxed);
            py.detach(|| slot.wait(PATIENCE));
            return Err(raised);
        }
    }
}

fn report(watch: &Watch, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let (done, total) = (watch.done.load(Ordering::Relaxed), watch.total.load(Ordering::Relaxed));
    match progress {
        Some(call) if total > 0 => call.call1((done.min(total), total)).map(drop),
        _ => Ok(()),
    }
}

fn result<T>(end: End<T>) -> PyResult<T> {
    match end {
        Ok(result) => result.map_err(exception),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_else(|| "no words".to_owned());
            Err(InternalError::new_err(format!("a defect of entk, please report it: {text}")))
        }
    }
}
