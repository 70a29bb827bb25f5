//! From parameters and the indices of a minibatch to its logits and the gradient of its loss.
//!
//! A [`Trainer`](crate::Trainer) asks for it at every step.

use candle_core::{Device, Tensor};
use entk_models::{Model, Params};
use rayon::prelude::*;

use crate::{
    error::Result, examples::Examples, loss::Objective, metrics::evaluate::host, targets::Targets,
};

/// Examples of one sweep where examples do not interact. The activations of so few fit in a core's
/// cache, and each thread sweeps a chunk of its own. The number is fixed, so that the bits of the
/// gradient do not depend on the number of threads.
const CHUNK: usize = 32;
/// How often an example must use each parameter for chunks to pay: each chunk makes a gradient as
/// large as theta. Convolutions use a weight at every pixel, dense layers once.
const LEAST_REUSE: f64 = 4.0;

/// The logits of a minibatch and the gradient of its loss in the parameters.
pub(crate) struct BatchGradient {
    /// (B, C), row by row.
    pub(crate) logits: Vec<f64>,
    pub(crate) targets: Targets,
    /// The gradient of the mean loss over the minibatch.
    pub(crate) gradient: Params,
    /// The statistics of batch norms after this minibatch.
    pub(crate) statistics: Vec<(String, Tensor)>,
}

impl BatchGradient {
    /// The gradient at `params` on the examples `indices`.
    pub(crate) fn new(
        model: &dyn Model,
        params: &Params,
        examples: &Examples,
        indices: &[u32],
        objective: &Objective<'_>,
    ) -> Result<Self> {
        let size = if in_chunks(model, params) { CHUNK } else { indices.len() };
        let targets = examples.targets().select(indices);
        let total = objective.total(&targets);
        let part = |part: &[u32]| Part::new(model, params, examples, part, objective, total);
        let parts: Vec<Result<Part>> = indices.par_chunks(size).map(part).collect();
        let mut parts = parts.into_iter();
        let Part { mut logits, mut gradient, statistics } =
            parts.next().unwrap_or_else(|| part(indices))?;
        for part in parts {
            let part = part?;
            gradient = gradient.add_scaled(1.0, &part.gradient)?;
            logits.extend(part.logits);
        }
        Ok(Self { logits, targets, gradient, statistics })
    }
}

/// What some examples contribute to a minibatch.
struct Part {
    logits: Vec<f64>,
    gradient: Params,
    statistics: Vec<(String, Tensor)>,
}

impl Part {
    /// Of the examples `indices` in a minibatch whose loss is divided by `total`.
    fn new(
        model: &dyn Model,
        params: &Params,
        examples: &Examples,
        indices: &[u32],
        objective: &Objective<'_>,
        total: f64,
    ) -> Result<Self> {
        let (x, targets) = examples.minibatch(indices)?;
        let sweep = model.training_sweep(params, &x)?;
        let outputs = sweep.outputs();
        let logits = host(outputs)?;
        let cotangent = objective.share_of_cotangent(&logits, &targets, total)?;
        let cotangent = Tensor::from_vec(cotangent, outputs.dims(), &Device::Cpu)?
            .to_dtype(outputs.dtype())?
            .to_device(outputs.device())?;
        let gradient = sweep.vjp(&cotangent)?;
        Ok(Self { logits, gradient, statistics: sweep.statistics().to_vec() })
    }
}

/// Whether examples are swept in chunks: on the CPU, without batch norms, through which they
/// interact, and where weights are used often.
fn in_chunks(model: &dyn Model, params: &Params) -> bool {
    let reuse = model.operations() / (2.0 * params.count() as f64);
    params.device().is_cpu() && params.statistics().next().is_none() && reuse >= LEAST_REUSE
}
