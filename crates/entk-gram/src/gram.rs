//! Kernels in one call, with default observers: the functions most callers want.

use candle_core::Tensor;
use entk_models::{Model, Params};
use entk_spectral::{CrossGram, Gram};

use crate::{assembly::Assembly, config::GramConfig, error::Result, progress::Observer};

/// The empirical NTK Gram matrix `K[n, m] = grad f(x_n) . grad f(x_m)` of a model at `params` on
/// `inputs` (N, C, H, W): a plain sum over parameters, no 1/N and no 1/P.
///
/// Computed and stored in the dtype of `params`. The lower triangle is computed, tile by tile;
/// any number of threads and any tile gives the same bits.
///
/// Cost: one forward and backward sweep over the data, then about 7 kFLOP (MLP) or 9 kFLOP
/// (LeNet5) a pair at their default sizes; memory N^2 numbers and 3,500 to 4,300 an example.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_gram::{GramConfig, gram};
/// use entk_models::{MlpConfig, Model};
///
/// let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
/// let theta = network.init(0, DType::F64, &Device::Cpu)?;
/// let x = Tensor::ones((3, 1, 4, 4), DType::F64, &Device::Cpu)?;
/// let kernel = gram(&network, &theta, &x, &GramConfig::default())?;
/// assert_eq!(kernel.n(), 3);
/// assert_eq!(kernel.get(0, 1), kernel.get(2, 0)); // three equal inputs
/// # Ok::<(), entk_gram::GramError>(())
/// ```
///
/// # Errors
/// Inputs or parameters that do not fit the model, NaN or infinity anywhere, an empty data set,
/// a dtype other than f32 and f64, a tile or micro-batch of 0, and
/// [`GramError::Memory`](crate::GramError::Memory) where the memory cannot hold what it needs.
pub fn gram(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    config: &GramConfig,
) -> Result<Gram> {
    Assembly::new(model, params, inputs, config)?.gram()
}

/// As [`gram`], telling `observe` how many entries are done.
///
/// # Errors
/// As [`gram`].
pub fn gram_observed(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    config: &GramConfig,
    observe: &Observer<'_>,
) -> Result<Gram> {
    Assembly::new(model, params, inputs, config)?.observed(observe).gram()
}

/// The kernel between two samples, `K[n, m] = grad f(x_n) . grad f(z_m)`, rows x `left` and
/// columns z `right`; for predictions on new inputs.
///
/// # Errors
/// As [`gram`].
pub fn cross_gram(
    model: &dyn Model,
    params: &Params,
    left: &Tensor,
    right: &Tensor,
    config: &GramConfig,
) -> Result<CrossGram> {
    Assembly::new(model, params, left, config)?.cross(right)
}
