//! The parameters of a network as one vector: tensors by name go in, sums, products and norms come
//! out. A tangent, a gradient and a step of an optimiser are of this type too.

pub(crate) mod active;
pub(crate) mod by_name;
pub(crate) mod host_summary;
pub(crate) mod init;
mod likely;
pub(crate) mod list;
pub(crate) mod names;
pub(crate) mod spec;
pub(crate) mod trainable;
mod vector;

use std::fmt;

use candle_core::{DType, Device, Tensor};
use entk_device::to_device;

use crate::{
    ensure::ensure_finite,
    error::{ModelError, Result},
    params::{
        host_summary::HostSummary,
        init::Initializer,
        list::{find, in_order_of},
        spec::{ParamKind, ParamSpec, ensure_memory},
    },
};

/// The parameters theta of a model, in a fixed order, with what training does not change by a
/// gradient beside them: the statistics of batch norms, and frozen parameters.
///
/// All tensors have one dtype and live on one device. Vector-space operations (`dot`, `norm`,
/// `add_scaled`, ...) see theta alone, as one flat vector of [`count`](Params::count) numbers;
/// the statistics are carried along unchanged. A tangent, a gradient and a cotangent in parameter
/// space are `Params` too.
///
/// ```
/// # use entk_models::{MlpConfig, Model};
/// # use candle_core::{DType, Device};
/// let network = MlpConfig::default().network()?;
/// let theta = network.init(0, DType::F64, &Device::Cpu)?;
/// assert_eq!(theta.count(), 317_501);
/// let moved = theta.add_scaled(0.5, &theta)?;
/// assert!((moved.norm()? - 1.5 * theta.norm()?).abs() < 1e-9);
/// assert!(moved.cosine_distance(&theta)?.abs() < 1e-12);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Clone)]
pub struct Params {
    theta: Vec<(String, Tensor)>,
    statistics: Vec<(String, Tensor)>,
    dtype: DType,
    device: Device,
    summary: HostSummary,
}

/// How many tensors and numbers, without these.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("tensors", &self.theta.len())
            .field("count", &self.count())
            .field("statistics", &self.statistics.len())
            .field("dtype", &self.dtype)
            .field("device", &self.device.location())
            .finish()
    }
}

impl Params {
    /// Collects named tensors; `theta` and `statistics` keep their order.
    ///
    /// # Errors
    /// Tensors of differing dtype or device or of other dtypes than f32 and f64, non-finite
    /// entries, or no tensor at all.
    pub fn new(theta: Vec<(String, Tensor)>, statistics: Vec<(String, Tensor)>) -> Result<Self> {
        let Some((_, first)) = theta.first() else {
            return Err(ModelError::NoParameters);
        };
        let (dtype, device) = (float_type(first.dtype()), first.device().clone());
        for (name, tensor) in theta.iter().chain(&statistics) {
            if tensor.dtype() != dtype {
                return Err(ModelError::DType {
                    what: name.clone(),
                    expected: dtype,
                    got: tensor.dtype(),
                });
            }
            if !tensor.device().same_device(&device) {
                return Err(ModelError::OtherDevice { name: name.clone() });
            }
            ensure_finite(tensor, name)?;
        }
        Ok(Self { theta, statistics, dtype, device, summary: HostSummary::default() })
    }

    /// Draws parameters for `specs`: see [`Model::init`](crate::Model::init).
    ///
    /// # Errors
    /// An unsupported dtype, or an allocation refused by the device.
    pub fn init(specs: &[ParamSpec], seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        ensure_memory(specs, dtype)?;
        let tensor = |spec: &ParamSpec| {
            let values = spec.init.stream(&spec.name, seed).take(spec.elem_count());
            let tensor = match dtype {
                DType::F64 => Tensor::from_iter(values, &Device::Cpu)?,
                _ => Tensor::from_iter(values.map(|value| value as f32), &Device::Cpu)?,
            };
            let tensor = tensor.reshape(spec.shape.as_slice())?.to_dtype(dtype)?;
            Ok((spec.name.clone(), tensor.to_device(device)?))
        };
        Self::of_kinds(specs, specs.iter().map(tensor).collect::<Result<_>>()?)
    }

    /// A standard-normal direction in parameter space, statistics zero; for probes and tests.
    ///
    /// # Errors
    /// As [`init`](Params::init).
    pub fn standard_normal(
        specs: &[ParamSpec],
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        Self::from_fn(specs, dtype, device, |spec| match spec.kind {
            ParamKind::Trainable => Initializer::Normal.draw(&spec.name, spec.elem_count(), seed),
            _ => vec![0.0; spec.elem_count()],
        })
    }

    /// Fills every tensor from a function of its specification, values in row-major order.
    ///
    /// # Errors
    /// A vector of the wrong length, non-finite values, and more numbers than memory can hold,
    /// before any is drawn.
    pub fn from_fn(
        specs: &[ParamSpec],
        dtype: DType,
        device: &Device,
        mut values: impl FnMut(&ParamSpec) -> Vec<f64>,
    ) -> Result<Self> {
        ensure_memory(specs, dtype)?;
        let tensor = |spec: &ParamSpec| {
            let tensor = Tensor::from_vec(values(spec), spec.shape.as_slice(), &Device::Cpu)?;
            Ok((spec.name.clone(), tensor.to_dtype(dtype)?.to_device(device)?))
        };
        Self::of_kinds(specs, specs.iter().map(tensor).collect::<Result<_>>()?)
    }

    /// Tensors in the order of `specs`, each put where its kind belongs.
    pub(crate) fn of_kinds(specs: &[ParamSpec], tensors: Vec<(String, Tensor)>) -> Result<Self> {
        let kinds = specs.iter().map(|spec| spec.kind == ParamKind::Trainable);
        let (theta, statistics): (Vec<_>, Vec<_>) =
            tensors.into_iter().zip(kinds).partition(|(_, trains)| *trains);
        let unmarked = |list: Vec<((String, Tensor), bool)>| list.into_iter().map(|(t, _)| t);
        Self::new(unmarked(theta).collect(), unmarked(statistics).collect())
    }

    /// The trainable tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.theta.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The batch-norm statistics and frozen parameters, in order.
    pub fn statistics(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.statistics.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor called `name`, trainable or not.
    ///
    /// # Errors
    /// [`ModelError::UnknownName`], listing the names there are.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let fixed = || self.statistics.iter().find_map(|(n, t)| (n == name).then_some(t));
        find(&self.theta, name).or_else(|error| fixed().ok_or(error))
    }

    /// The statistic called `name`.
    ///
    /// # Errors
    /// [`ModelError::UnknownName`], listing the names there are.
    pub fn statistic(&self, name: &str) -> Result<&Tensor> {
        find(&self.statistics, name)
    }

    /// Whether every entry of the trainable tensor `name` is exactly zero.
    pub(crate) fn is_zero(&self, name: &str) -> Result<bool> {
        self.summary.is_zero(&self.theta, name, self.get(name)?)
    }

    /// The smallest entry of the statistic `name`.
    pub(crate) fn lowest_statistic(&self, name: &str) -> Result<f64> {
        self.statistic(name)?;
        self.summary.lowest(&self.statistics, name)
    }

    /// Number of trainable scalars, the P of the paper.
    pub fn count(&self) -> usize {
        self.theta.iter().map(|(_, t)| t.elem_count()).sum()
    }

    /// The element type of every tensor.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device of every tensor.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// This theta with the statistics of `other`: a trained network linearized with its
    /// initial statistics, for one.
    ///
    /// # Errors
    /// [`ModelError::Names`] if the two sets of statistics differ in names or shapes.
    pub fn with_statistics_of(&self, other: &Params) -> Result<Self> {
        let others = in_order_of(&self.statistics, &other.statistics)?;
        let named = self.statistics.iter().zip(others).map(|((n, _), t)| (n.clone(), t.clone()));
        Ok(Self { statistics: named.collect(), summary: HostSummary::default(), ..self.clone() })
    }

    /// This theta with other statistics, as a training sweep returns them; those that are not given
    /// stay.
    ///
    /// # Errors
    /// [`ModelError::UnknownName`] or [`ModelError::Shape`] if a name or shape is not a present
    /// one.
    pub fn with_statistics(&self, new: Vec<(String, Tensor)>) -> Result<Self> {
        let mut statistics = self.statistics.clone();
        for (name, tensor) in new {
            let old = self.statistic(&name)?;
            if old.dims() != tensor.dims() {
                return Err(ModelError::shape(name, format!("{:?}", old.dims()), tensor.dims()));
            }
            let place = statistics.iter_mut().find(|(other, _)| *other == name);
            place.into_iter().for_each(|(_, statistic)| *statistic = tensor.clone());
        }
        Ok(Self { statistics, summary: HostSummary::default(), ..self.clone() })
    }

    /// A copy in another element type.
    ///
    /// # Errors
    /// An unsupported conversion, or a value that the new dtype cannot hold.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let convert = |list: &[(String, Tensor)]| -> Result<Vec<_>> {
            list.iter().map(|(n, t)| Ok((n.clone(), t.to_dtype(dtype)?))).collect()
        };
        Self::new(convert(&self.theta)?, convert(&self.statistics)?)
    }

    /// A copy on another device.
    ///
    /// # Errors
    /// An allocation refused by the device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let convert = |list: &[(String, Tensor)]| -> Result<Vec<_>> {
            list.iter().map(|(n, t)| Ok((n.clone(), to_device(t, device)?))).collect()
        };
        Self::new(convert(&self.theta)?, convert(&self.statistics)?)
    }
}

/// This type if derivatives can be taken in it, else the one to convert to.
fn float_type(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}
