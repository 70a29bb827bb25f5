//! Norms: of a batch with the statistics of training, of layers, groups, instances and weights.

use entk_models::{Add, Function, Multiply, Normalize, NormalizeBatch, Subtract};

use crate::{
    rules::{
        conv::each_image,
        pointwise,
        rule::Rule,
        shape::{permuted, reshaped},
    },
    trace::{Refusal, Ruled, Traced, Tracer, call::Call},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("batch_norm.default", Rule::One(batch_norm)),
    ("layer_norm.default", Rule::One(layer_norm)),
    ("rms_norm.default", Rule::One(rms_norm)),
    ("group_norm.default", Rule::One(group_norm)),
    ("instance_norm.default", Rule::One(instance_norm)),
    ("_weight_norm.default", Rule::One(weight_norm)),
];

/// The number that [`NormalizeBatch`] adds to variances.
const EPS: f64 = 1e-5;

fn batch_norm(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["momentum", "cudnn_enabled"]);
    if call.bool_or("training", true)? {
        return standardised(t, call);
    }
    let (x, eps) = (call.tensor("input")?, call.float_or("eps", EPS)?);
    let (mean, variance) = (call.tensor("running_mean")?, call.tensor("running_var")?);
    let (weight, bias) = (call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    if let (Some(weight), Some(bias), true) = (weight, bias, eps == EPS) {
        if !(t.is_shared(weight) && t.is_shared(bias)) {
            return Err(Refusal::new("a scale that depends on the input: write it as a product"));
        }
        let (mean, variance) = (t.statistic(mean, false)?, t.statistic(variance, true)?);
        let norm = NormalizeBatch { activation: None };
        return each_image(t, x, x.rank().saturating_sub(2), |t, image| {
            t.apply(norm, &[image, weight, bias, &mean, &variance])
        });
    }
    if x.rank() == 0 {
        return Err(Refusal::new("a batch norm of a tensor without axes"));
    }
    let channels = by_channel(x);
    let over_channels = |t: &mut Tracer, tensor: &Traced| reshaped(t, tensor, &channels);
    let mean = over_channels(t, mean)?;
    let variance = pointwise::apply(t, Function::add_constant(eps), variance)?;
    let inverse = pointwise::apply(t, Function::ReciprocalSqrt, &variance)?;
    let inverse = over_channels(t, &inverse)?;
    let y = t.apply(Subtract, &[x, &mean])?;
    let y = t.apply(Multiply, &[&y, &inverse])?;
    scaled_and_shifted(t, y, weight, bias, &channels)
}

/// Batch norm in training mode, of weights alone: modules standardise their filters with it.
fn standardised(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("input")?;
    let tracked = call.optional_tensor("running_mean")?.or(call.optional_tensor("running_var")?);
    if tracked.is_some() || !t.is_shared(x) || x.shape.first() != Some(&1) {
        return Err(Refusal::in_training(
            "normalises by the statistics of the batch, so that examples interact",
        ));
    }
    let norm = Normalize::instance().with_eps(call.float_or("eps", EPS)?);
    let (weight, bias) = (call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    each_image(t, x, x.rank().saturating_sub(2), |t, image| {
        normalised(t, norm, image, weight, bias)
    })
}

/// The shape in which a vector of channels, axis 1, meets a tensor.
fn by_channel(x: &Traced) -> Vec<usize> {
    let mut shape = vec![1; x.rank()];
    let axis = 1.min(x.rank().saturating_sub(1));
    shape[axis] = x.shape[axis];
    shape
}

fn scaled_and_shifted(
    t: &mut Tracer,
    mut y: Traced,
    weight: Option<&Traced>,
    bias: Option<&Traced>,
    shape: &[usize],
) -> Ruled<Traced> {
    if let Some(weight) = weight {
        let weight = reshaped(t, weight, shape)?;
        y = t.apply(Multiply, &[&y, &weight])?;
    }
    if let Some(bias) = bias {
        let bias = reshaped(t, bias, shape)?;
        y = t.apply(Add, &[&y, &bias])?;
    }
    Ok(y)
}

/// A norm with its weight and bias, if they are there.
fn normalised(
    t: &mut Tracer,
    norm: Normalize,
    x: &Traced,
    weight: Option<&Traced>,
    bias: Option<&Traced>,
) -> Ruled<Traced> {
    if weight.is_none() && bias.is_some() {
        return Err(Refusal::new("a norm with a bias and no weight has no rule"));
    }
    let inputs: Vec<&Traced> = [Some(x), weight, bias].into_iter().flatten().collect();
    t.apply(norm, &inputs)
}

fn layer_norm(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["cudnn_enable"]);
    let x = call.tensor("input")?;
    let axes = call.ints("normalized_shape")?.len();
    let norm = Normalize::layer(axes).with_eps(call.float_or("eps", EPS)?);
    normalised(t, norm, x, call.optional_tensor("weight")?, call.optional_tensor("bias")?)
}

fn rms_norm(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let x = call.tensor("input")?;
    if call.ints("normalized_shape")?.len() != 1 {
        return Err(Refusal::new("an RMS norm over more than the last axis has no rule"));
    }
    let norm = match call.float_or("eps", f64::NAN)? {
        eps if eps.is_nan() => Normalize::rms().with_eps(f64::from(f32::EPSILON)),
        eps => Normalize::rms().with_eps(eps),
    };
    normalised(t, norm, x, call.optional_tensor("weight")?, None)
}

fn group_norm(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["cudnn_enabled"]);
    let x = call.tensor("input")?;
    let groups = call.count("num_groups", 0)?;
    let norm = Normalize::groups(groups).with_eps(call.float_or("eps", EPS)?);
    let (weight, bias) = (call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    each_image(t, x, x.rank().saturating_sub(2), |t, image| {
        normalised(t, norm, image, weight, bias)
    })
}

fn instance_norm(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["cudnn_enabled", "momentum"]);
    if !call.bool_or("use_input_stats", true)? {
        return Err(Refusal::new("running statistics of instances have no rule"));
    }
    let x = call.tensor("input")?;
    let norm = Normalize::instance().with_eps(call.float_or("eps", EPS)?);
    let (weight, bias) = (call.optional_tensor("weight")?, call.optional_tensor("bias")?);
    call.ignore(&["running_mean", "running_var"]);
    each_image(t, x, x.rank().saturating_sub(2), |t, image| {
        normalised(t, norm, image, weight, bias)
    })
}

fn weight_norm(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (v, g) = (call.tensor("v")?, call.tensor("g")?);
    let mut order: Vec<usize> = (0..v.rank()).collect();
    order.swap(0, call.axis_or("dim", 0, v.rank())?);
    if g.rank() != v.rank() {
        return Err(Refusal::new(format!("lengths {:?} of weights {:?}", g.shape, v.shape)));
    }
    let (v, g) = (permuted(t, v, &order)?, permuted(t, g, &order)?);
    let y = t.apply(Normalize::weight(), &[&v, &g])?;
    permuted(t, &y, &order)
}
