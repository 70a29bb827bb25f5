//! A solve that can be stopped: an operator comes in, certified pairs go out; between two blocks a
//! checkpoint is written to the folder of the results, from which the same command goes on. Called
//! for kernels that are assembled and for those that are not, by the only rank or by each of many.

use std::{
    cell::OnceCell,
    io::{ErrorKind, Write, sink},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use entk::{
    device::files::{self, FileError},
    gram::GramError,
    spectral::{
        CertifiedPairs, EigshProgress, EigshRun, Gram, LinearOperator, SpectralError,
        SymmetricOperator,
    },
};
use entk_cli::{Key, Run, Stage, say};

use crate::commands::eigen::flags::Flags;

/// What a signal makes the program say.
pub const STOPPING: &str = "stopping after this block of columns, with a checkpoint";

/// The shortest time between two checkpoints.
const BETWEEN: Duration = Duration::from_secs(10);
/// Checkpoints take at most one in so many parts of the time.
const SHARE: u32 = 20;

/// What every solve of this program needs.
pub struct Solve<'a> {
    pub run: &'a Run,
    pub flags: &'a Flags,
    /// Set by a signal.
    pub stop: &'a AtomicBool,
    /// Among the ranks of this solve; the first writes.
    rank: usize,
    checkpoint: OnceCell<PathBuf>,
}

impl<'a> Solve<'a> {
    pub fn new(run: &'a Run, flags: &'a Flags, stop: &'a AtomicBool) -> Self {
        Self { run, flags, stop, rank: 0, checkpoint: OnceCell::new() }
    }

    /// The share of a rank in a solve of several.
    #[cfg(feature = "mpi")]
    pub fn of_rank(self, rank: usize) -> Self {
        Self { rank, ..self }
    }

    /// The pairs of a Gram in memory.
    pub fn gram(&self, gram: &Gram) -> Result<CertifiedPairs> {
        self.pairs(gram, &gram.diagonal())
    }

    /// The pairs of an operator; `identity` tells it from others.
    pub fn pairs<K: SymmetricOperator>(
        &self,
        operator: &K,
        identity: &impl serde::Serialize,
    ) -> Result<CertifiedPairs> {
        let k = self.flags.k(operator.n());
        self.solve(identity, k, |run| run.pairs(operator, k))
    }

    /// `k` pairs of A A^T, as [`pairs`](Self::pairs).
    pub fn row_gram_pairs<A: LinearOperator>(
        &self,
        operator: &A,
        k: usize,
        identity: &impl serde::Serialize,
    ) -> Result<CertifiedPairs> {
        self.solve(identity, k, |run| run.row_gram_pairs(operator, k))
    }

    /// Whether a solve with this identity has left a checkpoint.
    pub fn was_stopped(&self, identity: &impl serde::Serialize) -> Result<bool> {
        Ok(self.path(identity)?.exists())
    }

    /// Where the checkpoint of a solve is.
    fn path(&self, identity: &impl serde::Serialize) -> Result<PathBuf> {
        let key = Key::new("eigen").with("flags", self.flags)?.with("kernel", identity)?;
        Ok(self.run.folder().file(&format!("eigen-{key}.checkpoint")))
    }

    /// Removes the checkpoint; called when the results are there.
    pub fn end(self) {
        if let Some(path) = self.checkpoint.get() {
            let _ = files::remove(path); // What stays is not read by another command.
        }
    }

    /// What `solver` makes of a run for `k` pairs with these settings, observed and resumed.
    pub fn solve<T>(
        &self,
        identity: &impl serde::Serialize,
        k: usize,
        solver: impl FnOnce(EigshRun<'_>) -> std::result::Result<T, SpectralError>,
    ) -> Result<T> {
        let path = self.path(identity)?;
        let path = self.checkpoint.get_or_init(|| path);
        let found = self.run.stage("eigenpairs", k as u64, |stage| {
            let first = self.rank == 0;
            let mut checkpoints =
                Checkpoints { path, first, written: Instant::now(), between: BETWEEN };
            self.solve_from(path, stage, &mut checkpoints, solver)
        });
        match found {
            Err(_) if self.stop.load(Ordering::Relaxed) => Err(GramError::Stopped.into()),
            found => found,
        }
    }

    fn solve_from<T>(
        &self,
        path: &Path,
        stage: &Stage,
        checkpoints: &mut Checkpoints<'_>,
        solver: impl FnOnce(EigshRun<'_>) -> std::result::Result<T, SpectralError>,
    ) -> Result<T> {
        let config = self.flags.config()?;
        let (mut failed, mut stopped) = (None, false);
        let mut observe = |progress: &EigshProgress<'_>| {
            stage.set_done(progress.locked() as u64);
            stage.message(format!("{} products", progress.products()));
            stopped = progress.any(self.stop.load(Ordering::Relaxed));
            failed = checkpoints.write(progress, stopped).err();
            if stopped || failed.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let run = EigshRun::new(&config).observed(&mut observe);
        let found = match files::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => solver(run),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
            Ok(mut file) => {
                if self.rank == 0 {
                    say(format_args!("going on from {}", path.display()));
                }
                solver(run.resumed(&mut file))
            }
        };
        if let Some(error) = failed {
            return Err(error.into());
        }
        found.map_err(|error| match error {
            SpectralError::Stopped { .. } if stopped => GramError::Stopped.into(),
            // The first rank could not write the checkpoint.
            SpectralError::Stopped { .. } => SpectralError::OtherRank { rank: 0 }.into(),
            SpectralError::Checkpoint { .. } => {
                anyhow::Error::new(error).context(path.display().to_string())
            }
            error => error.into(),
        })
    }
}

/// When checkpoints are written.
struct Checkpoints<'a> {
    path: &'a Path,
    /// Whether this rank writes them.
    first: bool,
    /// When the last one was.
    written: Instant,
    between: Duration,
}

impl Checkpoints<'_> {
    /// Writes a checkpoint where it is time, or `now`; the others pass their rows to the first
    /// rank.
    fn write(&mut self, progress: &EigshProgress<'_>, now: bool) -> Result<(), FileError> {
        if !now && !progress.first(self.written.elapsed() >= self.between) {
            return Ok(());
        }
        let begin = Instant::now();
        let mut passed = false;
        let mut pass = |out: &mut dyn Write| {
            passed = true;
            progress.write(out).map_err(FileError::new("write", self.path))
        };
        let written = match self.first {
            true => files::write_with(self.path, |out| pass(out)),
            false => pass(&mut sink()),
        };
        if !passed {
            // Where no file can be made, the others still wait for the rows of this rank.
            let _ = progress.write(&mut sink());
        }
        written?;
        self.between = BETWEEN.max(SHARE * begin.elapsed());
        self.written = Instant::now();
        Ok(())
    }
}
