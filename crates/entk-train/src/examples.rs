//! [`Examples`]: inputs x (N, C, H, W) with N labels 0 or 1, checked once.
//!
//! They come from a data set or from the targets of eigenvectors; [`fit`](crate::fit) trains on
//! them and [`evaluate`](crate::evaluate) measures on them, by minibatches and whole.

use std::sync::OnceLock;

use candle_core::Tensor;
use entk_device::hash;
use entk_models::ensure_finite;

use crate::error::{Result, TrainError};

/// A binary task: N inputs with a label 0 or 1 for each.
///
/// The inputs are a tensor (N, C, H, W); its dtype and device must be those of the parameters that
/// are trained on it. In the paper's formulas the label 0 is the target -1. Cloning is cheap: the
/// inputs are shared.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_train::Examples;
///
/// let images = Tensor::zeros((3, 1, 28, 28), DType::F32, &Device::Cpu)?;
/// let task = Examples::new(images, vec![0, 1, 1])?;
/// assert_eq!(task.count(), 3);
/// let flipped = task.with_labels(vec![1, 0, 0])?;
/// assert_eq!(flipped.labels(), [1, 0, 0]);
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Examples {
    inputs: Tensor,
    labels: Vec<u8>,
    /// The hash of labels and inputs, computed when a checkpoint first asks: a large set takes
    /// seconds.
    hash: OnceLock<String>,
}

impl Examples {
    /// Puts inputs (N, C, H, W) and N labels together.
    ///
    /// The inputs are checked once, here: one pass and one host copy.
    ///
    /// # Errors
    /// [`TrainError::Inputs`] unless there is a batch axis with at least one example,
    /// [`TrainError::Count`] unless there is one label for each, [`TrainError::Label`] for a label
    /// other than 0 and 1, and [`ModelError::NonFinite`](entk_models::ModelError::NonFinite) for
    /// NaN or infinity among the inputs.
    pub fn new(inputs: Tensor, labels: Vec<u8>) -> Result<Self> {
        if inputs.rank() < 2 || inputs.elem_count() == 0 {
            return Err(TrainError::Inputs { found: inputs.dims().to_vec() });
        }
        check_labels(&labels, inputs.dims()[0])?;
        ensure_finite(&inputs, "inputs")?;
        Ok(Self { inputs: inputs.contiguous()?, labels, hash: OnceLock::new() })
    }

    /// Another task on the same inputs, which are neither copied nor checked again.
    ///
    /// # Errors
    /// [`TrainError::Count`] and [`TrainError::Label`], as for [`new`](Self::new).
    pub fn with_labels(&self, labels: Vec<u8>) -> Result<Self> {
        check_labels(&labels, self.count())?;
        Ok(Self { inputs: self.inputs.clone(), labels, hash: OnceLock::new() })
    }

    /// A hash of labels and inputs, computed once.
    pub(crate) fn hash(&self) -> Result<String> {
        if let Some(hash) = self.hash.get() {
            return Ok(hash.clone());
        }
        let labels = blake3::hash(&self.labels).to_hex();
        let hash = hash::named_as_f64([(labels.as_str(), &self.inputs)].into_iter())?;
        Ok(self.hash.get_or_init(|| hash).clone())
    }

    /// The inputs, (N, C, H, W).
    #[must_use]
    pub fn inputs(&self) -> &Tensor {
        &self.inputs
    }

    /// The labels, N of them, each 0 or 1.
    #[must_use]
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Number of examples, N.
    #[must_use]
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// The inputs (B, C, H, W) and labels of a minibatch; every index is below N.
    pub(crate) fn minibatch(&self, indices: &[u32]) -> Result<(Tensor, Vec<u8>)> {
        let at = Tensor::new(indices, self.inputs.device())?;
        let labels = indices.iter().map(|&i| self.labels[i as usize]).collect();
        Ok((self.inputs.index_select(&at, 0)?, labels))
    }
}

/// Checks that there are `examples` labels, all 0 or 1.
pub(crate) fn check_labels(labels: &[u8], examples: usize) -> Result<()> {
    if labels.len() != examples {
        return Err(TrainError::Count { what: "labels", expected: examples, found: labels.len() });
    }
    match labels.iter().enumerate().find(|(_, label)| **label > 1) {
        Some((index, &value)) => Err(TrainError::Label { index, value }),
        None => Ok(()),
    }
}
