use candle_core::{DType, Tensor};
use entk_models::{Model, Params, Real, ensure_finite};
use entk_spectral::{CrossGram, Gram};

use crate::{
    assemble::{Observer, Part, assemble},
    config::{GramConfig, Strategy},
    error::{GramError, Result},
    features::Features,
    per_example::{gradients, inner_products},
};

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
/// a dtype other than f32 and f64, a tile or micro-batch of 0.
pub fn gram(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    config: &GramConfig,
) -> Result<Gram> {
    gram_observed(model, params, inputs, config, &|_, _| {})
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
    let n = inputs.dim(0)?;
    Ok(match kernel(model, params, inputs, None, config, observe)? {
        Kernel::F32(entries) => Gram::from_lower_f32(n, entries)?,
        Kernel::F64(entries) => Gram::from_lower_f64(n, entries)?,
    })
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
    let (m, n) = (left.dim(0)?, right.dim(0)?);
    Ok(match kernel(model, params, left, Some(right), config, &|_, _| {})? {
        Kernel::F32(entries) => CrossGram::from_f32(m, n, entries)?,
        Kernel::F64(entries) => CrossGram::from_f64(m, n, entries)?,
    })
}

/// Entries in the dtype of the parameters, row-major.
enum Kernel {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// The kernel between `left` and `right`, or the lower triangle of that of `left` with itself.
fn kernel(
    model: &dyn Model,
    params: &Params,
    left: &Tensor,
    right: Option<&Tensor>,
    config: &GramConfig,
    observe: &Observer<'_>,
) -> Result<Kernel> {
    config.check()?;
    for inputs in std::iter::once(left).chain(right) {
        check_inputs(inputs)?;
    }
    match (config.strategy, params.dtype()) {
        (Strategy::PerExample, dtype) => {
            let rows = gradients(model, params, left, config)?;
            let cols = right.map(|x| gradients(model, params, x, config)).transpose()?;
            let entries = inner_products(&rows, cols.as_ref().unwrap_or(&rows));
            Ok(match dtype {
                DType::F64 => Kernel::F64(entries),
                _ => Kernel::F32(entries.iter().map(|k| *k as f32).collect()),
            })
        }
        (_, DType::F32) => tiled(model, params, left, right, config, observe).map(Kernel::F32),
        (_, DType::F64) => tiled(model, params, left, right, config, observe).map(Kernel::F64),
        (_, other) => Err(GramError::DType(other)),
    }
}

fn tiled<T: Real>(
    model: &dyn Model,
    params: &Params,
    left: &Tensor,
    right: Option<&Tensor>,
    config: &GramConfig,
    observe: &Observer<'_>,
) -> Result<Vec<T>> {
    let rows = Features::<T>::collect(model, params, left, config)?;
    match right {
        None => assemble(&rows, &rows, Part::Lower, config.tile, observe),
        Some(right) => {
            let cols = Features::<T>::collect(model, params, right, config)?;
            assemble(&rows, &cols, Part::Whole, config.tile, observe)
        }
    }
}

fn check_inputs(inputs: &Tensor) -> Result<()> {
    if inputs.elem_count() == 0 {
        return Err(GramError::Setting { field: "number of examples", got: 0, least: 1 });
    }
    Ok(ensure_finite(inputs, "inputs")?)
}
