//! The parameters of a network as one vector: tensors by name go in, sums, products and norms come
//! out. A tangent, a gradient and a step of an optimiser are of this type too.

pub(crate) mod active;
pub(crate) mod host_summary;
pub(crate) mod init;
pub(crate) mod spec;
pub(crate) mod trainable;

use candle_core::{DType, Device, Tensor};

use crate::{
    ensure::ensure_finite,
    error::{ModelError, Result},
    loops::add_scaled::add_scaled,
    params::{
        host_summary::HostSummary,
        init::Initializer,
        spec::{ParamKind, ParamSpec},
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
#[derive(Debug, Clone)]
pub struct Params {
    theta: Vec<(String, Tensor)>,
    statistics: Vec<(String, Tensor)>,
    dtype: DType,
    device: Device,
    summary: HostSummary,
}

impl Params {
    /// Collects named tensors; `theta` and `statistics` keep their order.
    ///
    /// # Errors
    /// Tensors of differing dtype or device, non-finite entries, or no tensor at all.
    pub fn new(theta: Vec<(String, Tensor)>, statistics: Vec<(String, Tensor)>) -> Result<Self> {
        let Some((_, first)) = theta.first() else {
            return Err(ModelError::NoParameters);
        };
        let (dtype, device) = (first.dtype(), first.device().clone());
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
        Self::from_fn(specs, dtype, device, |spec| spec.draw(seed))
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
    /// A vector of the wrong length, or non-finite values.
    pub fn from_fn(
        specs: &[ParamSpec],
        dtype: DType,
        device: &Device,
        mut values: impl FnMut(&ParamSpec) -> Vec<f64>,
    ) -> Result<Self> {
        let (mut theta, mut statistics) = (Vec::new(), Vec::new());
        for spec in specs {
            let tensor = Tensor::from_vec(values(spec), spec.shape.as_slice(), &Device::Cpu)?
                .to_dtype(dtype)?
                .to_device(device)?;
            match spec.kind {
                ParamKind::Trainable => theta.push((spec.name.clone(), tensor)),
                _ => statistics.push((spec.name.clone(), tensor)),
            }
        }
        Self::new(theta, statistics)
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
        check_same_names(&self.statistics, &other.statistics)?;
        Ok(Self {
            statistics: other.statistics.clone(),
            summary: HostSummary::default(),
            ..self.clone()
        })
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

    /// Zero theta of the same shapes, with the same statistics.
    ///
    /// # Errors
    /// An allocation refused by the device.
    pub fn zeros_like(&self) -> Result<Self> {
        self.map(|t| Ok(t.zeros_like()?))
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
            list.iter().map(|(n, t)| Ok((n.clone(), t.to_device(device)?))).collect()
        };
        Self::new(convert(&self.theta)?, convert(&self.statistics)?)
    }

    /// `self + alpha * other`.
    ///
    /// # Errors
    /// [`ModelError::Names`] if the two differ in names or shapes.
    pub fn add_scaled(&self, alpha: f64, other: &Params) -> Result<Self> {
        self.zip(other, |a, b| add_scaled(a, alpha, b))
    }

    /// `self - other`.
    ///
    /// # Errors
    /// As [`add_scaled`](Params::add_scaled).
    pub fn sub(&self, other: &Params) -> Result<Self> {
        self.add_scaled(-1.0, other)
    }

    /// `alpha * self`.
    ///
    /// # Errors
    /// An allocation refused by the device.
    pub fn scale(&self, alpha: f64) -> Result<Self> {
        self.map(|t| Ok((t * alpha)?))
    }

    /// Inner product of the flat vectors, summed in f64 whatever the dtype.
    ///
    /// # Errors
    /// As [`add_scaled`](Params::add_scaled).
    pub fn dot(&self, other: &Params) -> Result<f64> {
        check_same_names(&self.theta, &other.theta)?;
        let mut sum = 0.0;
        for ((_, a), (_, b)) in self.theta.iter().zip(&other.theta) {
            let product = (a.to_dtype(DType::F64)? * b.to_dtype(DType::F64)?)?;
            sum += product.sum_all()?.to_scalar::<f64>()?;
        }
        Ok(sum)
    }

    /// The l2 norm of the flat vector.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn norm(&self) -> Result<f64> {
        Ok(self.dot(self)?.sqrt())
    }

    /// `1 - cos(self, other)` of the flat vectors, in 0..=2.
    ///
    /// # Errors
    /// A zero vector has no direction and is refused.
    pub fn cosine_distance(&self, other: &Params) -> Result<f64> {
        let norms = self.norm()? * other.norm()?;
        if norms == 0.0 {
            return Err(ModelError::ZeroVector);
        }
        Ok(1.0 - self.dot(other)? / norms)
    }

    /// Refuses a set of other names or shapes than this one's theta.
    ///
    /// # Errors
    /// [`ModelError::Names`].
    pub fn check_same_shape(&self, other: &Params) -> Result<()> {
        check_same_names(&self.theta, &other.theta)
    }

    /// Applies `f` to every trainable tensor.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let theta =
            self.theta.iter().map(|(name, t)| Ok((name.clone(), f(t)?))).collect::<Result<_>>()?;
        Ok(Self { theta, summary: HostSummary::default(), ..self.clone() })
    }

    /// Applies `f` to every pair of trainable tensors.
    ///
    /// # Errors
    /// Those of `f`, and [`ModelError::Names`] if names or shapes differ.
    pub fn zip(
        &self,
        other: &Params,
        mut f: impl FnMut(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        check_same_names(&self.theta, &other.theta)?;
        let theta = (self.theta.iter().zip(&other.theta))
            .map(|((name, a), (_, b))| Ok((name.clone(), f(a, b)?)))
            .collect::<Result<_>>()?;
        Ok(Self { theta, summary: HostSummary::default(), ..self.clone() })
    }

    /// Sorts named gradient tensors into this set's order; absent tensors are zero.
    pub(crate) fn gradient_from(&self, mut parts: Vec<(String, Tensor)>) -> Result<Self> {
        let mut theta = Vec::with_capacity(self.theta.len());
        for (name, like) in &self.theta {
            let mut sum: Option<Tensor> = None;
            while let Some(at) = parts.iter().position(|(n, _)| n == name) {
                let part = parts.swap_remove(at).1.reshape(like.shape())?;
                sum = Some(match sum {
                    Some(s) => (s + part)?,
                    None => part,
                });
            }
            theta.push((name.clone(), sum.map_or_else(|| like.zeros_like(), Ok)?));
        }
        Ok(Self { theta, summary: HostSummary::default(), ..self.clone() })
    }
}

fn find<'a>(list: &'a [(String, Tensor)], name: &str) -> Result<&'a Tensor> {
    list.iter().find_map(|(n, t)| (n == name).then_some(t)).ok_or_else(|| ModelError::UnknownName {
        name: name.to_string(),
        known: list.iter().map(|(n, _)| n.clone()).collect(),
    })
}

fn check_same_names(a: &[(String, Tensor)], b: &[(String, Tensor)]) -> Result<()> {
    let same = a.len() == b.len()
        && a.iter().zip(b).all(|((m, s), (n, t))| m == n && s.dims() == t.dims());
    if same {
        return Ok(());
    }
    let expected: Vec<_> = a.iter().map(|(n, t)| (n.as_str(), t.dims())).collect();
    let found: Vec<_> = b.iter().map(|(n, t)| (n.as_str(), t.dims())).collect();
    Err(crate::params::spec::name_differences(&expected, &found))
}
