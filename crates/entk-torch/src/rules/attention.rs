//! Attention and softmax. A mask that is known and one for all heads goes into one operation; other
//! masks are added to scores.

use candle_core::{Device, Tensor};
use entk_models::{Attend, MatMul, Softmax};

use crate::{
    archive::Elements,
    rules::{
        pointwise,
        rule::Rule,
        shape::{expanded, reshaped},
    },
    trace::{Refusal, Ruled, Traced, Tracer, call::Call},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("scaled_dot_product_attention.default", Rule::One(attention)),
    ("softmax.int", Rule::One(|t, c| softmax(t, c, false))),
    ("_softmax.default", Rule::One(|t, c| softmax(t, c, false))),
    ("log_softmax.int", Rule::One(|t, c| softmax(t, c, true))),
    ("_log_softmax.default", Rule::One(|t, c| softmax(t, c, true))),
];

fn softmax(t: &mut Tracer, call: &Call, logarithm: bool) -> Ruled<Traced> {
    call.ignore(&["half_to_float"]);
    let x = call.tensor("self")?;
    call.elements("dtype")?;
    let softmax = Softmax::over(call.axis_or("dim", -1, x.rank())?);
    let softmax = if logarithm { softmax.logarithm() } else { softmax };
    t.apply_as(Elements::Real, softmax, &[x])
}

/// What a query sees.
enum Mask {
    All,
    Causal,
    /// (T, S), added; minus infinity hides.
    Known(Tensor),
    /// Added to scores, with broadcasting; or of truth values, where 0 hides.
    Other(Traced),
}

fn attention(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (q, k, v) = (call.tensor("query")?, call.tensor("key")?, call.tensor("value")?);
    if call.float_or("dropout_p", 0.0)? != 0.0 {
        return Err(Refusal::in_training("draws random numbers"));
    }
    let width = *q.shape.last().unwrap_or(&1);
    let scale = call.float_or("scale", (width as f64).sqrt().recip())?;
    let grouped = call.bool_or("enable_gqa", false)?;
    let [.., _, _, _] = q.shape.as_slice() else {
        return Err(Refusal::new(format!("queries of shape {:?}", q.shape)));
    };
    let batches: usize = q.shape[..q.rank() - 3].iter().product();
    let same_heads = k.rank() == q.rank() && k.shape[..q.rank() - 2] == q.shape[..q.rank() - 2];
    if !(same_heads || grouped && batches == 1 && k.rank() == q.rank()) {
        return Err(Refusal::new(format!(
            "queries {:?} and keys {:?} with other heads",
            q.shape, k.shape
        )));
    }
    match mask(call, q, k)? {
        Mask::Other(mask) if same_heads => by_scores(t, [q, k, v], scale, mask),
        Mask::Other(_) => Err(Refusal::new("a mask for each head beside grouped heads")),
        mask => in_one(t, [q, k, v], scale, mask),
    }
}

fn mask(call: &Call, q: &Traced, k: &Traced) -> Ruled<Mask> {
    let causal = call.bool_or("is_causal", false)?;
    let Some(mask) = call.optional_tensor("attn_mask")? else {
        return Ok(if causal { Mask::Causal } else { Mask::All });
    };
    if causal {
        return Err(Refusal::new("a mask beside is_causal"));
    }
    let [queries, keys] = [q, k].map(|x| x.shape[x.rank().saturating_sub(2)]);
    let one_for_all = mask.rank() >= 2
        && mask.shape[mask.rank() - 2..] == [queries, keys]
        && mask.count() == queries * keys;
    let (Some(numbers), true) = (mask.numbers()?, one_for_all) else {
        return Ok(Mask::Other(mask.clone()));
    };
    let added = |number: f64| match mask.elements {
        Elements::Truth if number == 0.0 => f64::NEG_INFINITY,
        Elements::Truth => 0.0,
        _ => number,
    };
    let added: Vec<f64> = numbers.into_iter().map(added).collect();
    if added.iter().all(|number| *number == 0.0) {
        return Ok(Mask::All);
    }
    Ok(Mask::Known(Tensor::from_vec(added, (queries, keys), &Device::Cpu)?))
}

/// One operation, batches and heads side by side.
fn in_one(t: &mut Tracer, qkv: [&Traced; 3], scale: f64, mask: Mask) -> Ruled<Traced> {
    let attend = Attend::new().with_scale(scale);
    let attend = match &mask {
        Mask::Causal => attend.causal(),
        Mask::Known(mask) => attend.with_mask(mask)?,
        _ => attend,
    };
    let [q, k, v] = qkv;
    let mut merged = Vec::with_capacity(3);
    for x in [q, k, v] {
        let [heads @ .., tokens, width] = x.shape.as_slice() else {
            return Err(Refusal::new(format!("heads of shape {:?}", x.shape)));
        };
        merged.push(reshaped(t, x, &[heads.iter().product(), *tokens, *width])?);
    }
    let y = t.apply(attend, &merged.iter().collect::<Vec<_>>())?;
    let columns = v.shape[v.rank() - 1];
    reshaped(t, &y, &[&q.shape[..q.rank() - 1], &[columns]].concat())
}

/// Scores, mask, softmax, values.
fn by_scores(t: &mut Tracer, qkv: [&Traced; 3], scale: f64, mask: Traced) -> Ruled<Traced> {
    let [q, k, v] = qkv;
    let scores = t.apply(MatMul::transposed(), &[q, k])?;
    let scores = pointwise::scaled(t, &scores, scale)?;
    let hidden = match mask.elements {
        Elements::Truth => {
            let least = Traced::number(Elements::Real, f64::NEG_INFINITY)?;
            pointwise::choose(t, &mask, &scores, &least)?
        }
        _ => {
            let mask = match mask.rank() < scores.rank() || mask.is_constant() {
                true => mask,
                false => expanded(t, &mask, &scores.shape)?,
            };
            pointwise::add(t, &scores, &mask)?
        }
    };
    let probabilities = t.apply(Softmax::over(hidden.rank() - 1), &[&hidden])?;
    t.apply(MatMul::new(), &[&probabilities, v])
}
