//! Tensors that are one for all examples: recognised where they come expanded, and expanded where
//! all examples are promised. Used by operations that take shared inputs.

use candle_core::Tensor;

use crate::error::Result;

/// One example of a tensor that repeats it without a copy, as an expanded parameter does; others as
/// they are.
pub(crate) fn one_of_equal(x: &Tensor) -> Result<Tensor> {
    let repeats = x.dim(0)? > 1 && x.stride()[0] == 0;
    Ok(if repeats { x.narrow(0, 0, 1)? } else { x.clone() })
}

/// A tensor of this many examples, or of one that stands for all.
pub(crate) fn for_all(x: &Tensor, examples: usize) -> Result<Tensor> {
    if x.dim(0)? == examples {
        return Ok(x.clone());
    }
    Ok(x.broadcast_as([&[examples], &x.dims()[1..]].concat())?)
}

/// The number of examples of an operation's inputs, of which some may be one for all.
pub(crate) fn examples_of(inputs: &[&Tensor]) -> usize {
    inputs.iter().map(|input| input.dims()[0]).max().unwrap_or(1)
}
