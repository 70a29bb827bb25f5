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

/// Some consecutive examples of a source, counted from 0.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use entk_device::{InputSource, SourceRange};
///
/// let all = Tensor::arange(0.0_f64, 10.0, &Device::Cpu)?;
/// let part = SourceRange { source: &all, range: 4..7 };
/// assert_eq!(part.examples(), 3);
/// assert_eq!(part.read(1..3)?.to_vec1::<f64>()?, [5.0, 6.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SourceRange<'a> {
    /// The examples of which these are some.
    pub source: &'a dyn InputSource,
    /// Which ones, within 0..N.
    pub range: Range<usize>,
}

impl InputSource for SourceRange<'_> {
    fn examples(&self) -> usize {
        self.range.len()
    }

    fn read(&self, range: Range<usize>) -> TensorResult<Tensor> {
        let first = self.range.start;
        self.source.read(first + range.start..first + range.end)
    }
}

impl InputSource for Tensor {
    fn examples(&self) -> usize {
        self.dims().first().copied().unwrap_or(0)
    }

    fn read(&self, range: Range<usize>) -> TensorResult<Tensor> {
        self.narrow(0, range.start, range.len())
    }
}
