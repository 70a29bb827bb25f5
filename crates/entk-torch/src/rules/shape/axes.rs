//! The entries of a tensor in other shapes and orders of axes, and repeated.

use crate::{
    rules::{
        rule::Rule,
        shape::{expanded, permuted, reshaped},
    },
    trace::{
        Refusal, Ruled, Traced, Tracer,
        call::{Call, axis_of},
    },
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("view.default", Rule::One(reshape)),
    ("reshape.default", Rule::One(reshape)),
    ("_unsafe_view.default", Rule::One(reshape)),
    ("view_as.default", Rule::One(reshape_as)),
    ("reshape_as.default", Rule::One(reshape_as)),
    ("flatten.using_ints", Rule::One(flatten)),
    ("unflatten.int", Rule::One(unflatten)),
    ("unsqueeze.default", Rule::One(unsqueeze)),
    ("squeeze.default", Rule::One(squeeze)),
    ("squeeze.dim", Rule::One(squeeze)),
    ("squeeze.dims", Rule::One(squeeze)),
    ("permute.default", Rule::One(permute)),
    ("transpose.int", Rule::One(transpose)),
    ("swapaxes.default", Rule::One(transpose)),
    ("t.default", Rule::One(transpose)),
    ("numpy_T.default", Rule::One(turned)),
    ("movedim.int", Rule::One(move_axes)),
    ("movedim.intlist", Rule::One(move_axes)),
    ("expand.default", Rule::One(expand)),
    ("expand_as.default", Rule::One(expand_as)),
    ("repeat.default", Rule::One(repeat)),
];

/// Sizes of a shape with so many entries, of which one may be left open by -1. In a program whose
/// batch is another than the traced one, a first size that is a multiple of it is divided.
fn shape_of(call: &Call, sizes: &[i64], count: usize) -> Ruled<Vec<usize>> {
    let mut sizes = sizes.to_vec();
    if let (Some(batch), Some(filed)) = (call.rebatch, call.filed.as_ref()) {
        let factor = filed.iter().product::<usize>() / count.max(1);
        let is_multiple = |size: &&mut i64| **size > 0 && **size % batch as i64 == 0;
        if factor == batch
            && let Some(size) = sizes.iter_mut().find(is_multiple)
        {
            *size /= batch as i64;
        }
    }
    let misfit = || Refusal::new(format!("{sizes:?} is no shape of {count} entries"));
    let mut known = sizes.iter().filter(|size| **size >= 0);
    let known = known.try_fold(1usize, |product, size| product.checked_mul(*size as usize));
    let known = known.ok_or_else(misfit)?;
    if sizes.iter().filter(|size| **size < 0).count() > 1 || sizes.iter().any(|size| *size < -1) {
        return Err(misfit());
    }
    let open = count.checked_div(known).unwrap_or(0);
    let shape: Vec<usize> =
        sizes.iter().map(|size| usize::try_from(*size).unwrap_or(open)).collect();
    match shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size)) {
        Some(all) if all == count => Ok(shape),
        _ => Err(misfit()),
    }
}

fn reshape(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let sizes = match call.base() {
        "reshape" => call.ints("shape")?,
        _ => call.ints("size")?,
    };
    reshaped(t, x, &shape_of(call, &sizes, x.count())?)
}

fn reshape_as(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let shape = call.tensor("other")?.shape.clone();
    reshaped(t, call.tensor("self")?, &shape)
}

fn flatten(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    if x.rank() == 0 {
        call.ignore(&["start_dim", "end_dim"]);
        return reshaped(t, x, &[1]);
    }
    let first = call.axis_or("start_dim", 0, x.rank())?;
    let last = call.axis_or("end_dim", -1, x.rank())?;
    if first > last {
        return Err(Refusal::new(format!("start_dim {first} behind end_dim {last}")));
    }
    let middle = x.shape[first..=last].iter().product();
    reshaped(t, x, &[&x.shape[..first], &[middle], &x.shape[last + 1..]].concat())
}

fn unflatten(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", 0, x.rank())?;
    let parts = shape_of(call, &call.ints("sizes")?, x.shape[axis])?;
    reshaped(t, x, &[&x.shape[..axis], &parts, &x.shape[axis + 1..]].concat())
}

fn unsqueeze(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let mut shape = x.shape.clone();
    shape.insert(call.axis_or("dim", 0, x.rank() + 1)?, 1);
    reshaped(t, x, &shape)
}

fn squeeze(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axes = call.optional_axes("dim", x.rank())?;
    let stays = |(axis, size): &(usize, &usize)| {
        **size != 1 || axes.as_ref().is_some_and(|axes| !axes.contains(axis))
    };
    let shape: Vec<usize> =
        x.shape.iter().enumerate().filter(stays).map(|(_, size)| *size).collect();
    reshaped(t, x, &shape)
}

fn permute(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axes = call.ints("dims")?;
    let order = axes.into_iter().map(|a| axis_of(a, x.rank())).collect::<Ruled<Vec<_>>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.rank()) {
        return Err(Refusal::new(format!("{order:?} is no order of {} axes", x.rank())));
    }
    permuted(t, x, &order)
}

fn transpose(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let [first, second] = match call.base() {
        "transpose" => ["dim0", "dim1"],
        _ => ["axis0", "axis1"],
    };
    if x.rank() < 2 && call.base() == "t" {
        return Ok(x.clone());
    }
    let (a, b) = (call.axis_or(first, 0, x.rank())?, call.axis_or(second, 1, x.rank())?);
    let mut order: Vec<usize> = (0..x.rank()).collect();
    order.swap(a, b);
    permuted(t, x, &order)
}

fn turned(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    permuted(t, x, &(0..x.rank()).rev().collect::<Vec<_>>())
}

fn move_axes(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axes = |name| call.optional_axes(name, x.rank());
    let from = axes("source")?.unwrap_or_default();
    let to = axes("destination")?.unwrap_or_default();
    let mut order: Vec<usize> = (0..x.rank()).filter(|axis| !from.contains(axis)).collect();
    let mut places: Vec<(usize, usize)> = to.into_iter().zip(from).collect();
    places.sort_unstable();
    for (to, from) in places {
        order.insert(to.min(order.len()), from);
    }
    if order.len() != x.rank() {
        return Err(Refusal::new("axes that are moved twice"));
    }
    permuted(t, x, &order)
}

fn expand(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["implicit"]);
    let x = call.tensor("self")?;
    let sizes = call.ints("size")?;
    let Some(new) = sizes.len().checked_sub(x.rank()) else {
        return Err(Refusal::new(format!("{:?} expanded to {sizes:?}", x.shape)));
    };
    let size = |(axis, size): (usize, &i64)| match usize::try_from(*size) {
        Ok(_) if axis == 0 && call.rebatch.is_some_and(|batch| batch as i64 == *size) => Ok(1),
        Ok(size) => Ok(size),
        Err(_) if axis >= new && *size == -1 => Ok(x.shape[axis - new]),
        Err(_) => Err(Refusal::new(format!("{:?} expanded to {sizes:?}", x.shape))),
    };
    let shape = sizes.iter().enumerate().map(size).collect::<Ruled<Vec<_>>>()?;
    expanded(t, x, &shape)
}

fn expand_as(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let shape = call.tensor("other")?.shape.clone();
    expanded(t, call.tensor("self")?, &shape)
}

fn repeat(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let repeats = call.per_axis("repeats", call.ints("repeats")?.len(), 1)?;
    let Some(new) = repeats.len().checked_sub(x.rank()) else {
        return Err(Refusal::new(format!("{:?} repeated {repeats:?} times", x.shape)));
    };
    let shape = [vec![1; new], x.shape.clone()].concat();
    let between = shape.iter().flat_map(|size| [1, *size]).collect::<Vec<_>>();
    let all: Vec<usize> =
        repeats.iter().zip(&shape).flat_map(|(times, size)| [*times, *size]).collect();
    let last: Vec<usize> = repeats.iter().zip(&shape).map(|(times, size)| times * size).collect();
    let x = reshaped(t, x, &between)?;
    let x = expanded(t, &x, &all)?;
    reshaped(t, &x, &last)
}
