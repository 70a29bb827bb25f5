//! Shapes: what the rules of all families do to them, and which operations share storage.

pub(crate) mod axes;
pub(crate) mod parts;
pub(crate) mod same;
pub(crate) mod windows;

use entk_models::{Concat, Expand, Permute, Reshape, Slice};

use crate::trace::{Ruled, Traced, Tracer};

/// Operations whose results always share storage with their tensor.
pub(crate) const VIEWS: [&str; 28] = [
    "alias",
    "detach",
    "view",
    "view_as",
    "t",
    "transpose",
    "permute",
    "unsqueeze",
    "squeeze",
    "select",
    "slice",
    "narrow",
    "expand",
    "expand_as",
    "split",
    "split_with_sizes",
    "chunk",
    "unbind",
    "unfold",
    "unflatten",
    "swapaxes",
    "movedim",
    "dropout",
    "feature_dropout",
    "alpha_dropout",
    "lift_fresh",
    "numpy_T",
    "_unsafe_view",
];
/// Operations whose results are views where that is possible, else copies.
pub(crate) const MAYBE_VIEWS: [&str; 9] = [
    "reshape",
    "reshape_as",
    "flatten",
    "contiguous",
    "to",
    "type_as",
    "float",
    "_to_copy",
    "ravel",
];

/// A tensor in another shape.
pub(crate) fn reshaped(t: &mut Tracer, x: &Traced, shape: &[usize]) -> Ruled<Traced> {
    if x.shape == shape { Ok(x.clone()) } else { t.apply(Reshape::new(shape), &[x]) }
}

/// Axes in another order.
pub(crate) fn permuted(t: &mut Tracer, x: &Traced, order: &[usize]) -> Ruled<Traced> {
    if order.iter().copied().eq(0..x.rank()) {
        return Ok(x.clone());
    }
    let moved: Vec<usize> = order.iter().copied().filter(|axis| x.shape[*axis] != 1).collect();
    if moved.is_sorted() {
        let shape: Vec<usize> = order.iter().map(|axis| x.shape[*axis]).collect();
        return reshaped(t, x, &shape);
    }
    t.apply(Permute::new(order), &[x])
}

/// A tensor repeated along axes of length 1 and along new ones in front.
pub(crate) fn expanded(t: &mut Tracer, x: &Traced, shape: &[usize]) -> Ruled<Traced> {
    if x.shape == shape { Ok(x.clone()) } else { t.apply(Expand::new(shape), &[x]) }
}

/// Part of an axis.
pub(crate) fn part(
    t: &mut Tracer,
    x: &Traced,
    axis: usize,
    range: std::ops::Range<usize>,
) -> Ruled<Traced> {
    if range == (0..x.shape[axis]) {
        return Ok(x.clone());
    }
    t.apply(Slice::new(axis, range), &[x])
}

/// Tensors one behind the other along an axis.
pub(crate) fn concatenated(t: &mut Tracer, parts: &[&Traced], axis: usize) -> Ruled<Traced> {
    match parts {
        [one] => Ok((*one).clone()),
        _ => t.apply(Concat::new(axis), parts),
    }
}
