//! Windows side by side, pixels as channels, channels in another order, and entries repeated.

use entk_models::{IndexSelect, Pad, Permute};

use crate::{
    rules::{
        rule::Rule,
        shape::{expanded, permuted, reshaped},
    },
    trace::{Refusal, Ruled, Traced, Tracer, call::Call, ensure_size},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("unfold.default", Rule::One(unfold)),
    ("im2col.default", Rule::One(columns)),
    ("pixel_unshuffle.default", Rule::One(pixel_unshuffle)),
    ("channel_shuffle.default", Rule::One(channel_shuffle)),
    ("native_channel_shuffle.default", Rule::One(channel_shuffle)),
    ("repeat_interleave.self_int", Rule::One(repeat_interleave)),
    ("tile.default", Rule::One(tile)),
    ("meshgrid.default", Rule::Many(meshgrid)),
    ("meshgrid.indexing", Rule::Many(meshgrid)),
];

/// Windows of an axis, their entries along a new last one.
fn unfold(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let axis = call.axis_or("dimension", 0, x.rank())?;
    let size = call.count("size", 0)?;
    let step = call.count("step", 0)?;
    if size == 0 || step == 0 || size > x.shape[axis] {
        let length = x.shape[axis];
        return Err(Refusal::new(format!("windows of {size} in steps of {step} of {length}")));
    }
    let count = (x.shape[axis] - size) / step + 1;
    let read = (0..count).flat_map(|window| window * step..window * step + size).collect();
    let read = t.apply(IndexSelect::new(axis, read), &[x])?;
    let shape = [&x.shape[..axis], &[count, size], &x.shape[axis + 1..]].concat();
    let split = reshaped(t, &read, &shape)?;
    let order = (0..=axis).chain(axis + 2..shape.len()).chain([axis + 1]);
    permuted(t, &split, &order.collect::<Vec<_>>())
}

/// (N, C, H, W) as (N, C kh kw, windows): the entries of each window in a column.
fn columns(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let of = |name, default| call.per_axis(name, 2, default);
    let (kernel, stride) = (of("kernel_size", 1)?, of("stride", 1)?);
    let (padding, dilation) = (of("padding", 0)?, of("dilation", 1)?);
    if x.rank() < 3 {
        return Err(Refusal::new(format!("takes (.., C, H, W), got {:?}", x.shape)));
    }
    let mut padded = x.clone();
    for (at, zeros) in padding.iter().enumerate() {
        padded = t.apply(Pad::new(x.rank() - 2 + at, *zeros, *zeros), &[&padded])?;
    }
    let [leading @ .., channels, height, width] = padded.shape.as_slice() else {
        return Err(Refusal::new(format!("takes (.., C, H, W), got {:?}", x.shape)));
    };
    let places = |length: usize, at: usize| {
        let last = length.checked_sub(dilation[at] * (kernel[at].max(1) - 1) + 1);
        last.map_or(0, |last| last / stride[at].max(1) + 1)
    };
    let [rows, columns] = [places(*height, 0), places(*width, 1)];
    let mut read = Vec::with_capacity(kernel[0] * kernel[1] * rows * columns);
    for tap in 0..kernel[0] * kernel[1] {
        let [down, right] = [tap / kernel[1] * dilation[0], tap % kernel[1] * dilation[1]];
        for place in 0..rows * columns {
            let row = place / columns * stride[0] + down;
            read.push(row * width + place % columns * stride[1] + right);
        }
    }
    let flat = reshaped(t, &padded, &[leading, &[*channels, height * width]].concat())?;
    let read = t.apply(IndexSelect::new(leading.len() + 1, read), &[&flat])?;
    let taps = channels * kernel[0] * kernel[1];
    reshaped(t, &read, &[leading, &[taps, rows * columns]].concat())
}

/// Pixels of blocks as channels: (C, H r, W r) -> (C r r, H, W).
fn pixel_unshuffle(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, r) = (call.tensor("self")?, call.count("downscale_factor", 1)?.max(1));
    let [leading @ .., channels, rows, columns] = x.shape.as_slice() else {
        return Err(Refusal::new(format!("takes (.., C, H, W), got {:?}", x.shape)));
    };
    let (h, w, at) = (rows / r, columns / r, leading.len());
    let split = reshaped(t, x, &[leading, &[*channels, h, r, w, r]].concat())?;
    let order: Vec<usize> = (0..at).chain([0, 2, 4, 1, 3].map(|axis| axis + at)).collect();
    let turned = permuted(t, &split, &order)?;
    reshaped(t, &turned, &[leading, &[channels * r * r, h, w]].concat())
}

/// Channels of groups one by one.
fn channel_shuffle(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, groups) = (call.tensor("self")?, call.count("groups", 1)?.max(1));
    let [batch, channels, rest @ ..] = x.shape.as_slice() else {
        return Err(Refusal::new(format!("takes (N, C, ..), got {:?}", x.shape)));
    };
    let pixels = rest.iter().product();
    let split = reshaped(t, x, &[*batch, groups, channels / groups, pixels])?;
    let turned = t.apply(Permute::new(&[0, 2, 1, 3]), &[&split])?;
    reshaped(t, &turned, &x.shape)
}

/// Every entry of an axis so many times.
fn repeat_interleave(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["output_size"]);
    let x = call.tensor("self")?;
    let times = call.count("repeats", 1)?;
    let (x, axis) = match call.optional_ints("dim")? {
        Some(_) => (x.clone(), call.axis_or("dim", 0, x.rank())?),
        None => (reshaped(t, x, &[x.count()])?, 0),
    };
    let (front, behind) = x.shape.split_at(axis + 1);
    let column = reshaped(t, &x, &[front, &[1], behind].concat())?;
    let all = expanded(t, &column, &[front, &[times], behind].concat())?;
    let mut shape = x.shape.clone();
    shape[axis] *= times;
    reshaped(t, &all, &shape)
}

/// Copies side by side along the last axes.
fn tile(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let mut x = call.tensor("self")?.clone();
    let times = call.per_axis("dims", call.ints("dims")?.len(), 1)?;
    let new = times.len().saturating_sub(x.rank());
    x = reshaped(t, &x, &[vec![1; new], x.shape.clone()].concat())?;
    let first = x.rank() - times.len();
    ensure_size(&times)?;
    for (axis, times) in times.into_iter().enumerate().filter(|(_, times)| *times != 1) {
        x = super::concatenated(t, &vec![&x; times], first + axis)?;
    }
    Ok(x)
}

/// Vectors along axes of their own, spread over all.
fn meshgrid(t: &mut Tracer, call: &Call) -> Ruled<Vec<Traced>> {
    let vectors = call.tensors("tensors")?;
    let mut axes: Vec<usize> = (0..vectors.len()).collect();
    if call.text_or("indexing", "ij")? == "xy" && axes.len() > 1 {
        axes.swap(0, 1);
    }
    let mut shape = vec![1; vectors.len()];
    for (axis, vector) in axes.iter().zip(vectors) {
        shape[*axis] = vector.count();
    }
    let along = |(axis, vector): (&usize, &Traced)| {
        let mut own = vec![1; vectors.len()];
        own[*axis] = vector.count();
        let vector = reshaped(t, vector, &own)?;
        expanded(t, &vector, &shape)
    };
    axes.iter().zip(vectors).map(along).collect()
}
