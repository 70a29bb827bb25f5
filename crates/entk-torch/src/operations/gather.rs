//! Entries chosen by whole numbers of the input, and entries added where such numbers say.

use candle_core::Tensor;
use entk_models::{MixedCotangents, ModelError, NormMode, Operation, linear_mixed_vjp};

use crate::operations::{choosing_operation, ids::to_ids, tangent_or_zeros};

/// As `torch.gather` along an axis: inputs are x and the whole numbers, whose shape is that of the
/// result and, but for the axis, that of x.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gather {
    pub(crate) axis: usize,
}

/// What derivatives of a [`Gather`] need.
#[derive(Debug)]
pub(crate) struct Indices {
    /// (N, ..), u32.
    indices: Tensor,
    /// Length of the axis of x.
    length: usize,
}

impl Indices {
    fn new(numbers: &Tensor, length: usize, axis: usize) -> Result<Self, ModelError> {
        let indices = to_ids(numbers)?.contiguous()?;
        let most = indices.flatten_all()?.max(0)?.to_scalar::<u32>()?;
        if most as usize >= length {
            let expected = format!("more than {most} entries on axis {axis}");
            return Err(ModelError::shape("chosen entries", expected, &[length]));
        }
        Ok(Self { indices, length })
    }

    fn gather(&self, x: &Tensor, axis: usize) -> Result<Tensor, ModelError> {
        Ok(x.contiguous()?.gather(&self.indices, axis + 1)?)
    }

    /// The shape of what entries are added to.
    fn scattered(&self, axis: usize) -> Vec<usize> {
        let mut shape = self.indices.dims().to_vec();
        shape[axis + 1] = self.length;
        shape
    }

    /// Adds entries of dy where the numbers say, to zeros.
    fn scatter(&self, dy: &Tensor, axis: usize) -> Result<Tensor, ModelError> {
        let zeros = Tensor::zeros(self.scattered(axis), dy.dtype(), dy.device())?;
        Ok(zeros.scatter_add(&self.indices, &dy.contiguous()?, axis + 1)?)
    }
}

fn ensure_beside(axis: usize, x: &[usize], indices: &[usize]) -> Result<(), ModelError> {
    let same = |at: usize| at == axis || x[at] == indices[at];
    if x.len() == indices.len() && axis < x.len() && (0..x.len()).all(same) {
        return Ok(());
    }
    let expected = format!("that of {x:?} but for axis {axis}");
    Err(ModelError::shape("numbers of chosen entries", expected, indices))
}

impl Operation for Gather {
    type Cache = Indices;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        ensure_beside(self.axis, inputs[0], inputs[1])?;
        Ok(inputs[1].to_vec())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Indices), ModelError> {
        let indices = Indices::new(inputs[1], inputs[0].dim(self.axis + 1)?, self.axis)?;
        Ok((indices.gather(inputs[0], self.axis)?, indices))
    }

    fn jvp(&self, indices: &Indices, tangents: &[Option<&Tensor>]) -> Result<Tensor, ModelError> {
        let moved = tangents[0].map(|tangent| indices.gather(tangent, self.axis)).transpose()?;
        tangent_or_zeros(moved, tangents, indices.indices.dims())
    }

    fn vjp(
        &self,
        indices: &Indices,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>, ModelError> {
        let dx = wanted[0].then(|| indices.scatter(dy, self.axis));
        Ok(vec![dx.transpose()?, None])
    }

    choosing_operation!(1);
}

/// Entries added along an axis where whole numbers say, to zeros: inputs are the entries and the
/// numbers, of one shape. The transpose of [`Gather`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScatterAdd {
    pub(crate) axis: usize,
    /// Length of the axis of the result.
    pub(crate) length: usize,
}

impl Operation for ScatterAdd {
    type Cache = Indices;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        if inputs[0] != inputs[1] || self.axis >= inputs[0].len() {
            let expected = format!("{:?}, that of the entries", inputs[0]);
            return Err(ModelError::shape("numbers of places", expected, inputs[1]));
        }
        let mut shape = inputs[0].to_vec();
        shape[self.axis] = self.length;
        Ok(shape)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Indices), ModelError> {
        let indices = Indices::new(inputs[1], self.length, self.axis)?;
        Ok((indices.scatter(inputs[0], self.axis)?, indices))
    }

    fn jvp(&self, indices: &Indices, tangents: &[Option<&Tensor>]) -> Result<Tensor, ModelError> {
        let moved = tangents[0].map(|tangent| indices.scatter(tangent, self.axis)).transpose()?;
        tangent_or_zeros(moved, tangents, &indices.scattered(self.axis))
    }

    fn vjp(
        &self,
        indices: &Indices,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>, ModelError> {
        let dx = wanted[0].then(|| indices.gather(dy, self.axis));
        Ok(vec![dx.transpose()?, None])
    }

    choosing_operation!(1);
}
