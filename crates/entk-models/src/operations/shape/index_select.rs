//! Entries of an axis by constant numbers, and all of them turned round an axis.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::axis::taps::AxisTaps,
    operations::{
        axes::{along_axes, along_axes_transposed, ensure_axis},
        linear_map::{LinearMap, linear_operation},
    },
};

/// The entries of these numbers along an axis, in this order and any number of times, as
/// `torch.index_select`. Cost: one pass over the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSelect {
    axis: usize,
    indices: Vec<usize>,
}

impl IndexSelect {
    /// Entries `indices` along `axis`, counted from 0 behind N.
    pub fn new(axis: usize, indices: Vec<usize>) -> Self {
        Self { axis, indices }
    }

    fn table(&self, entries: usize) -> Vec<(usize, AxisTaps)> {
        vec![(self.axis, AxisTaps::chosen(entries, self.indices.iter().copied()))]
    }
}

impl LinearMap for IndexSelect {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        ensure_axis("index select", self.axis, input)?;
        if let Some(index) = self.indices.iter().find(|index| **index >= input[self.axis]) {
            let expected = format!("an entry {index} on axis {}", self.axis);
            return Err(ModelError::shape("index select", expected, input));
        }
        let mut shape = input.to_vec();
        shape[self.axis] = self.indices.len();
        Ok(shape)
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        along_axes(x, self.table(x.dim(self.axis + 1)?))
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        along_axes_transposed(dy, self.table(input[self.axis + 1]))
    }
}

linear_operation!(IndexSelect);

/// The entries of an axis moved on by a number of places, the last ones to the front, as
/// `torch.roll`. Cost: one pass over the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roll {
    axis: usize,
    shift: isize,
}

impl Roll {
    /// By `shift` places towards the end of `axis`, counted from 0 behind N.
    pub fn new(axis: usize, shift: isize) -> Self {
        Self { axis, shift }
    }

    fn table(&self, entries: usize) -> Vec<(usize, AxisTaps)> {
        let shift = self.shift.rem_euclid(entries.max(1) as isize) as usize;
        let source = |place| (place + entries - shift) % entries;
        vec![(self.axis, AxisTaps::chosen(entries, (0..entries).map(source)))]
    }
}

impl LinearMap for Roll {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        ensure_axis("roll", self.axis, input)?;
        Ok(input.to_vec())
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        along_axes(x, self.table(x.dim(self.axis + 1)?))
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        along_axes_transposed(dy, self.table(input[self.axis + 1]))
    }
}

linear_operation!(Roll);
