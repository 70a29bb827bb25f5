pub(crate) mod form;
pub(crate) mod per_example;

use candle_core::Tensor;
use entk_models::{Factor, Model, ModelError, Params, ensure_finite};
use rayon::prelude::*;

use crate::{
    config::{GramConfig, Outputs},
    error::{GramError, Result},
};

/// Examples checked for NaN and infinity at a time, so that no second copy of a large set is made.
const CHECKED: usize = 1024;

/// The factors of one micro-batch.
pub(crate) struct Swept {
    /// One list of factors for each row of the kernel that an example has: one, or one an output.
    pub(crate) groups: Vec<Vec<Factor>>,
    /// How many examples of the batch count.
    pub(crate) count: usize,
}

/// Rows of the kernel that an example has.
pub(crate) fn rows_per_example(model: &dyn Model, config: &GramConfig) -> usize {
    if config.outputs == Outputs::Full { model.outputs() } else { 1 }
}

/// Sweeps the micro-batch that starts at example `start`.
///
/// The last micro-batch is filled up with copies of its last example, never shortened: the bits
/// of a dense layer depend on how many rows are multiplied at once.
pub(crate) fn factors_from(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    config: &GramConfig,
    start: usize,
) -> Result<Swept> {
    let count = config.micro_batch.min(inputs.dim(0)? - start);
    let batch = padded(&inputs.narrow(0, start, count)?, config.micro_batch)?;
    let sweep = model.sweep(params, &batch)?;
    ensure_finite(sweep.outputs(), "model outputs")?;
    let chosen = |factors: Vec<Factor>| -> Vec<Factor> {
        let included = |factor: &Factor| factor.names().iter().all(|name| config.includes(name));
        factors.into_iter().filter(included).collect()
    };
    let channels = || (0..model.outputs()).map(|c| Ok(chosen(sweep.output_factors(c)?)));
    let groups = match config.outputs {
        Outputs::SumOfLogits => vec![chosen(sweep.factors(&sweep.outputs().ones_like()?)?)],
        Outputs::Trace => {
            vec![channels().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()]
        }
        Outputs::Full => channels().collect::<Result<_>>()?,
    };
    Ok(Swept { groups, count })
}

/// Refuses names of layers that are not those of weights.
pub(crate) fn check_layers(model: &dyn Model, config: &GramConfig) -> Result<()> {
    let specs = model.specs();
    let known = |layer: &&String| {
        !layer.ends_with(".bias") && specs.iter().any(|spec| spec.name == **layer)
    };
    match config.layers.iter().find(|layer| !known(layer)) {
        None => Ok(()),
        Some(name) => {
            let known = specs.into_iter().map(|spec| spec.name).collect();
            Err(ModelError::UnknownName { name: name.clone(), known }.into())
        }
    }
}

/// Refuses an empty set and NaN or infinity in it.
pub(crate) fn check_inputs(inputs: &Tensor) -> Result<()> {
    if inputs.elem_count() == 0 {
        return Err(GramError::Setting { field: "number of examples", got: 0, least: 1 });
    }
    let n = inputs.dim(0)?;
    let example = inputs.elem_count() / n;
    let check = |start: usize| {
        let block = inputs.narrow(0, start, CHECKED.min(n - start))?;
        ensure_finite(&block, "inputs").map_err(|error| match error {
            ModelError::NonFinite { what, index, value } => {
                ModelError::NonFinite { what, index: index + start * example, value }
            }
            other => other,
        })
    };
    let starts: Vec<usize> = (0..n).step_by(CHECKED).collect();
    if !inputs.device().is_cpu() {
        return Ok(starts.into_iter().try_for_each(check)?); // one thread talks to a device
    }
    // The first error is the one that is told.
    let results: Vec<_> = starts.into_par_iter().map(check).collect();
    Ok(results.into_iter().collect::<std::result::Result<(), ModelError>>()?)
}

fn padded(batch: &Tensor, size: usize) -> Result<Tensor> {
    let count = batch.dim(0)?;
    if count == size {
        return Ok(batch.clone());
    }
    let last = batch.narrow(0, count - 1, 1)?;
    let copies = last.repeat([&[size - count][..], &vec![1; last.rank() - 1]].concat())?;
    Ok(Tensor::cat(&[batch, &copies], 0)?)
}
