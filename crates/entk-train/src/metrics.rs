//! From a model and its parameters to what is reported of them: logits over a data set, loss and
//! accuracy, and the distance from theta_0.
//!
//! Solvers measure so after an epoch; [`logits`] and [`evaluate`] are for anyone.

use candle_core::{DType, Device, Tensor};
use entk_models::{Model, Params};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, TrainError},
    examples::Examples,
    loss::{Loss, check_logits, predicted_label},
};

/// Loss and accuracy over a set of examples.
///
/// ```
/// use entk_train::Metrics;
///
/// let metrics = Metrics::of(&[2.0, -1.0, 0.0], &[1, 1, 0])?;
/// assert!((metrics.accuracy - 2.0 / 3.0).abs() < 1e-15);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean sigmoid cross-entropy, in nats:
    /// [`sigmoid_cross_entropy`](crate::sigmoid_cross_entropy); in a run with another [`Loss`],
    /// the mean of it.
    pub loss: f64,
    /// Fraction of right predictions, in 0..=1: [`predicted_label`].
    pub accuracy: f64,
}

impl Metrics {
    /// The metrics of given logits.
    ///
    /// # Errors
    /// As [`sigmoid_cross_entropy`](crate::sigmoid_cross_entropy).
    pub fn of(logits: &[f64], labels: &[u8]) -> Result<Self> {
        Self::with_loss(Loss::default(), logits, labels)
    }

    /// The metrics of given logits with this loss in place of the cross-entropy.
    ///
    /// # Errors
    /// As [`sigmoid_cross_entropy`](crate::sigmoid_cross_entropy).
    pub fn with_loss(loss: Loss, logits: &[f64], labels: &[u8]) -> Result<Self> {
        let loss = loss.value(logits, labels)?;
        let right = logits.iter().zip(labels).filter(|&(&z, &y)| predicted_label(z) == y).count();
        Ok(Self { loss, accuracy: right as f64 / logits.len() as f64 })
    }
}

/// Loss and accuracy of `model` at `params` over all of `examples`, none dropped.
///
/// As [`logits`]: batch norms are frozen, and `batch` changes memory and round-off only. The
/// paper's code drops the incomplete last batch here; this does not.
///
/// # Errors
/// As [`logits`].
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
/// assert_eq!((metrics.loss, metrics.accuracy), (2f64.ln(), 0.6));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
pub fn evaluate(
    model: &dyn Model,
    params: &Params,
    examples: &Examples,
    batch: usize,
) -> Result<Metrics> {
    Metrics::of(&logits(model, params, examples.inputs(), batch)?, examples.labels())
}

/// The logits f(theta, x), N of them in f64, of inputs x (N, C, H, W).
///
/// Forward passes with frozen statistics over `batch` examples at a time, the last one over what is
/// left; on the CPU each thread has one under way. The batch bounds the memory; results for
/// different ones differ by round-off.
///
/// # Errors
/// [`TrainError::Outputs`] unless the model has one output, [`TrainError::Setting`] for a batch of
/// 0, [`TrainError::NonFiniteLogit`], and the model's own for inputs or parameters that do not fit.
pub fn logits(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    batch: usize,
) -> Result<Vec<f64>> {
    check_one_output(model)?;
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
    check_logits(&all)?;
    Ok(all)
}

/// Refuses a model with other than one output.
pub(crate) fn check_one_output(model: &dyn Model) -> Result<()> {
    match model.outputs() {
        1 => Ok(()),
        found => Err(TrainError::Outputs { found }),
    }
}

/// The entries of a tensor as f64 on the host, row-major.
pub(crate) fn host(tensor: &Tensor) -> Result<Vec<f64>> {
    let flat = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
    Ok(flat.to_vec1()?)
}

/// How far parameters have moved, as flat vectors; batch-norm statistics do not count.
///
/// Paper: figure 3.
///
/// ```
/// use candle_core::{DType, Device};
/// use entk_models::{MlpConfig, Model};
/// use entk_train::Distance;
///
/// let theta = MlpConfig::default().network()?.init(0, DType::F64, &Device::Cpu)?;
/// let moved = Distance::between(&theta, &theta.scale(3.0)?)?;
/// assert!((moved.l2 - 2.0 * theta.norm()?).abs() < 1e-9);
/// assert!(moved.cosine.is_some_and(|c| c.abs() < 1e-12));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// The l2 norm of theta - theta_0.
    pub l2: f64,
    /// 1 - cos(theta, theta_0), in 0..=2 up to round-off; none where either vector is zero.
    pub cosine: Option<f64>,
}

impl Distance {
    /// The distance of `now` from `start`, summed in f64. Cost: one pass over P numbers and two
    /// host copies.
    ///
    /// # Errors
    /// [`ModelError::Names`](entk_models::ModelError::Names) if the two differ in names or shapes.
    pub fn between(start: &Params, now: &Params) -> Result<Self> {
        start.check_same_shape(now)?;
        let mut sums = Products::default();
        for (name, a) in start.iter() {
            sums.add(&host(a)?, &host(now.get(name)?)?);
        }
        let norms = sums.aa.sqrt() * sums.bb.sqrt();
        let cosine = if norms == 0.0 { None } else { Some(1.0 - sums.ab / norms) };
        Ok(Self { l2: sums.gap.sqrt(), cosine })
    }
}

/// Sums over two vectors a and b.
#[derive(Default)]
struct Products {
    aa: f64,
    bb: f64,
    ab: f64,
    /// Of (a - b)^2.
    gap: f64,
}

impl Products {
    fn add(&mut self, a: &[f64], b: &[f64]) {
        for (a, b) in a.iter().zip(b) {
            self.aa += a * a;
            self.bb += b * b;
            self.ab += a * b;
            self.gap += (a - b) * (a - b);
        }
    }
}
