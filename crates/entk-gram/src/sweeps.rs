use candle_core::Tensor;
use entk_models::{Factor, Model, Params, ensure_finite};

use crate::{
    config::{GramConfig, Outputs},
    error::Result,
};

/// Runs the model over `inputs` in micro-batches and hands the factors of every backward sweep
/// to `take`, with the number of examples in the batch that count.
///
/// The last micro-batch is filled up with copies of its last example, never shortened: the bits
/// of a dense layer depend on how many rows are multiplied at once.
pub(crate) fn for_each_sweep(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    config: &GramConfig,
    mut take: impl FnMut(Vec<Factor>, usize) -> Result<()>,
) -> Result<()> {
    let n = inputs.dim(0)?;
    for start in (0..n).step_by(config.micro_batch) {
        let count = config.micro_batch.min(n - start);
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
        take(factors, count)?;
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
