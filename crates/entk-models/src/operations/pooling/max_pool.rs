//! Max pooling: the largest entry of every window. Its derivatives read and write that entry.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::axis::{largest::PlaneWindows, taps::AxisTaps},
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp, only_tangent},
    operations::{
        axes::ChosenEntries,
        pooling::windows::{AxisWindows, PerAxis, PoolWindows},
    },
};

const WHAT: &str = "max pooling";

/// The largest entry of every window over the last `A` axes, 1 or 2: (N, .., H, W) ->
/// (N, .., H', W'). The first of equals in row-major order is chosen, as in PyTorch; a NaN is
/// larger than any number; padding is smaller.
///
/// Cost: for every output as many comparisons as a window has rows and columns, and one number,
/// u32, kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPool<const A: usize> {
    axes: [AxisWindows; A],
}

/// Max pooling over the pixels of images, (N, C, H, W).
pub type MaxPool2d = MaxPool<2>;
/// Max pooling along sequences, (N, C, T).
pub type MaxPool1d = MaxPool<1>;

impl<const A: usize> MaxPool<A> {
    /// Over these windows; a number stands for windows of this edge that tile.
    pub fn new(windows: impl Into<PoolWindows<A>>) -> Self {
        Self { axes: windows.into().axes() }
    }

    /// To so many outputs an axis, whatever its length n: output j of J looks at the entries from
    /// j n / J, rounded down, to (j + 1) n / J, rounded up.
    pub fn adaptive(outputs: impl Into<PerAxis<usize, A>>) -> Self {
        Self { axes: outputs.into().0.map(AxisWindows::Adaptive) }
    }

    /// The windows of planes, and the shape of one example's result.
    fn windows(&self, input: &[usize]) -> Result<(PlaneWindows, Vec<usize>)> {
        let taps = |axis: AxisWindows, entries: usize| -> Result<AxisTaps> {
            let windows = axis.on(WHAT, entries)?.into_iter();
            Ok(AxisTaps::new(entries, windows.map(|w| w.entries.into_iter().map(|at| (at, 1.0)))))
        };
        let (rows, columns) = match (&self.axes[..], input) {
            ([last], [.., width]) => (AxisTaps::identity(1), taps(*last, *width)?),
            ([first, last], [.., height, width]) => (taps(*first, *height)?, taps(*last, *width)?),
            _ => {
                let expected = "1 or 2 axes of windows, and as many of the input";
                return Err(ModelError::shape(WHAT, expected, input));
            }
        };
        let outputs = &[rows.outputs(), columns.outputs()][2 - A..];
        let shape = [&input[..input.len() - A], outputs].concat();
        Ok((PlaneWindows { rows, columns }, shape))
    }
}

impl<const A: usize> Operation for MaxPool<A> {
    type Cache = ChosenEntries;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [input] => Ok(self.windows(input)?.1),
            _ => Err(ModelError::arity(self, inputs.len())),
        }
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, ChosenEntries)> {
        let (windows, shape) = self.windows(&inputs[0].dims()[1..])?;
        let chosen = ChosenEntries::largest(inputs[0], &windows, shape)?;
        Ok((chosen.take(inputs[0])?, chosen))
    }

    fn jvp(&self, chosen: &ChosenEntries, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        chosen.take(only_tangent(tangents)?)
    }

    fn vjp(&self, chosen: &ChosenEntries, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(chosen.add(dy)?)])
    }

    fn mixed_vjp(
        &self,
        chosen: &ChosenEntries,
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        linear_mixed_vjp(self, chosen, dy, ddy, wanted)
    }
}
