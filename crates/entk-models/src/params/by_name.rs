//! Parameters from tensors by name, in any order. Called where tensors come from elsewhere: from
//! files, from candle-nn, from maps of a program.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    params::{
        Params,
        spec::{ParamSpec, name_differences},
    },
};

/// PyTorch's step counter of a batch norm: not a number that anything here depends on.
const IGNORED_SUFFIX: &str = "num_batches_tracked";

impl Params {
    /// Parameters from tensors by name, in any order: a `HashMap<String, Tensor>` for one. They
    /// are put into the order of `specs`, whose kinds say what is trained and what is a statistic.
    /// `num_batches_tracked` is ignored.
    ///
    /// Tensors are copied: training a variable does not move parameters that were made of it.
    ///
    /// ```
    /// # use std::collections::HashMap;
    /// # use candle_core::{DType, Device, Tensor};
    /// # use entk_models::{Dense, Model, Network, Params, Sequential};
    /// let network = Network::new(&[3], Sequential::new().then(Dense::new("fc", 3, 1)))?;
    /// let tensors = HashMap::from([
    ///     ("fc.bias".to_owned(), Tensor::zeros(1, DType::F32, &Device::Cpu)?),
    ///     ("fc.weight".to_owned(), Tensor::ones((1, 3), DType::F32, &Device::Cpu)?),
    /// ]);
    /// let theta = Params::from_named(&network.specs(), tensors)?;
    /// let names: Vec<&str> = theta.iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["fc.weight", "fc.bias"]);
    /// # Ok::<(), entk_models::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// [`ModelError::Names`] with every missing, unexpected and wrongly
    /// shaped tensor, and as [`Params::new`].
    pub fn from_named<S: Into<String>>(
        specs: &[ParamSpec],
        tensors: impl IntoIterator<Item = (S, Tensor)>,
    ) -> Result<Self> {
        let tensors: HashMap<String, Tensor> =
            tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect();
        let mut copies = ordered(specs, tensors)?;
        for (_, tensor) in &mut copies {
            *tensor = tensor.force_contiguous()?.detach();
        }
        Self::of_kinds(specs, copies)
    }

    /// These parameters with another tensor under one of their names: initial values of one's own.
    ///
    /// ```
    /// # use candle_core::{DType, Device, Tensor};
    /// # use entk_models::{Dense, Model, Network, Sequential};
    /// let network = Network::new(&[3], Sequential::new().then(Dense::new("fc", 3, 1)))?;
    /// let theta = network.init(0, DType::F32, &Device::Cpu)?;
    /// let theta = theta.with_tensor("fc.bias", Tensor::new(&[0.5f32], &Device::Cpu)?)?;
    /// assert_eq!(theta.get("fc.bias")?.to_vec1::<f32>()?, [0.5]);
    /// # Ok::<(), entk_models::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// [`ModelError::UnknownName`], [`ModelError::Shape`] where the two differ in shape, and as
    /// [`Params::new`].
    pub fn with_tensor(&self, name: &str, tensor: Tensor) -> Result<Self> {
        let old = self.get(name)?;
        if old.dims() != tensor.dims() {
            return Err(ModelError::shape(name, format!("{:?}", old.dims()), tensor.dims()));
        }
        let changed = |list: &[(String, Tensor)]| {
            let other = |(n, t): &(String, Tensor)| {
                (n.clone(), if n == name { tensor.clone() } else { t.clone() })
            };
            list.iter().map(other).collect()
        };
        Self::new(changed(&self.theta), changed(&self.statistics))
    }
}

/// These tensors in the order of `specs`, once names and shapes are found to be theirs.
pub(crate) fn ordered(
    specs: &[ParamSpec],
    mut tensors: HashMap<String, Tensor>,
) -> Result<Vec<(String, Tensor)>> {
    let expected: Vec<_> = specs.iter().map(|s| (s.name.as_str(), s.shape.as_slice())).collect();
    check_names(&expected, &mut tensors)?;
    Ok(specs.iter().filter_map(|spec| tensors.remove_entry(&spec.name)).collect())
}

/// Drops what nothing depends on, and refuses other names or shapes than the `expected` ones.
pub(crate) fn check_names(
    expected: &[(&str, &[usize])],
    tensors: &mut HashMap<String, Tensor>,
) -> Result<()> {
    tensors.retain(|name, _| !name.ends_with(IGNORED_SUFFIX));
    let has = |(name, shape): &(&str, &[usize])| {
        tensors.get(*name).is_some_and(|tensor| tensor.dims() == *shape)
    };
    if expected.len() == tensors.len() && expected.iter().all(has) {
        return Ok(());
    }
    let mut found: Vec<_> = tensors.iter().map(|(n, t)| (n.as_str(), t.dims())).collect();
    found.sort_unstable();
    Err(name_differences(expected, &found))
}
