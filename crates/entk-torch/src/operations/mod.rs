//! Operations that programs of PyTorch need beside those of entk-models: comparisons, choices by a
//! condition, whole numbers, entries chosen by numbers of the input.

pub(crate) mod choose;
pub(crate) mod compare;
pub(crate) mod erf;
pub(crate) mod gather;
pub(crate) mod ids;
pub(crate) mod steps;
#[cfg(test)]
mod tests;

use candle_core::Tensor;
use entk_models::ModelError;

/// The shape to which shapes of one example are broadcast.
pub(crate) fn broadcast(what: &str, shapes: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut all = vec![1; rank];
    for shape in shapes {
        for (size, of) in all[rank - shape.len()..].iter_mut().zip(shape.iter()) {
            match (*size, *of) {
                (1, other) => *size = other,
                (size, other) if size == other || other == 1 => {}
                _ => return Err(ModelError::shape(what, "to be broadcast with the others", shape)),
            }
        }
    }
    Ok(all)
}

/// Tensors spread over their common shape, with as many examples as the most have, without copies.
pub(crate) fn spread(tensors: &[&Tensor]) -> Result<Vec<Tensor>, ModelError> {
    let shapes: Vec<&[usize]> = tensors.iter().map(|tensor| &tensor.dims()[1..]).collect();
    let shape = broadcast("broadcast", &shapes)?;
    let examples = tensors.iter().map(|tensor| tensor.dims()[0]).max().unwrap_or(1);
    let all = [&[examples], shape.as_slice()].concat();
    let one = |tensor: &&Tensor| -> Result<Tensor, ModelError> {
        let ones = vec![1; all.len() - tensor.rank()];
        let aligned = [&tensor.dims()[..1], &ones, &tensor.dims()[1..]].concat();
        Ok(tensor.reshape(aligned)?.broadcast_as(all.as_slice())?)
    };
    tensors.iter().map(one).collect()
}

/// Sums a cotangent of the common shape over what a tensor of shape `dims` was spread along; its
/// examples stay apart.
pub(crate) fn gathered(cotangent: Tensor, shape: &[usize]) -> Result<Tensor, ModelError> {
    let examples = cotangent.dims()[0];
    let ones = cotangent.rank() - 1 - shape.len();
    let met: Vec<usize> = (1..cotangent.rank())
        .filter(|axis| *axis <= ones || shape[axis - 1 - ones] != cotangent.dims()[*axis])
        .collect();
    let summed = if met.is_empty() { cotangent } else { cotangent.sum_keepdim(met)? };
    Ok(summed.reshape([&[examples], shape].concat())?)
}

/// A tangent, or zeros of this shape where the inputs that count do not move: the result then does
/// not either.
pub(crate) fn tangent_or_zeros(
    tangent: Option<Tensor>,
    tangents: &[Option<&Tensor>],
    shape: &[usize],
) -> Result<Tensor, ModelError> {
    let any = tangents.iter().flatten().next().ok_or(ModelError::Cache { what: "tangent" })?;
    match tangent {
        Some(tangent) => Ok(tangent),
        None => Ok(Tensor::zeros(shape, any.dtype(), any.device())?),
    }
}

/// The rest of an operation that is linear in some of its inputs and on which the others, of which
/// `$chooses` says so by number, have an effect in steps alone.
macro_rules! choosing_operation {
    ($chooses:expr) => {
        fn mixed_vjp(
            &self,
            cache: &Self::Cache,
            _: &[Option<&Tensor>],
            dy: &Tensor,
            ddy: &Tensor,
            wanted: &[bool],
        ) -> Result<MixedCotangents, ModelError> {
            linear_mixed_vjp(self, cache, dy, ddy, wanted)
        }

        fn blocks(&self, zero: &[bool]) -> Vec<bool> {
            (0..zero.len()).map(|input| input == $chooses).collect()
        }

        fn is_ours(&self) -> bool {
            true
        }
    };
}
pub(crate) use choosing_operation;

/// The rest of an operation whose result moves with nothing: derivatives of all inputs are zero.
/// Its cache is the result.
macro_rules! constant_operation {
    () => {
        fn jvp(&self, result: &Tensor, _: &[Option<&Tensor>]) -> Result<Tensor, ModelError> {
            Ok(result.zeros_like()?)
        }

        fn vjp(
            &self,
            _: &Tensor,
            _: &Tensor,
            wanted: &[bool],
        ) -> Result<Vec<Option<Tensor>>, ModelError> {
            Ok(vec![None; wanted.len()])
        }

        fn mixed_vjp(
            &self,
            _: &Tensor,
            _: &[Option<&Tensor>],
            _: &Tensor,
            _: &Tensor,
            wanted: &[bool],
        ) -> Result<MixedCotangents, ModelError> {
            Ok(vec![None; wanted.len()])
        }

        fn blocks(&self, zero: &[bool]) -> Vec<bool> {
            vec![true; zero.len()]
        }

        fn is_ours(&self) -> bool {
            true
        }
    };
}
pub(crate) use constant_operation;
