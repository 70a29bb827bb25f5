//! From the number of examples, the batch size and a seed to the minibatches of any epoch.
//!
//! [`fit`](crate::fit) and [`DualSgd`](crate::DualSgd) both take their steps in this order, so that
//! their results can be compared step by step.

use rand::{SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};

use crate::error::{Result, TrainError};

/// Keeps these random numbers apart from others drawn with the same seed.
const STREAM: [u8; 16] = *b"entk minibatches";

/// The order in which SGD visits N examples: a function of N, the batch size and a seed alone.
///
/// Each epoch is a fresh permutation of 0..N, cut into floor(N / batch) minibatches; the incomplete
/// last one is dropped, as in the paper. Epoch e has a ChaCha8 stream of its own, so it can be had
/// without the epochs before it. Solvers given the same `Minibatches` take the same steps on the
/// same data, whatever space they work in.
///
/// ```
/// use entk_train::Minibatches;
///
/// let batches = Minibatches::new(10, 4, 7)?;
/// assert_eq!(batches.per_epoch(), 2);
/// let epoch = batches.epoch(1);
/// assert!(epoch.iter().all(|indices| indices.len() == 4));
/// assert_ne!(epoch, batches.epoch(2));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minibatches {
    examples: u32,
    batch: usize,
    seed: u64,
}

impl Minibatches {
    /// Minibatches of `batch` out of `examples` examples.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for a batch of 0, [`TrainError::TooFewExamples`] if no minibatch can
    /// be filled, [`TrainError::TooManyExamples`] for more than 2^32 - 1 examples.
    pub fn new(examples: usize, batch: usize, seed: u64) -> Result<Self> {
        if batch == 0 {
            return Err(TrainError::Setting { field: "batch", found: 0.0, range: "at least 1" });
        }
        if examples < batch {
            return Err(TrainError::TooFewExamples { examples, batch });
        }
        let examples =
            u32::try_from(examples).map_err(|_| TrainError::TooManyExamples { examples })?;
        Ok(Self { examples, batch, seed })
    }

    /// Minibatches, that is steps, of one epoch: floor(N / batch).
    #[must_use]
    pub fn per_epoch(&self) -> usize {
        self.examples as usize / self.batch
    }

    /// The minibatches of epoch `epoch`, counted from 1 as in
    /// [`EpochRecord`](crate::EpochRecord). Cost: one shuffle of N indices.
    #[must_use]
    pub fn epoch(&self, epoch: usize) -> EpochOrder {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&(epoch as u64).to_le_bytes());
        key[16..].copy_from_slice(&STREAM);
        let mut order: Vec<u32> = (0..self.examples).collect();
        order.shuffle(&mut ChaCha8Rng::from_seed(key));
        order.truncate(self.per_epoch() * self.batch);
        EpochOrder { order, batch: self.batch }
    }
}

/// The minibatches of one epoch, from [`Minibatches::epoch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochOrder {
    order: Vec<u32>,
    batch: usize,
}

impl EpochOrder {
    /// The indices of each minibatch, in the order of the steps; all of the same length.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.order.chunks_exact(self.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_pinned() {
        // A change here changes every published result: it needs a new major version.
        let order = Minibatches::new(9, 4, 1).expect("nine fill two").epoch(1).order;
        assert_eq!(order, [8, 6, 3, 1, 5, 0, 7, 4]);
    }
}
