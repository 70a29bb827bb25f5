//! What operations along axes share: the number of an axis in a tensor, weighted sums along several
//! axes and their transpose, and the choice of one entry a window.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::axis::{
        largest::{PlaneWindows, largest},
        rows::{LookUp, add_at_rows, take_rows},
        strided::contiguous,
        taps::AxisTaps,
        weighted::weighted_sums,
    },
};

/// Refuses an axis that one example does not have.
pub(crate) fn ensure_axis(what: &str, axis: usize, input: &[usize]) -> Result<()> {
    if axis < input.len() {
        return Ok(());
    }
    Err(ModelError::shape(what, format!("an axis {axis}, counted from 0 behind N"), input))
}

/// `x` in another shape; its entries in row-major order.
pub(crate) fn reshaped(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    Ok(contiguous(x)?.reshape(shape)?)
}

/// `x` with examples of another shape.
pub(crate) fn reshaped_examples(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    reshaped(x, &[&x.dims()[..1], shape].concat())
}

/// The shape of `input` with these axes replaced by the outputs of their tables.
pub(crate) fn shape_of_tables(input: &[usize], tables: &[(usize, AxisTaps)]) -> Vec<usize> {
    let mut shape = input.to_vec();
    tables.iter().for_each(|(axis, taps)| shape[*axis] = taps.outputs());
    shape
}

/// Weighted sums along several axes of one example, those first that shorten theirs most; of those
/// that do not, the last ones, whose loops are slower.
pub(crate) fn along_axes(x: &Tensor, mut tables: Vec<(usize, AxisTaps)>) -> Result<Tensor> {
    let growth = |taps: &AxisTaps| taps.outputs() as f64 / taps.inputs() as f64;
    tables.sort_by(|(first, a), (second, b)| {
        let order = growth(a).total_cmp(&growth(b));
        if growth(a) < 1.0 { order } else { order.then(second.cmp(first)) }
    });
    let along = |x: Tensor, (axis, taps): &(usize, AxisTaps)| weighted_sums(&x, axis + 1, taps);
    tables.iter().try_fold(x.clone(), along)
}

/// The transpose of [`along_axes`].
pub(crate) fn along_axes_transposed(dy: &Tensor, tables: Vec<(usize, AxisTaps)>) -> Result<Tensor> {
    along_axes(dy, tables.into_iter().map(|(axis, taps)| (axis, taps.transposed())).collect())
}

/// One entry for each window of planes, chosen once: the function that takes these entries is
/// linear, and this is what it and its transpose need.
#[derive(Debug)]
pub struct ChosenEntries {
    /// Numbers within their planes, u32, (planes, windows).
    positions: Tensor,
    /// Shapes of one example before and after.
    shapes: [Vec<usize>; 2],
    entries: usize,
}

impl ChosenEntries {
    /// The largest entries of the windows of `x`, whose results have shape `output` an example.
    pub(crate) fn largest(x: &Tensor, windows: &PlaneWindows, output: Vec<usize>) -> Result<Self> {
        Ok(Self {
            positions: largest(x, windows)?,
            shapes: [x.dims()[1..].to_vec(), output],
            entries: windows.rows.inputs() * windows.columns.inputs(),
        })
    }

    fn sizes(&self) -> Result<LookUp> {
        let (planes, to) = self.positions.dims2()?;
        Ok(LookUp { planes, from: self.entries, to, width: 1, shared: false })
    }

    /// The chosen entries of a tensor of the input's shape.
    pub(crate) fn take(&self, x: &Tensor) -> Result<Tensor> {
        let shape = [&[x.dim(0)?], &self.shapes[1][..]].concat();
        Ok(take_rows(x, &self.positions, self.sizes()?)?.reshape(shape)?)
    }

    /// Zeros, to which `dy` is added at the chosen entries.
    pub(crate) fn add(&self, dy: &Tensor) -> Result<Tensor> {
        let shape = [&[dy.dim(0)?], &self.shapes[0][..]].concat();
        Ok(add_at_rows(dy, &self.positions, self.sizes()?)?.reshape(shape)?)
    }
}
