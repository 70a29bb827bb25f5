//! A program of a batch as a function of one example: run for a batch of one, and compared with a
//! run for several, which must not interact.

use candle_core::{DType, Tensor};
use entk_models::{Initializer, Model, Network, Params};

use crate::{
    archive::{Archive, Elements},
    config::Import,
    error::{Result, TorchError},
    import::inputs::{ProgramValues, Signature, TracedNetwork},
};

/// Largest difference of outputs alone and in a batch, relative to the largest output: round-off of
/// other orders of summation is far below it, and examples that interact far above.
const INTERACTION_F32: f64 = 1e-3;
const INTERACTION_F64: f64 = 1e-8;
/// Examples that are compared where the batch is free.
const COMPARED: usize = 2;

/// A program for one example.
pub(crate) struct ForOne {
    pub(crate) network: Network,
    pub(crate) params: Params,
    pub(crate) values: ProgramValues,
    /// What to know about it.
    pub(crate) note: Option<String>,
}

impl ForOne {
    fn new(traced: TracedNetwork, config: &Import, note: Option<String>) -> Result<Self> {
        let values = traced.values();
        let (network, params) = traced.network(config)?;
        Ok(Self { network, params, values, note })
    }
}

/// The program for one example, once it is certain that examples do not interact.
pub(crate) fn traced_for_one(
    archive: &Archive,
    signature: &Signature<'_>,
    config: &Import,
) -> Result<ForOne> {
    let compared = |batch: usize, one: TracedNetwork, note: Option<String>| {
        let rows = one.least_rows().unwrap_or(2);
        let one = ForOne::new(one, config, note)?;
        let several = signature.trace(archive, batch, None, false)?;
        ensure_apart(&one, several, &examples(signature, batch, rows, config)?, config)?;
        Ok(one)
    };
    let batch = match signature.batch {
        None => return compared(COMPARED, signature.trace(archive, 1, None, false)?, None),
        Some(1) => return ForOne::new(signature.trace(archive, 1, None, false)?, config, None),
        Some(batch) => batch,
    };
    let rewritten = format!(
        "the archive has a fixed batch of {batch}; it was rewritten for one example and gives the \
         outputs of the whole batch"
    );
    let one = signature.trace(archive, 1, Some(batch), false);
    if let Ok(one) = one.and_then(|one| compared(batch, one, Some(rewritten))) {
        return Ok(one);
    }
    let repeated = format!(
        "the archive has a fixed batch of {batch} that could not be rewritten: every example is \
         computed {batch} times; export it with \
         `dynamic_shapes=({{0: torch.export.Dim(\"batch\")}},)` to avoid that"
    );
    compared(batch, signature.trace(archive, batch, None, true)?, Some(repeated))
}

/// Refuses a program whose outputs for several examples are not those of each alone, in their order
/// or the other way round: one of two examples may show in the other only where it is the larger.
fn ensure_apart(
    one: &ForOne,
    several: TracedNetwork,
    examples: &Tensor,
    config: &Import,
) -> Result<()> {
    let (several, of_several) = several.network(config)?;
    let backwards: Vec<u32> = (0..examples.dim(0)? as u32).rev().collect();
    let backwards = Tensor::new(backwards, examples.device())?;
    for examples in [examples.clone(), examples.index_select(&backwards, 0)?] {
        let alone = values(&one.network, &one.params, &examples)?;
        let among = values(&several, &of_several, &examples.unsqueeze(0)?)?;
        ensure_same(&alone, &among, one.network.outputs(), config)?;
    }
    Ok(())
}

/// Refuses outputs of examples alone that are not those among others.
fn ensure_same(alone: &[f64], among: &[f64], outputs: usize, config: &Import) -> Result<()> {
    let largest =
        alone.iter().filter(|x| x.is_finite()).fold(0.0, |most: f64, x| most.max(x.abs()));
    let tolerance = if config.dtype == DType::F64 { INTERACTION_F64 } else { INTERACTION_F32 };
    let differ = |(a, b): (&f64, &f64)| differ(*a, *b, tolerance * largest);
    match alone.iter().zip(among).position(differ) {
        None => Ok(()),
        Some(at) => {
            let (example, output) = (at / outputs, at % outputs);
            Err(TorchError::Interact { example, output, alone: alone[at], among: among[at] })
        }
    }
}

/// Whether two numbers are further apart than that; NaN is no further from NaN, nor an infinity
/// from itself.
fn differ(a: f64, b: f64, most: f64) -> bool {
    !((a - b).abs() <= most || (a.is_nan() && b.is_nan()) || a == b)
}

fn values(network: &Network, params: &Params, x: &Tensor) -> Result<Vec<f64>> {
    Ok(network.forward(params, x)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// Examples without a pattern: normals, or whole numbers below `rows`.
fn examples(
    signature: &Signature<'_>,
    batch: usize,
    rows: usize,
    config: &Import,
) -> Result<Tensor> {
    let shape = [&[batch], signature.example.as_slice()].concat();
    let count = shape.iter().product();
    if signature.elements == Elements::Real {
        let numbers = Initializer::Normal.draw("examples", count, 0);
        let numbers = Tensor::from_vec(numbers, shape, &config.device)?;
        return Ok(numbers.to_dtype(config.dtype)?);
    }
    let most = if signature.elements == Elements::Truth { 2 } else { rows.max(1) };
    let numbers = Initializer::Uniform { bound: 1.0 }.draw("examples", count, 0);
    let id = |number: f64| (((number + 1.0) / 2.0 * most as f64) as usize).min(most - 1) as u32;
    let ids: Vec<u32> = numbers.into_iter().map(id).collect();
    Ok(Tensor::from_vec(ids, shape, &config.device)?)
}

#[cfg(test)]
mod tests {
    use super::differ;

    #[test]
    fn numbers_differ_beyond_round_off_and_where_one_is_none() {
        let (nan, infinity) = (f64::NAN, f64::INFINITY);
        let same = [(1.0, 1.0), (1.0, 1.25), (1.25, 1.0), (nan, nan), (infinity, infinity)];
        assert!(same.iter().all(|(a, b)| !differ(*a, *b, 0.25)));
        let apart = [(1.0, 1.26), (1.0, -1.0), (nan, 1.0), (1.0, nan), (infinity, -infinity)];
        assert!(apart.iter().all(|(a, b)| differ(*a, *b, 0.25)));
        assert!(differ(infinity, 1.0, 0.25) && !differ(0.0, 0.0, 0.0));
    }
}
