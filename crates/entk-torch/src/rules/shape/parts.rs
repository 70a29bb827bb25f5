//! Parts of a tensor, tensors side by side, and entries beside them.

use entk_models::{Pad, PadWith, Roll, Select, Slice, Stack};

use crate::{
    rules::{
        rule::Rule,
        shape::{concatenated, part, reshaped},
    },
    trace::{
        Refusal, Ruled, Traced, Tracer,
        call::{Call, axis_of},
    },
};

pub(crate) const RULES: &[(&str, Rule)] = &[
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
];

fn select(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dim", 0, x.rank())?;
    let index = axis_of(call.int("index")?, x.shape[axis])?;
    t.apply(Select::new(axis, index), &[x])
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
    let length = call.count("length", 0)?;
    part(t, x, axis, start..start.saturating_add(length))
}

/// Lengths of the parts of an axis.
fn lengths(call: &Call, length: usize) -> Ruled<Vec<usize>> {
    let each = match call.base() {
        "split" => call.count("split_size", 0)?,
        "chunk" => length.div_ceil(call.count("chunks", 1)?.max(1)),
        _ => {
            let count = call.ints("split_sizes")?.len();
            return call.per_axis("split_sizes", count, 0);
        }
    };
    if each == 0 {
        return Err(Refusal::new("parts without entries"));
    }
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
        let rolled =
            t.apply(Roll::new(0, shifts.first().copied().unwrap_or(0) as isize), &[&flat])?;
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
