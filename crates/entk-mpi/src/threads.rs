//! Ranks as threads of one process: in comes what each of them does, out go their results. Tests of
//! distributed code call it, which need no MPI then.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use entk_spectral::{Communicator, Result, SpectralError};

/// One exchange: every rank puts its numbers down, then every rank takes all of them.
#[derive(Default)]
struct Exchange {
    parts: Vec<Vec<f64>>,
    arrived: usize,
    taken: usize,
    /// A rank whose thread has ended by a panic.
    gone: Option<usize>,
}

struct Shared {
    exchange: Mutex<Exchange>,
    moved: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while it is so, unless a rank is gone.
    fn wait<'s>(
        &'s self,
        exchange: MutexGuard<'s, Exchange>,
        so: impl Fn(&Exchange) -> bool,
    ) -> Result<MutexGuard<'s, Exchange>> {
        let waits = |exchange: &mut Exchange| exchange.gone.is_none() && so(exchange);
        let waited = self.moved.wait_while(exchange, waits);
        let exchange = waited.unwrap_or_else(PoisonError::into_inner);
        match exchange.gone {
            Some(rank) => Err(SpectralError::OtherRank { rank }),
            None => Ok(exchange),
        }
    }
}

/// A thread that is one of several ranks; [`on_threads`] makes them.
pub struct ThreadRank<'a> {
    rank: usize,
    size: usize,
    shared: &'a Shared,
}

impl Communicator for ThreadRank<'_> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, own: &[f64], counts: &[usize], all: &mut [f64]) -> Result<()> {
        let (shared, size) = (self.shared, self.size);
        // Numbers of the exchange before that some rank has not taken yet.
        let mut exchange = shared.wait(shared.lock(), |exchange| exchange.arrived == size)?;
        exchange.parts[self.rank] = own.to_vec();
        exchange.arrived += 1;
        shared.moved.notify_all();
        let mut exchange = shared.wait(exchange, |exchange| exchange.arrived < size)?;
        let mut rest = all;
        for (part, count) in exchange.parts.iter().zip(counts) {
            let (into, after) = rest.split_at_mut(*count);
            into.copy_from_slice(part);
            rest = after;
        }
        exchange.taken += 1;
        if exchange.taken == size {
            (exchange.arrived, exchange.taken) = (0, 0);
            shared.moved.notify_all();
        }
        Ok(())
    }
}

impl Drop for ThreadRank<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.lock().gone.get_or_insert(self.rank);
            self.shared.moved.notify_all();
        }
    }
}

/// Runs `work` on so many ranks, each a thread of its own, and returns what each made of it, in the
/// order of ranks.
///
/// ```
/// use entk_mpi::on_threads;
/// use entk_spectral::Ranks;
///
/// let sums = on_threads(3, |thread| {
///     let ranks = Ranks::new(thread);
///     let all = ranks.all_gather(&[ranks.rank() as f64])?;
///     Ok::<f64, entk_spectral::SpectralError>(all.iter().sum())
/// });
/// assert_eq!(sums, [Ok(3.0), Ok(3.0), Ok(3.0)]);
/// ```
///
/// # Panics
/// As `work` does on any rank; the others fail at their next exchange.
pub fn on_threads<T: Send>(size: usize, work: impl Fn(&ThreadRank<'_>) -> T + Sync) -> Vec<T> {
    let parts = vec![Vec::new(); size];
    let exchange = Mutex::new(Exchange { parts, ..Exchange::default() });
    let (shared, work) = (&Shared { exchange, moved: Condvar::new() }, &work);
    std::thread::scope(|scope| {
        let run = |rank| scope.spawn(move || work(&ThreadRank { rank, size, shared }));
        let threads: Vec<_> = (0..size).map(run).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, T>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}
