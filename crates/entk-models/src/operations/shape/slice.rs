//! A range of the entries along one axis, or one of them; several make a split.

use std::ops::Range;

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::axis::{taps::AxisTaps, weighted::weighted_sums},
    operations::{
        axes::ensure_axis,
        linear_map::{LinearMap, linear_operation},
    },
};

/// The entries of a range along one axis: a view; a copy where a step leaves some out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    axis: usize,
    range: Range<usize>,
    step: usize,
}

impl Slice {
    /// The entries of `range` along `axis`, counted from 0 behind N.
    pub fn new(axis: usize, range: Range<usize>) -> Self {
        Self { axis, range, step: 1 }
    }

    /// Every `step`-th entry of the range, from its first on.
    #[must_use]
    pub fn with_step(self, step: usize) -> Self {
        Self { step, ..self }
    }

    /// Equal parts of an axis of `length` entries; a rest is left out.
    pub fn split(axis: usize, length: usize, parts: usize) -> Vec<Self> {
        let part = length.checked_div(parts).unwrap_or(0);
        (0..parts).map(|at| Self::new(axis, at * part..(at + 1) * part)).collect()
    }

    fn entries(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        self.range.clone().step_by(self.step.max(1))
    }
}

impl LinearMap for Slice {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        ensure_axis("slice", self.axis, input)?;
        if self.step == 0 || self.range.is_empty() {
            return Err(ModelError::zero(format!("slice {:?}: entries and step", self.range)));
        }
        if self.range.end > input[self.axis] {
            let expected = format!("{:?} on axis {}", self.range, self.axis);
            return Err(ModelError::shape("slice", expected, input));
        }
        let mut shape = input.to_vec();
        shape[self.axis] = self.entries().count();
        Ok(shape)
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let axis = self.axis + 1;
        match self.step {
            1 => Ok(x.narrow(axis, self.range.start, self.range.len())?),
            _ => weighted_sums(x, axis, &AxisTaps::chosen(x.dim(axis)?, self.entries())),
        }
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        let axis = self.axis + 1;
        weighted_sums(dy, axis, &AxisTaps::chosen(input[axis], self.entries()).transposed())
    }
}

linear_operation!(Slice);

/// The entry of one number along an axis, which is left out of the result: a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    slice: Slice,
}

impl Select {
    /// Entry `index` along `axis`, counted from 0 behind N.
    pub fn new(axis: usize, index: usize) -> Self {
        Self { slice: Slice::new(axis, index..index + 1) }
    }
}

impl LinearMap for Select {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let mut shape = self.slice.shape(input)?;
        shape.remove(self.slice.axis);
        Ok(shape)
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.slice.apply(x)?.squeeze(self.slice.axis + 1)?)
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        self.slice.transposed(input, &dy.unsqueeze(self.slice.axis + 1)?)
    }
}

linear_operation!(Select);
