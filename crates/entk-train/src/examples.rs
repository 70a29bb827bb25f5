//! [`Examples`]: N inputs with their targets, checked once.
//!
//! They come from a data set or from the targets of eigenvectors; [`fit`](crate::fit) trains on
//! them and [`evaluate`](crate::evaluate) measures on them, by minibatches and whole.

use std::sync::OnceLock;

use candle_core::Tensor;
use entk_device::hash;
use entk_models::ensure_finite;

use crate::{
    error::{Result, TrainError},
    targets::Targets,
};

/// A task: N inputs with a target for each, [`Targets`] of any kind; a vector of labels 0 or 1 is a
/// binary one.
///
/// The inputs are a tensor (N, C, H, W); its dtype and device must be those of the parameters that
/// are trained on it. Cloning is cheap: the inputs are shared.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_train::{Examples, Targets};
///
/// let images = Tensor::zeros((3, 1, 28, 28), DType::F32, &Device::Cpu)?;
/// let task = Examples::new(images, vec![0, 1, 1])?;
/// assert_eq!((task.count(), task.outputs()), (3, 1));
/// let digits = task.with_targets(Targets::classes(vec![9, 0, 4], 10)?)?;
/// assert_eq!((digits.count(), digits.outputs()), (3, 10));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Examples {
    inputs: Tensor,
    targets: Targets,
    /// The hash of targets and inputs, computed when a checkpoint first asks: a large set takes
    /// seconds.
    hash: OnceLock<String>,
}

impl Examples {
    /// Puts inputs (N, C, H, W) and the targets of N examples in one task.
    ///
    /// Both are checked once, here: one pass and one host copy.
    ///
    /// # Errors
    /// [`TrainError::Inputs`] unless there is a batch axis with at least one example,
    /// [`TrainError::Count`] unless there is a target for each, those of [`Targets::check`], and
    /// [`ModelError::NonFinite`](entk_models::ModelError::NonFinite) for NaN or infinity among the
    /// inputs.
    pub fn new(inputs: Tensor, targets: impl Into<Targets>) -> Result<Self> {
        if inputs.rank() < 2 || inputs.elem_count() == 0 {
            return Err(TrainError::Inputs { found: inputs.dims().to_vec() });
        }
        let targets = targets.into();
        targets.check_for(inputs.dims()[0])?;
        ensure_finite(&inputs, "inputs")?;
        Ok(Self { inputs: inputs.contiguous()?, targets, hash: OnceLock::new() })
    }

    /// Another task on the same inputs, which are neither copied nor checked again.
    ///
    /// # Errors
    /// Those of targets that do not fit, as for [`new`](Self::new).
    pub fn with_targets(&self, targets: impl Into<Targets>) -> Result<Self> {
        let targets = targets.into();
        targets.check_for(self.count())?;
        Ok(Self { inputs: self.inputs.clone(), targets, hash: OnceLock::new() })
    }

    /// A hash of targets and inputs, computed once.
    pub(crate) fn hash(&self) -> Result<String> {
        if let Some(hash) = self.hash.get() {
            return Ok(hash.clone());
        }
        let targets = self.targets.hash();
        let hash = hash::named_as_f64([(targets.as_str(), &self.inputs)].into_iter())?;
        Ok(self.hash.get_or_init(|| hash).clone())
    }

    /// The inputs, (N, C, H, W).
    #[must_use]
    pub fn inputs(&self) -> &Tensor {
        &self.inputs
    }

    /// The targets of the N examples.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Outputs that a model of them must have, C.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.targets.outputs()
    }

    /// Number of examples, N.
    #[must_use]
    pub fn count(&self) -> usize {
        self.targets.count()
    }

    /// The inputs (B, C, H, W) and targets of a minibatch; every index is below N.
    pub(crate) fn minibatch(&self, indices: &[u32]) -> Result<(Tensor, Targets)> {
        let at = Tensor::new(indices, self.inputs.device())?;
        Ok((self.inputs.index_select(&at, 0)?, self.targets.select(indices)))
    }
}
