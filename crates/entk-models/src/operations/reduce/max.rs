//! The largest entry over axes. Its derivatives read and write that entry.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::axis::{largest::PlaneWindows, sums::Axis, taps::AxisTaps},
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp, only_tangent},
    operations::{
        axes::{ChosenEntries, reshaped_examples},
        reduce::axes::ReducedAxes,
    },
};

/// The largest entry over axes; the first of equals in row-major order is chosen, and a NaN is
/// larger than any number. Cost: one pass over memory for each run of neighbouring axes, and one
/// number, u32, kept for every result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Max {
    axes: ReducedAxes,
}

impl Max {
    /// Over these axes, counted from 0 behind N, which are left out of the result.
    pub fn over(axes: &[usize]) -> Self {
        Self { axes: ReducedAxes::new(axes) }
    }

    /// Keeps the axes, with length 1.
    #[must_use]
    pub fn keeping_axes(self) -> Self {
        Self { axes: self.axes.kept() }
    }

    /// In the shape of the result.
    fn shaped(&self, y: &Tensor, input: &[usize]) -> Result<Tensor> {
        reshaped_examples(y, &self.axes.shape("max", input)?)
    }
}

/// The choices along each run of axes, the last run first.
type Choices = Vec<ChosenEntries>;

impl Operation for Max {
    type Cache = (Vec<usize>, Choices);

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [input] => self.axes.shape("max", input),
            _ => Err(ModelError::arity(self, inputs.len())),
        }
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Self::Cache)> {
        let (mut x, mut choices) = (inputs[0].clone(), Choices::new());
        for run in self.axes.runs() {
            let Axis { size, inner, .. } = Axis::of(x.dims(), run.clone());
            let all = AxisTaps::new(size, [(0..size).map(|entry| (entry, 1.0))]);
            let windows = PlaneWindows { rows: all, columns: AxisTaps::identity(inner) };
            let mut output = x.dims()[1..].to_vec();
            output[run.start - 1..run.end - 1].fill(1);
            let chosen = ChosenEntries::largest(&x, &windows, output)?;
            x = chosen.take(&x)?;
            choices.push(chosen);
        }
        let input = inputs[0].dims()[1..].to_vec();
        Ok((self.shaped(&x, &input)?, (input, choices)))
    }

    fn jvp(&self, (input, choices): &Self::Cache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let dx = only_tangent(tangents)?.clone();
        let dy = choices.iter().try_fold(dx, |dx, chosen| chosen.take(&dx))?;
        self.shaped(&dy, input)
    }

    fn vjp(
        &self,
        (_, choices): &Self::Cache,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dx = choices.iter().rev().try_fold(dy.clone(), |dy, chosen| chosen.add(&dy))?;
        Ok(vec![Some(dx)])
    }

    fn mixed_vjp(
        &self,
        cache: &Self::Cache,
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        linear_mixed_vjp(self, cache, dy, ddy, wanted)
    }
}
