//! What ranks ask of each other: in come the numbers or the failure of one rank, out goes the same
//! answer to all. The solver, distributed operators and programs over several ranks call it.

use std::sync::OnceLock;

use crate::error::{Result, SpectralError};

/// Processes, or threads, that compute one result together: rank 0 to `size() - 1`.
///
/// An implementation only carries numbers; what they mean, and how errors are agreed on, is in
/// [`Ranks`].
pub trait Communicator {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are, at least 1.
    fn size(&self) -> usize;

    /// `all` = the `counts[0]` numbers of rank 0, then the `counts[1]` of rank 1, and so on, to
    /// their last bit. Every rank calls it with equal counts, `own` being its own numbers.
    ///
    /// # Errors
    /// What cannot be carried, the same on every rank.
    fn all_gather(&self, own: &[f64], counts: &[usize], all: &mut [f64]) -> Result<()>;
}

/// The only rank of a computation in one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneRank;

impl Communicator for OneRank {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_gather(&self, own: &[f64], _: &[usize], all: &mut [f64]) -> Result<()> {
        all.copy_from_slice(own);
        Ok(())
    }
}

/// What a rank says before an exchange in place of how many numbers it has.
const FAILED: f64 = -1.0;

/// The ranks of a computation, which go on together or end together.
///
/// Every exchange begins with each rank saying whether it goes on. A rank that fails says so once,
/// in [`jointly`](Self::jointly), and all others, wherever they are, learn it at their next
/// exchange and end with [`OtherRank`](SpectralError::OtherRank); none waits for one that has left.
/// After a failure every exchange fails.
///
/// ```
/// use entk_spectral::{OneRank, Ranks};
///
/// let ranks = Ranks::new(&OneRank);
/// assert_eq!(ranks.all_gather(&[2.0, 3.0])?, [2.0, 3.0]);
/// assert!(!ranks.any(false)?);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub struct Ranks<'a> {
    communicator: &'a dyn Communicator,
    /// The first rank that failed.
    failed: OnceLock<usize>,
}

impl<'a> Ranks<'a> {
    /// Ranks over a communicator.
    pub fn new(communicator: &'a dyn Communicator) -> Self {
        Self { communicator, failed: OnceLock::new() }
    }

    /// The number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.communicator.rank()
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.communicator.size()
    }

    /// The numbers of all ranks, in the order of ranks. Called by every rank; how many numbers each
    /// has may differ.
    ///
    /// # Errors
    /// [`OtherRank`](SpectralError::OtherRank) where one has failed, and those of the communicator.
    pub fn all_gather(&self, own: &[f64]) -> Result<Vec<f64>> {
        let counts = self.say(own.len() as f64)?;
        let counts: Vec<usize> = counts.into_iter().map(|count| count as usize).collect();
        let mut all = vec![0.0; counts.iter().sum()];
        self.communicator.all_gather(own, &counts, &mut all)?;
        Ok(all)
    }

    /// Whether it is so on any rank. Called by every rank.
    ///
    /// # Errors
    /// As [`all_gather`](Self::all_gather).
    pub fn any(&self, here: bool) -> Result<bool> {
        Ok(self.say(f64::from(here))?.contains(&1.0))
    }

    /// What rank 0 says, which alone decides on time. Called by every rank.
    ///
    /// # Errors
    /// As [`all_gather`](Self::all_gather).
    pub fn first(&self, here: bool) -> Result<bool> {
        Ok(self.say(f64::from(here))?.first() == Some(&1.0))
    }

    /// Runs what all ranks do together: ends on every rank once it has ended on all, or with an
    /// error on every rank if it failed on one.
    ///
    /// # Errors
    /// That of this rank, or [`OtherRank`](SpectralError::OtherRank).
    pub fn jointly<T, E: From<SpectralError>>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let done = work();
        let agreed = match &done {
            Ok(_) => self.say(0.0),
            // What was agreed on in an exchange is known to all.
            Err(_) if self.failed.get().is_some() => return done,
            Err(_) => self.say(FAILED),
        };
        let done = done?;
        agreed?;
        Ok(done)
    }

    /// What every rank says; fails where one says that it failed.
    fn say(&self, here: f64) -> Result<Vec<f64>> {
        let failed = |rank: usize| Err(SpectralError::OtherRank { rank });
        if let Some(rank) = self.failed.get() {
            return failed(*rank);
        }
        let mut all = vec![0.0; self.size()];
        self.communicator.all_gather(&[here], &vec![1; self.size()], &mut all)?;
        match all.iter().position(|said| *said == FAILED) {
            Some(rank) => failed(*self.failed.get_or_init(|| rank)),
            None => Ok(all),
        }
    }
}

impl std::fmt::Debug for Ranks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}
