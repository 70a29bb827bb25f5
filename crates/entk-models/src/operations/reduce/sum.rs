//! Sums and means over axes.

use candle_core::Tensor;

use crate::{
    error::Result,
    loops::axis::sums::{Axis, axis_sums, repeated},
    operations::{
        axes::reshaped,
        linear_map::{LinearMap, linear_operation},
        reduce::axes::ReducedAxes,
    },
};

/// Sum over axes. Cost: one pass over memory for each run of neighbouring axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    axes: ReducedAxes,
}

impl Sum {
    /// Over these axes, counted from 0 behind N, which are left out of the result.
    pub fn over(axes: &[usize]) -> Self {
        Self { axes: ReducedAxes::new(axes) }
    }

    /// Keeps the axes, with length 1.
    #[must_use]
    pub fn keeping_axes(self) -> Self {
        Self { axes: self.axes.kept() }
    }
}

/// Mean over axes. Cost: one pass over memory for each run of neighbouring axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mean {
    axes: ReducedAxes,
}

impl Mean {
    /// Over these axes, counted from 0 behind N, which are left out of the result.
    pub fn over(axes: &[usize]) -> Self {
        Self { axes: ReducedAxes::new(axes) }
    }

    /// Keeps the axes, with length 1.
    #[must_use]
    pub fn keeping_axes(self) -> Self {
        Self { axes: self.axes.kept() }
    }
}

/// `scale` times the sums, with reduced axes of length 1.
pub(crate) fn sums(x: &Tensor, axes: &ReducedAxes, scale: f64) -> Result<Tensor> {
    let (mut x, mut dims, mut scale) = (x.clone(), x.dims().to_vec(), scale);
    for run in axes.runs() {
        x = axis_sums(&x, Axis::of(&dims, run.clone()), std::mem::replace(&mut scale, 1.0))?;
        dims[run].fill(1);
    }
    reshaped(&x, &dims)
}

/// `scale` times `y`, whose reduced axes have length 1 or are missing, repeated to the shape
/// `input`: the transpose of [`sums`].
pub(crate) fn spread(
    y: &Tensor,
    axes: &ReducedAxes,
    scale: f64,
    input: &[usize],
) -> Result<Tensor> {
    let (mut y, mut scale) = (y.clone(), scale);
    let mut dims = [&input[..1], &axes.with_ones(&input[1..])].concat();
    for run in axes.runs() {
        dims[run.clone()].copy_from_slice(&input[run.clone()]);
        y = repeated(&y, Axis::of(&dims, run), std::mem::replace(&mut scale, 1.0))?;
    }
    reshaped(&y, input)
}

impl LinearMap for Sum {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.axes.shape("sum", input)
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let shape = self.shape(&x.dims()[1..])?;
        Ok(sums(x, &self.axes, 1.0)?.reshape([&x.dims()[..1], &shape].concat())?)
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        spread(dy, &self.axes, 1.0, input)
    }
}

linear_operation!(Sum);

impl LinearMap for Mean {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.axes.shape("mean", input)
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (examples, input) = x.dims().split_at(1);
        let scale = 1.0 / self.axes.entries(input) as f64;
        let shape = self.shape(input)?;
        Ok(sums(x, &self.axes, scale)?.reshape([examples, &shape].concat())?)
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        spread(dy, &self.axes, 1.0 / self.axes.entries(&input[1..]) as f64, input)
    }
}

linear_operation!(Mean);
