use candle_core::Tensor;
use entk_models::{Factor, Model, ModelError, Params, ensure_finite};

use crate::{
    config::{GramConfig, Outputs},
    error::{GramError, Result},
};

/// Examples checked for NaN and infinity at a time, so that no second copy of a large set is made.
const CHECKED: usize = 1024;

/// The factors of the micro-batch that starts at example `start`, and how many of its examples
/// count.
///
/// The last micro-batch is filled up with copies of its last example, never shortened: the bits
/// of a dense layer depend on how many rows are multiplied at once.
pub(crate) fn factors_from(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    config: &GramConfig,
    start: usize,
) -> Result<(Vec<Factor>, usize)> {
    let count = config.micro_batch.min(inputs.dim(0)? - start);
    let batch = padded(&inputs.narrow(0, start, count)?, config.micro_batch)?;
    let sweep = model.sweep(params, &batch)?;
    ensure_finite(sweep.outputs(), "model outputs")?;
    let factors = match config.outputs {
        Outputs::SumOfLogits => sweep.factors(&sweep.outputs().ones_like()?)?,
        Outputs::Trace => {
            let mut all = Vec::new();
            for channel in 0..model.outputs() {
                all.extend(sweep.output_factors(channel)?);
            }
            all
        }
    };
    Ok((factors, count))
}

/// Refuses an empty set and NaN or infinity in it.
pub(crate) fn check_inputs(inputs: &Tensor) -> Result<()> {
    if inputs.elem_count() == 0 {
        return Err(GramError::Setting { field: "number of examples", got: 0, least: 1 });
    }
    let n = inputs.dim(0)?;
    let example = inputs.elem_count() / n;
    for start in (0..n).step_by(CHECKED) {
        let block = inputs.narrow(0, start, CHECKED.min(n - start))?;
        ensure_finite(&block, "inputs").map_err(|error| match error {
            ModelError::NonFinite { what, index, value } => {
                ModelError::NonFinite { what, index: index + start * example, value }
            }
            other => other,
        })?;
    }
    Ok(())
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
