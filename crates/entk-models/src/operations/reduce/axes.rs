//! The axes that a reduction runs over: they go in as numbers, neighbouring ones come out as one.

use std::ops::Range;

use crate::error::{ModelError, Result};

/// Axes of one example, counted from 0 behind N, and whether they are kept with length 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReducedAxes {
    /// Ascending.
    axes: Vec<usize>,
    keep: bool,
}

impl ReducedAxes {
    pub(crate) fn new(axes: &[usize]) -> Self {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        Self { axes, keep: false }
    }

    pub(crate) fn kept(self) -> Self {
        Self { keep: true, ..self }
    }

    /// Shape of one example's result.
    pub(crate) fn shape(&self, what: &str, input: &[usize]) -> Result<Vec<usize>> {
        let fits = self.axes.windows(2).all(|pair| pair[0] < pair[1])
            && self.axes.iter().all(|axis| input.get(*axis).is_some_and(|length| *length > 0));
        if !fits || self.axes.is_empty() {
            let expected = format!("the axes {:?}, each once, counted from 0 behind N", self.axes);
            return Err(ModelError::shape(what, expected, input));
        }
        let kept = self.with_ones(input);
        let left = |axis: &usize| self.keep || !self.axes.contains(axis);
        Ok((0..input.len()).filter(left).map(|axis| kept[axis]).collect())
    }

    /// The shape with reduced axes of length 1.
    pub(crate) fn with_ones(&self, input: &[usize]) -> Vec<usize> {
        let length = |(axis, length): (usize, &usize)| {
            if self.axes.contains(&axis) { 1 } else { *length }
        };
        input.iter().enumerate().map(length).collect()
    }

    /// Runs of neighbouring axes of a tensor with its axis of examples, last first.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let runs = self.axes.chunk_by(|axis, next| axis + 1 == *next).rev();
        runs.map(|run| run[0] + 1..run[run.len() - 1] + 2)
    }

    /// Entries that one result reads.
    pub(crate) fn entries(&self, input: &[usize]) -> usize {
        self.axes.iter().map(|axis| input[*axis]).product()
    }
}
