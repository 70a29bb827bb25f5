//! Average pooling: the mean of every window.

use candle_core::Tensor;
use entk_device::Windows;

use crate::{
    error::{ModelError, Result},
    loops::{
        axis::taps::AxisTaps,
        pool::{average, average_vjp},
    },
    operations::{
        axes::{along_axes, along_axes_transposed, shape_of_tables},
        linear_map::{LinearMap, linear_operation},
        pooling::windows::{AxisWindows, PerAxis, PoolWindows, Window},
    },
};

const WHAT: &str = "average pooling";

/// The mean of every window over the last `A` axes: (N, .., H, W) -> (N, .., H', W'). Padding
/// counts as zeros.
///
/// Cost: one pass over memory where one or two axes are tiled, else for every output as many
/// multiply-adds as a window has rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvgPool<const A: usize> {
    axes: [AxisWindows; A],
    counts_padding: bool,
}

/// Average pooling over the pixels of images, (N, C, H, W).
pub type AvgPool2d = AvgPool<2>;
/// Average pooling along sequences, (N, C, T).
pub type AvgPool1d = AvgPool<1>;

impl<const A: usize> AvgPool<A> {
    /// Over these windows; a number stands for windows of this edge that tile.
    pub fn new(windows: impl Into<PoolWindows<A>>) -> Self {
        Self { axes: windows.into().axes(), counts_padding: true }
    }

    /// To so many outputs an axis, whatever its length n: output j of J is the mean of the entries
    /// from j n / J, rounded down, to (j + 1) n / J, rounded up.
    pub fn adaptive(outputs: impl Into<PerAxis<usize, A>>) -> Self {
        Self { axes: outputs.into().0.map(AxisWindows::Adaptive), counts_padding: true }
    }

    /// Divides by the number of entries in a window that are not padding.
    #[must_use]
    pub fn without_padding_in_count(self) -> Self {
        Self { counts_padding: false, ..self }
    }

    fn table(&self, axis: AxisWindows, entries: usize) -> Result<AxisTaps> {
        let weighted = |Window { entries, with_padding }: Window| {
            let count = if self.counts_padding { with_padding } else { entries.len() };
            entries.into_iter().map(move |entry| (entry, 1.0 / count as f64))
        };
        Ok(AxisTaps::new(entries, axis.on(WHAT, entries)?.into_iter().map(weighted)))
    }

    /// The table of every axis that is pooled, numbered in one example.
    fn tables(&self, input: &[usize]) -> Result<Vec<(usize, AxisTaps)>> {
        let Some(before) = input.len().checked_sub(A) else {
            return Err(ModelError::shape(WHAT, format!("at least {A} axes behind N"), input));
        };
        let table =
            |(axis, windows): (usize, &AxisWindows)| Ok((axis, self.table(*windows, input[axis])?));
        (before..).zip(&self.axes).map(table).collect()
    }

    /// The sizes of one or two axes that are tiled, for tensors of this shape.
    fn tiles(&self, dims: &[usize]) -> Option<Windows> {
        let before = dims.len().checked_sub(A)?;
        let mut windows = Windows { planes: [1, 1], output: [1; 2], window: [1; 2] };
        if A > 2 || dims.contains(&0) {
            return None;
        }
        for (axis, entries) in self.axes.iter().zip(&dims[before..]).enumerate() {
            let (place, edge) = (2 - A + axis, entries.0.tiling(*entries.1)?);
            windows.window[place] = edge;
            windows.output[place] = entries.1 / edge;
        }
        windows.planes = [dims[0], dims[1..before].iter().product()];
        Some(windows)
    }
}

impl<const A: usize> LinearMap for AvgPool<A> {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(shape_of_tables(input, &self.tables(input)?))
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let dims = x.dims();
        match self.tiles(dims) {
            None => along_axes(x, self.tables(&dims[1..])?),
            Some(windows) => {
                let shape = [&dims[..dims.len() - A], &windows.output[2 - A..]].concat();
                Ok(average(x, windows)?.reshape(shape)?)
            }
        }
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        match self.tiles(input) {
            None => along_axes_transposed(dy, self.tables(&input[1..])?),
            Some(windows) => Ok(average_vjp(dy, windows)?.reshape(input)?),
        }
    }
}

linear_operation!(AvgPool<A>, A);
