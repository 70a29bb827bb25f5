//! Pooling over windows, and interpolation.

use entk_models::{AvgPool, Interpolation, MaxPool, Mean, PerAxis, PoolWindows, Upsample};

use crate::{
    rules::{
        rule::Rule,
        shape::{permuted, reshaped},
    },
    trace::{Refusal, Ruled, Traced, Tracer, call::Call},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("max_pool1d.default", Rule::One(max_pool::<1>)),
    ("max_pool2d.default", Rule::One(max_pool::<2>)),
    ("max_pool3d.default", Rule::One(max_pool_3d)),
    ("avg_pool1d.default", Rule::One(avg_pool::<1>)),
    ("avg_pool2d.default", Rule::One(avg_pool::<2>)),
    ("avg_pool3d.default", Rule::One(avg_pool::<3>)),
    ("adaptive_avg_pool1d.default", Rule::One(adaptive_avg_pool::<1>)),
    ("adaptive_avg_pool2d.default", Rule::One(adaptive_avg_pool::<2>)),
    ("adaptive_avg_pool3d.default", Rule::One(adaptive_avg_pool::<3>)),
    ("upsample_nearest1d.vec", Rule::One(|t, c| upsample::<1>(t, c, false))),
    ("upsample_nearest2d.vec", Rule::One(|t, c| upsample::<2>(t, c, false))),
    ("upsample_linear1d.vec", Rule::One(|t, c| upsample::<1>(t, c, true))),
    ("upsample_bilinear2d.vec", Rule::One(|t, c| upsample::<2>(t, c, true))),
    ("pixel_shuffle.default", Rule::One(pixel_shuffle)),
];

fn array<const A: usize>(list: Vec<usize>) -> Ruled<[usize; A]> {
    list.try_into().map_err(|list| Refusal::new(format!("{list:?} is not one number an axis")))
}

fn windows<const A: usize>(call: &Call) -> Ruled<PoolWindows<A>> {
    let window: [usize; A] = array(call.per_axis("kernel_size", A, 0)?)?;
    let stride = call.optional_ints("stride")?.unwrap_or_default();
    let stride = if stride.is_empty() { window } else { array(call.per_axis("stride", A, 1)?)? };
    let padding: [usize; A] = array(call.per_axis("padding", A, 0)?)?;
    let windows = PoolWindows::new(PerAxis(window))
        .with_stride(PerAxis(stride))
        .with_padding(PerAxis(padding));
    Ok(if call.bool_or("ceil_mode", false)? { windows.with_ceil_mode() } else { windows })
}

fn max_pool<const A: usize>(t: &mut Tracer, call: &Call) -> Ruled<Traced>
where
    MaxPool<A>: entk_models::Operation,
{
    let dilation: [usize; A] = array(call.per_axis("dilation", A, 1)?)?;
    let pool = MaxPool::new(windows::<A>(call)?.with_dilation(PerAxis(dilation)));
    t.apply(pool, &[call.tensor("self")?])
}

/// The largest entry over three axes: over the last two, then over the first.
fn max_pool_3d(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("self")?;
    let list = |name, default| call.per_axis(name, 3, default);
    let (window, dilation, padding) =
        (list("kernel_size", 0)?, list("dilation", 1)?, list("padding", 0)?);
    let stride = call.optional_ints("stride")?.unwrap_or_default();
    let stride = if stride.is_empty() { window.clone() } else { list("stride", 1)? };
    let ceil = call.bool_or("ceil_mode", false)?;
    let windows = |axis: usize| {
        let windows = PoolWindows::<1>::new(window[axis]).with_stride(stride[axis]);
        let windows = windows.with_padding(padding[axis]).with_dilation(dilation[axis]);
        if ceil { windows.with_ceil_mode() } else { windows }
    };
    let Some(first) = x.rank().checked_sub(3) else {
        return Err(Refusal::new(format!("takes (.., D, H, W), got {:?}", x.shape)));
    };
    let mut y = x.clone();
    for axis in (0..3).rev() {
        let mut order: Vec<usize> = (0..x.rank()).collect();
        order.swap(first + axis, first + 2);
        let turned = permuted(t, &y, &order)?;
        let pooled = t.apply(MaxPool::new(windows(axis)), &[&turned])?;
        y = permuted(t, &pooled, &order)?;
    }
    Ok(y)
}

fn avg_pool<const A: usize>(t: &mut Tracer, call: &Call) -> Ruled<Traced>
where
    AvgPool<A>: entk_models::Operation,
{
    let pool = AvgPool::new(windows::<A>(call)?);
    let pool = match call.bool_or("count_include_pad", true)? {
        true => pool,
        false => pool.without_padding_in_count(),
    };
    t.apply(pool, &[call.tensor("self")?])
}

fn adaptive_avg_pool<const A: usize>(t: &mut Tracer, call: &Call) -> Ruled<Traced>
where
    AvgPool<A>: entk_models::Operation,
{
    let x = call.tensor("self")?;
    let outputs: [usize; A] = array(call.per_axis("output_size", A, 1)?)?;
    if outputs == [1; A] && x.rank() >= A {
        let axes: Vec<usize> = (x.rank() - A..x.rank()).collect();
        return t.apply(Mean::over(&axes).keeping_axes(), &[x]);
    }
    t.apply(AvgPool::adaptive(PerAxis(outputs)), &[x])
}

fn upsample<const A: usize>(t: &mut Tracer, call: &Call, linear: bool) -> Ruled<Traced>
where
    Upsample<A>: entk_models::Operation,
{
    let sizes = call.optional_ints("output_size")?;
    let factors = call.optional_floats("scale_factors")?;
    let upsample = match (sizes, factors) {
        (Some(_), None) => Upsample::to(PerAxis(array(call.per_axis("output_size", A, 1)?)?)),
        (None, Some(factors)) => {
            let factors: [f64; A] = factors.try_into().map_err(|factors| {
                Refusal::new(format!("{factors:?} is not one factor an axis"))
            })?;
            Upsample::by(PerAxis(factors))
        }
        _ => return Err(Refusal::new("needs sizes or factors")),
    };
    let upsample = match linear {
        false => upsample,
        true => {
            let align_corners = call.bool_or("align_corners", false)?;
            upsample.with_interpolation(Interpolation::Linear { align_corners })
        }
    };
    t.apply(upsample, &[call.tensor("input")?])
}

/// Blocks of channels as pixels: (C r r, H, W) -> (C, H r, W r).
fn pixel_shuffle(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, r) = (call.tensor("self")?, call.count("upscale_factor", 1)?.max(1));
    let [leading @ .., channels, rows, columns] = x.shape.as_slice() else {
        return Err(Refusal::new(format!("takes (.., C, H, W), got {:?}", x.shape)));
    };
    let (c, at) = (channels / (r * r), leading.len());
    let split = reshaped(t, x, &[leading, &[c, r, r, *rows, *columns]].concat())?;
    let order = [0, 3, 1, 4, 2].map(|axis| axis + at);
    let order: Vec<usize> = (0..at).chain(order).collect();
    let turned = permuted(t, &split, &order)?;
    reshaped(t, &turned, &[leading, &[c, rows * r, columns * r]].concat())
}
