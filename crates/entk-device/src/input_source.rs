//! Where examples come from: a tensor, or anything that gives some of them at a time, so that
//! memory need not hold them all. Files and augmented images implement it; operators and statistics
//! read it.

use std::ops::Range;

use candle_core::{Result as TensorResult, Tensor};

/// Examples that are read some at a time, the same ones whenever they are asked for.
pub trait InputSource: Sync {
    /// Number of examples N, at least 1.
    fn examples(&self) -> usize;

    /// The examples of a range within 0..N, (len, ..) as the model takes them.
    ///
    /// # Errors
    /// Whatever keeps them from being read, as [`candle_core::Error::wrap`] takes it.
    fn read(&self, range: Range<usize>) -> TensorResult<Tensor>;
}

impl InputSource for Tensor {
    fn examples(&self) -> usize {
        self.dims().first().copied().unwrap_or(0)
    }

    fn read(&self, range: Range<usize>) -> TensorResult<Tensor> {
        self.narrow(0, range.start, range.len())
    }
}
