//! Values one behind another along an axis, or along a new one; of skip connections, class tokens
//! and heads.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::axis::strided::contiguous,
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp},
    operations::axes::ensure_axis,
};

/// Any number of values of one shape but for one axis, one behind another along it. Cost: one pass
/// over the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concat {
    axis: usize,
}

impl Concat {
    /// Along this axis, counted from 0 behind N.
    pub fn new(axis: usize) -> Self {
        Self { axis }
    }
}

/// Contiguous tensors one behind another.
fn concatenated(tensors: &[Tensor], axis: usize) -> Result<Tensor> {
    let tensors = tensors.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&tensors, axis)?)
}

/// Tangents of values of these shapes, zeros where there is none.
fn with_zeros(shapes: &[Vec<usize>], tangents: &[Option<&Tensor>]) -> Result<Vec<Tensor>> {
    let like = tangents.iter().flatten().next().ok_or(ModelError::Cache { what: "tangent" })?;
    let or_zeros = |(shape, tangent): (&Vec<usize>, &Option<&Tensor>)| match tangent {
        Some(tangent) => Ok((*tangent).clone()),
        None => {
            let shape = [&[like.dim(0)?], &shape[..]].concat();
            Ok(Tensor::zeros(shape, like.dtype(), like.device())?)
        }
    };
    shapes.iter().zip(tangents).map(or_zeros).collect()
}

impl Operation for Concat {
    /// Shapes of the inputs.
    type Cache = Vec<Vec<usize>>;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let Some((first, others)) = inputs.split_first() else {
            return Err(ModelError::arity(self, 0));
        };
        ensure_axis("concat", self.axis, first)?;
        let mut shape = first.to_vec();
        for other in others {
            let mut like = other.to_vec();
            if let Some(length) = like.get_mut(self.axis) {
                shape[self.axis] += std::mem::replace(length, first[self.axis]);
            }
            if like != *first {
                let expected = format!("{first:?} but for axis {}", self.axis);
                return Err(ModelError::shape("concat", expected, other));
            }
        }
        Ok(shape)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Vec<Vec<usize>>)> {
        let shapes = inputs.iter().map(|x| x.dims()[1..].to_vec()).collect();
        let inputs: Vec<_> = inputs.iter().map(|x| (*x).clone()).collect();
        Ok((concatenated(&inputs, self.axis + 1)?, shapes))
    }

    fn jvp(&self, shapes: &Vec<Vec<usize>>, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        concatenated(&with_zeros(shapes, tangents)?, self.axis + 1)
    }

    fn vjp(
        &self,
        shapes: &Vec<Vec<usize>>,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let mut start = 0;
        let part = |(shape, wanted): (&Vec<usize>, &bool)| {
            let length = shape[self.axis];
            start += length;
            let part = wanted.then(|| dy.narrow(self.axis + 1, start - length, length));
            Ok(part.transpose()?)
        };
        shapes.iter().zip(wanted).map(part).collect()
    }

    fn mixed_vjp(
        &self,
        shapes: &Vec<Vec<usize>>,
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        linear_mixed_vjp(self, shapes, dy, ddy, wanted)
    }
}

/// Any number of values of one shape, one behind another along a new axis. Cost: one pass over the
/// result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stack {
    axis: usize,
}

impl Stack {
    /// The new axis gets this number, counted from 0 behind N.
    pub fn new(axis: usize) -> Self {
        Self { axis }
    }
}

impl Operation for Stack {
    /// Shape of an input, and how many there are.
    type Cache = Vec<Vec<usize>>;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let Some((first, others)) = inputs.split_first() else {
            return Err(ModelError::arity(self, 0));
        };
        if self.axis > first.len() {
            let expected = format!("at least {} axes behind N", self.axis);
            return Err(ModelError::shape("stack", expected, first));
        }
        if let Some(other) = others.iter().find(|other| *other != first) {
            return Err(ModelError::shape("stack", format!("{first:?}"), other));
        }
        Ok([&first[..self.axis], &[inputs.len()], &first[self.axis..]].concat())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Vec<Vec<usize>>)> {
        let shapes = inputs.iter().map(|x| x.dims()[1..].to_vec()).collect();
        Ok((self.stacked(inputs.iter().copied())?, shapes))
    }

    fn jvp(&self, shapes: &Vec<Vec<usize>>, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        self.stacked(with_zeros(shapes, tangents)?.iter())
    }

    fn vjp(
        &self,
        _: &Vec<Vec<usize>>,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let part = |(at, wanted): (usize, &bool)| {
            let part = wanted.then(|| dy.narrow(self.axis + 1, at, 1)?.squeeze(self.axis + 1));
            Ok(part.transpose()?)
        };
        wanted.iter().enumerate().map(part).collect()
    }

    fn mixed_vjp(
        &self,
        shapes: &Vec<Vec<usize>>,
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        linear_mixed_vjp(self, shapes, dy, ddy, wanted)
    }
}

impl Stack {
    fn stacked<'t>(&self, tensors: impl Iterator<Item = &'t Tensor>) -> Result<Tensor> {
        let tensors: Vec<_> =
            tensors.map(|x| Ok(x.unsqueeze(self.axis + 1)?)).collect::<Result<_>>()?;
        concatenated(&tensors, self.axis + 1)
    }
}
