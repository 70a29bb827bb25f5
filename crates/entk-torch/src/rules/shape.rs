//! Other shapes of the same entries, parts of a tensor, and tensors side by side.

use entk_models::{Concat, Expand, Pad, PadWith, Permute, Reshape, Roll, Select, Slice, Stack};

use crate::{
    rules::Rule,
    trace::{Refusal, Ruled, Traced, Tracer, call::{Call, axis_of}},
};

/// Operations whose results always share storage with their tensor.
pub(crate) const VIEWS: [&str; 27] = [
    "alias", "detach", "view", "view_as", "t", "transpose", "permute", "unsqueeze", "squeeze",
    "select", "slice", "narrow", "expand", "expand_as", "split", "split_with_sizes", "chunk",
    "unbind", "unflatten", "swapaxes", "movedim", "dropout", "feature_dropout", "alpha_dropout",
    "lift_fresh", "numpy_T", "_unsafe_view",
];
/// Operations whose results are views where that is possible, else copies.
pub(crate) const MAYBE_VIEWS: [&str; 8] =
    ["reshape", "flatten", "contiguous", "to", "type_as", "float", "_to_copy", "ravel"];

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("view.default", Rule::One(reshape)),
    ("reshape.default", Rule::One(reshape)),
    ("_unsafe_view.default", Rule::One(reshape)),
    ("view_as.default", Rule::One(reshape_as)),
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
    ("select.int", Rule::One(select)),
    ("slice.Tensor", Rule::One(slice)),
    ("narrow.default", Rule::One(narrow)),
    ("split.Tensor", Rule::Many(split)),
    ("split_with_sizes.default", Rule::Many(split)),
    ("chunk.default", Rule::Many(split)),
    ("unbind.int", Rule::Many(unbind)),
    ("cat.default", Rule::One(cat)),
    ("stack.default", Rule::One(stack)),
    ("pad.default", Rule::One(pad)),
    ("constant_pad_nd.default", Rule::One(pad)),
    ("roll.default", Rule::One(roll)),
    ("flip.default", Rule::One(flip)),
    ("alias.default", Rule::One(same)),
    ("detach.default", Rule::One(detach)),
    ("clone.default", Rule::One(same)),
    ("contiguous.default", Rule::One(same)),
    ("lift_fresh.default", Rule::One(same)),
    ("lift_fresh_copy.default", Rule::One(same)),
    ("dropout.default", Rule::One(dropout)),
    ("feature_dropout.default", Rule::One(dropout)),
    ("alpha_dropout.default", Rule::One(dropout)),
    ("copy.default", Rule::One(copy)),
    ("fill.Scalar", Rule::One(fill)),
    ("fill.Tensor", Rule::One(fill)),
    ("zero.default", Rule::One(fill)),
    ("_assert_tensor_metadata.default", Rule::Nothing),
    ("_assert_scalar.default", Rule::Nothing),
    ("_assert_async.msg", Rule::Nothing),
    ("sym_constrain_range.default", Rule::Nothing),
    ("sym_constrain_range_for_size.default", Rule::Nothing),
    ("sym_size.int", Rule::Number(size)),
    ("sym_numel.default", Rule::Number(count)),
];

fn size(call: &Call) -> Ruled<f64> {
    let x = call.tensor("self")?;
    Ok(x.shape[call.axis_or("dim", 0, x.rank())?] as f64)
}

fn count(call: &Call) -> Ruled<f64> {
    Ok(call.tensor("self")?.count() as f64)
}

/// A tensor in another shape.
pub(crate) fn reshaped(t: &mut Tracer, x: &Traced, shape: &[usize]) -> Ruled<Traced> {
    if x.shape == shape { Ok(x.clone()) } else { t.apply(Reshape::new(shape), &[x]) }
}

/// Sizes of a shape with so many entries, of which one may be left open by -1. In a program whose
/// batch is another than the traced one, a first size that is a multiple of it is divided.
fn shape_of(call: &Call, sizes: &[i64], count: usize) -> Ruled<Vec<usize>> {
    let mut sizes = sizes.to_vec();
    if let (Some(batch), Some(filed)) = (call.rebatch, call.filed.as_ref()) {
        let factor = filed.iter().product::<usize>() / count.max(1);
        let is_multiple = |size: &&mut i64| **size > 0 && **size % batch as i64 == 0;
        if factor == batch && let Some(size) = sizes.iter_mut().find(is_multiple) {
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

/// A tensor repeated along axes of length 1 and along new ones in front.
pub(crate) fn expanded(t: &mut Tracer, x: &Traced, shape: &[usize]) -> Ruled<Traced> {
    if x.shape == shape { Ok(x.clone()) } else { t.apply(Expand::new(shape), &[x]) }
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

fn select(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", 0, x.rank())?;
    let index = axis_of(call.int("index")?, x.shape[axis])?;
    t.apply(Select::new(axis, index), &[x])
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

fn slice(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", 0, x.rank())?;
    let length = x.shape[axis] as i64;
    let place = |place: i64| if place < 0 { (place + length).max(0) } else { place.min(length) };
    let start = place(call.int_or("start", 0)?) as usize;
    let end = place(call.int_or("end", i64::MAX)?) as usize;
    let step = call.int_or("step", 1)?;
    if start >= end || step < 1 {
        return Err(Refusal::new(format!("no entries from {start} to {end} in steps of {step}")));
    }
    match step {
        1 => part(t, x, axis, start..end),
        _ => t.apply(Slice::new(axis, start..end).with_step(step as usize), &[x]),
    }
}

fn narrow(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", 0, x.rank())?;
    let start = axis_of(call.int("start")?, x.shape[axis] + 1)?;
    let length = call.int("length")? as usize;
    part(t, x, axis, start..start.saturating_add(length))
}

/// Lengths of the parts of an axis.
fn lengths(call: &Call, length: usize) -> Ruled<Vec<usize>> {
    let each = match call.base() {
        "split" => call.int("split_size")?,
        "chunk" => (length as i64 + call.int("chunks")?.max(1) - 1) / call.int("chunks")?.max(1),
        _ => {
            let count = call.ints("split_sizes")?.len();
            return call.per_axis("split_sizes", count, 0);
        }
    };
    let each = usize::try_from(each).ok().filter(|each| *each > 0);
    let each = each.ok_or_else(|| Refusal::new("parts without entries"))?;
    Ok((0..length).step_by(each).map(|start| each.min(length - start)).collect())
}

fn split(t: &mut Tracer, call: &Call) -> Ruled<Vec<Traced>> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", 0, x.rank())?;
    let lengths = lengths(call, x.shape[axis])?;
    if lengths.iter().sum::<usize>() != x.shape[axis] {
        let length = x.shape[axis];
        return Err(Refusal::new(format!("an axis of {length} in parts of {lengths:?}")));
    }
    let mut start = 0;
    let mut next = |length: usize| {
        start += length;
        part(t, x, axis, start - length..start)
    };
    lengths.into_iter().map(&mut next).collect()
}

fn unbind(t: &mut Tracer, call: &Call) -> Ruled<Vec<Traced>> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", 0, x.rank())?;
    (0..x.shape[axis]).map(|index| t.apply(Select::new(axis, index), &[x])).collect()
}

fn cat(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let parts = call.tensors("tensors")?;
    let parts: Vec<&Traced> = parts.iter().filter(|part| part.shape != [0]).collect();
    let rank = parts.first().map_or(0, |part| part.rank());
    concatenated(t, &parts, call.axis_or("dim", 0, rank)?)
}

/// Tensors one behind the other along an axis.
pub(crate) fn concatenated(t: &mut Tracer, parts: &[&Traced], axis: usize) -> Ruled<Traced> {
    match parts {
        [one] => Ok((*one).clone()),
        _ => t.apply(Concat::new(axis), parts),
    }
}

fn stack(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let parts: Vec<&Traced> = call.tensors("tensors")?.iter().collect();
    let rank = parts.first().map_or(0, |part| part.rank());
    t.apply(Stack::new(call.axis_or("dim", 0, rank + 1)?), &parts)
}

fn pad(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let mut x = call.tensor("self")?.clone();
    let value = call.float_or("value", 0.0)?;
    let with = match call.text_or("mode", "constant")?.as_str() {
        "constant" => PadWith::Constant(value),
        "reflect" => PadWith::Reflect,
        "replicate" => PadWith::Replicate,
        other => return Err(Refusal::new(format!("mode {other:?} has no rule"))),
    };
    let pairs = call.ints("pad")?;
    if pairs.len() % 2 != 0 || pairs.len() / 2 > x.rank() {
        return Err(Refusal::new(format!("pad = {pairs:?} of {} axes", x.rank())));
    }
    for (at, pair) in pairs.chunks(2).enumerate() {
        let axis = x.rank() - 1 - at;
        let [before, behind] = [pair[0], pair[1]];
        if before < 0 || behind < 0 {
            let length = x.shape[axis] as i64;
            let range = (-before).max(0)..length + behind.min(0);
            if range.is_empty() {
                return Err(Refusal::new(format!("nothing is left of axis {axis}")));
            }
            x = part(t, &x, axis, range.start as usize..range.end as usize)?;
        }
        let zeros = [before.max(0) as usize, behind.max(0) as usize];
        if zeros != [0, 0] {
            x = t.apply(Pad::new(axis, zeros[0], zeros[1]).with(with), &[&x])?;
        }
    }
    Ok(x)
}

fn roll(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let mut x = call.tensor("self")?.clone();
    let shifts = call.ints("shifts")?;
    let Some(axes) = call.optional_axes("dims", x.rank())?.filter(|axes| !axes.is_empty()) else {
        let flat = reshaped(t, &x, &[x.count()])?;
        let rolled = t.apply(Roll::new(0, shifts[0] as isize), &[&flat])?;
        return reshaped(t, &rolled, &x.shape);
    };
    for (shift, axis) in shifts.into_iter().zip(axes) {
        x = t.apply(Roll::new(axis, shift as isize), &[&x])?;
    }
    Ok(x)
}

fn flip(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let mut x = call.tensor("self")?.clone();
    for axis in call.optional_axes("dims", x.rank())?.unwrap_or_default() {
        let turned = (0..x.shape[axis]).rev().collect();
        x = t.apply(entk_models::IndexSelect::new(axis, turned), &[&x])?;
    }
    Ok(x)
}

fn same(_: &mut Tracer, call: &Call) -> Ruled<Traced> {
    Ok(call.tensor("self")?.clone())
}

/// No gradient passes: only what follows from no parameter and no input may be detached.
fn detach(_: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    if x.is_constant() {
        return Ok(x.clone());
    }
    Err(Refusal::new(
        "stops gradients: the kernel of that is another than the kernel of the function; leave \
         it out, or freeze the parameters",
    ))
}

fn dropout(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["p"]);
    if call.bool_or("train", true)? {
        return Err(Refusal::new("draws random numbers: export with `model.eval()`"));
    }
    match call.optional_tensor("input")? {
        Some(x) => Ok(x.clone()),
        None => same(t, call),
    }
}

fn copy(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (to, from) = (call.tensor("self")?, call.tensor("src")?);
    Ok(expanded(t, from, &to.shape.clone())?.with_elements(to.elements))
}

fn fill(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let value = match call.base().trim_end_matches('_') {
        "zero" => Traced::number(x.elements, 0.0)?,
        _ => call.tensor_or_number("value")?,
    };
    Ok(expanded(t, &value, &x.shape)?.with_elements(x.elements))
}
