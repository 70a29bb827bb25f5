//! This process as one of the ranks that MPI has started: in come its numbers, out go those of all.
//! Programs under `mpirun` or `srun` call it; the only file that knows MPI.

use entk_spectral::{Communicator, Result, SpectralError};
use mpi::{
    Threading,
    datatype::PartitionMut,
    environment::Universe,
    topology::SimpleCommunicator,
    traits::{Communicator as _, CommunicatorCollectives},
};

/// What keeps a process from being a rank.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MpiError {
    /// MPI was initialised before in this process.
    #[error("MPI is initialised already; keep the one MpiRank of the process")]
    Initialised,

    /// This MPI lets no thread call it while others run.
    #[error("this MPI gives threading {found} only, Funneled is needed; use one built for threads")]
    Threads {
        /// What it gives.
        found: String,
    },
}

/// This process among those of `mpirun` or `srun`; started by hand it is the only rank.
///
/// Only the thread that made it may call it, and others may compute beside it. A process that
/// panics ends all ranks.
pub struct MpiRank {
    world: SimpleCommunicator,
    _universe: Universe,
}

impl MpiRank {
    /// Initialises MPI. When the value is dropped MPI is finalised, which waits for all ranks.
    ///
    /// # Errors
    /// [`MpiError`].
    pub fn start() -> std::result::Result<Self, MpiError> {
        let started = mpi::initialize_with_threading(Threading::Funneled);
        let (universe, found) = started.ok_or(MpiError::Initialised)?;
        if found < Threading::Funneled {
            return Err(MpiError::Threads { found: format!("{found:?}") });
        }
        Ok(Self { world: universe.world(), _universe: universe })
    }
}

impl Communicator for MpiRank {
    fn rank(&self) -> usize {
        // MPI counts ranks from 0.
        self.world.rank().unsigned_abs() as usize
    }

    fn size(&self) -> usize {
        self.world.size().unsigned_abs() as usize
    }

    fn all_gather(&self, own: &[f64], counts: &[usize], all: &mut [f64]) -> Result<()> {
        // MPI counts in i32.
        let counted = |count: usize| {
            i32::try_from(count).map_err(|_| SpectralError::TooLarge { rows: all.len(), cols: 1 })
        };
        counted(all.len())?;
        let counts = counts.iter().map(|count| counted(*count)).collect::<Result<Vec<i32>>>()?;
        let starts =
            counts.iter().scan(0, |next, count| Some(std::mem::replace(next, *next + count)));
        let starts: Vec<i32> = starts.collect();
        let mut into = PartitionMut::new(all, counts, starts);
        self.world.all_gather_varcount_into(own, &mut into);
        Ok(())
    }
}

impl Drop for MpiRank {
    fn drop(&mut self) {
        // Finalising would wait for ranks that wait for this one.
        if std::thread::panicking() {
            self.world.abort(101);
        }
    }
}
