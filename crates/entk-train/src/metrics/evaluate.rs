//! From a model and its parameters to its logits over a data set, and to what is reported of them.
//!
//! Solvers measure so after an epoch; [`logits`] and [`evaluate`] are for anyone.

use candle_core::{DType, Device, Tensor};
use entk_models::{Model, Params};
use rayon::prelude::*;

use crate::{
    error::{Result, TrainError},
    examples::Examples,
    loss::sigmoid::check_logits,
    metrics::quality::Metrics,
    targets::Targets,
};

/// [`Metrics`] of `model` at `params` over all of `examples`, none dropped, with the loss that
/// their targets are usually trained with ([`Loss::of`](crate::Loss::of)); [`Metrics::with_loss`]
/// on [`logits`] takes another.
///
/// As [`logits`]: batch norms are frozen, and `batch` changes memory and round-off only. The
/// paper's code drops the incomplete last batch here; this does not.
///
/// # Errors
/// As [`logits`], and [`TrainError::Outputs`] unless the model has as many outputs as the targets.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_models::{MlpConfig, Model};
/// use entk_train::{Examples, evaluate};
///
/// let network = MlpConfig { input: [1, 2, 2], ..MlpConfig::default() }.network()?;
/// let theta = network.init(0, DType::F32, &Device::Cpu)?.scale(0.0)?;
/// let x = Tensor::ones((5, 1, 2, 2), DType::F32, &Device::Cpu)?;
/// let metrics = evaluate(&network, &theta, &Examples::new(x, vec![0, 0, 1, 0, 1])?, 128)?;
/// // All logits are 0, which predicts class 0.
/// assert_eq!((metrics.loss, metrics.accuracy), (2f64.ln(), Some(0.6)));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
pub fn evaluate(
    model: &dyn Model,
    params: &Params,
    examples: &Examples,
    batch: usize,
) -> Result<Metrics> {
    check_outputs(model, examples.targets())?;
    Metrics::of(&logits(model, params, examples.inputs(), batch)?, examples.targets())
}

/// The logits f(theta, x) (N, C) in f64, output c of example n at `n C + c`, of N inputs x.
///
/// Forward passes with frozen statistics over `batch` examples at a time, the last one over what is
/// left; on the CPU each thread has one under way. The batch bounds the memory; results for
/// different ones differ by round-off.
///
/// # Errors
/// [`TrainError::Setting`] for a batch of 0, [`TrainError::NonFiniteLogit`], and the model's own
/// for inputs or parameters that do not fit.
pub fn logits(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    batch: usize,
) -> Result<Vec<f64>> {
    if batch == 0 {
        return Err(TrainError::Setting { field: "batch", found: 0.0, range: "at least 1" });
    }
    let count = inputs.dims().first().copied().unwrap_or(0);
    let of_batch = |start: usize| {
        let x = inputs.narrow(0, start, batch.min(count - start))?;
        host(&model.forward(params, &x)?)
    };
    let starts: Vec<usize> = (0..count).step_by(batch).collect();
    // Another device has one queue of work, which several threads would only put out of order.
    let parts: Vec<Result<Vec<f64>>> = if params.device().is_cpu() {
        starts.into_par_iter().map(of_batch).collect()
    } else {
        starts.into_iter().map(of_batch).collect()
    };
    let all = parts.into_iter().collect::<Result<Vec<_>>>()?.concat();
    check_logits(&all, model.outputs().max(1))?;
    Ok(all)
}

/// Refuses a model with another number of outputs than the targets.
pub(crate) fn check_outputs(model: &dyn Model, targets: &Targets) -> Result<()> {
    let (found, expected) = (model.outputs(), targets.outputs());
    if found == expected { Ok(()) } else { Err(TrainError::Outputs { found, expected }) }
}

/// The entries of a tensor as f64 on the host, row-major.
pub(crate) fn host(tensor: &Tensor) -> Result<Vec<f64>> {
    let flat = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
    Ok(flat.to_vec1()?)
}
