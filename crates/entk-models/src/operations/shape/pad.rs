//! Entries before and behind those of an axis: a constant, or others of the axis.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::axis::{strided::contiguous, taps::AxisTaps},
    operations::{
        axes::{along_axes, along_axes_transposed, ensure_axis},
        linear_map::{LinearMap, linear_operation},
    },
};

/// What stands before the first and behind the last entry of an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum PadWith {
    /// This number.
    Constant(f64),
    /// The entries mirrored at the first and the last, which are not repeated.
    Reflect,
    /// The first and the last entry.
    Replicate,
    /// The entries from the other end.
    Circular,
}

/// An axis with entries before and behind, as `torch.nn.functional.pad` for one axis. Cost: one
/// pass over the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pad {
    axis: usize,
    before: usize,
    behind: usize,
    with: PadWith,
}

impl Pad {
    /// Zeros before and behind `axis`, counted from 0 behind N.
    pub fn new(axis: usize, before: usize, behind: usize) -> Self {
        Self { axis, before, behind, with: PadWith::Constant(0.0) }
    }

    /// With other entries than zeros.
    #[must_use]
    pub fn with(self, with: PadWith) -> Self {
        Self { with, ..self }
    }

    /// The table of an axis of so many entries; what is constant reads none.
    fn table(&self, entries: usize) -> AxisTaps {
        let places = 0..self.before + entries + self.behind;
        let source = |place: usize| match self.with {
            PadWith::Constant(_) => place.checked_sub(self.before).filter(|at| *at < entries),
            PadWith::Replicate => Some(place.saturating_sub(self.before).min(entries - 1)),
            PadWith::Circular => Some((place + entries - self.before) % entries),
            PadWith::Reflect => {
                let from_first = place.abs_diff(self.before);
                Some((entries - 1) - (entries - 1).abs_diff(from_first))
            }
        };
        AxisTaps::new(entries, places.map(|place| source(place).map(|at| (at, 1.0))))
    }
}

impl LinearMap for Pad {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        ensure_axis("pad", self.axis, input)?;
        let entries = input[self.axis];
        let most = match self.with {
            PadWith::Constant(_) => usize::MAX,
            PadWith::Reflect => entries.saturating_sub(1),
            PadWith::Replicate => {
                if entries > 0 {
                    usize::MAX
                } else {
                    0
                }
            }
            PadWith::Circular => entries,
        };
        if self.before.max(self.behind) > most {
            let expected = format!("more entries on axis {} for {self:?}", self.axis);
            return Err(ModelError::shape("pad", expected, input));
        }
        let mut shape = input.to_vec();
        shape[self.axis] += self.before + self.behind;
        Ok(shape)
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        along_axes(x, vec![(self.axis, self.table(x.dim(self.axis + 1)?))])
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        along_axes_transposed(dy, vec![(self.axis, self.table(input[self.axis + 1]))])
    }

    fn value(&self, x: &Tensor) -> Result<Tensor> {
        match self.with {
            PadWith::Constant(number) if number != 0.0 => {
                let border = |length: usize| {
                    let mut dims = x.dims().to_vec();
                    dims[self.axis + 1] = length;
                    Tensor::full(number, dims, x.device())?.to_dtype(x.dtype())
                };
                let parts = [border(self.before)?, contiguous(x)?, border(self.behind)?];
                Ok(Tensor::cat(&parts, self.axis + 1)?)
            }
            _ => self.apply(x),
        }
    }
}

linear_operation!(Pad);
