//! Networks f(theta, x) with exact derivatives, on candle tensors.
//!
//! A [`Network`] is a stack of [`Layer`]s; its parameters theta ([`Params`]) are passed to every
//! call. One forward pass over a batch gives a [`Sweep`], and a sweep gives everything else: the
//! outputs, `J v` ([`Sweep::jvp`]), `J^T u` ([`Sweep::vjp`]) and, by one backward pass, the
//! per-example gradients as unexpanded [`Factor`]s, of which every kernel, training step and
//! alignment is a contraction.
//!
//! The paper's networks are configurations: [`MlpConfig`], [`LeNet5Config`] and [`ResNetConfig`].
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use entk_models::{Model, MlpConfig, Params};
//!
//! let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
//! let theta = network.init(7, DType::F64, &Device::Cpu)?;
//! let x = Tensor::ones((3, 1, 4, 4), DType::F64, &Device::Cpu)?;
//! let sweep = network.sweep(&theta, &x)?;
//!
//! // The adjoint identity <u, J v> = <J^T u, v>.
//! let v = Params::standard_normal(&network.specs(), 1, DType::F64, &Device::Cpu)?;
//! let u = Tensor::ones((3, 1), DType::F64, &Device::Cpu)?;
//! let left = (sweep.jvp(&v)? * &u)?.sum_all()?.to_scalar::<f64>()?;
//! let right = sweep.vjp(&u)?.dot(&v)?;
//! assert!((left - right).abs() <= 1e-12 * left.abs());
//! # Ok::<(), entk_models::ModelError>(())
//! ```
#![forbid(unsafe_code)]

mod active;
mod check;
mod error;
mod factor;
mod facts;
mod flax;
mod frozen;
mod init;
mod layer;
mod layers;
mod mixed;
mod model;
mod nets;
mod network;
mod ops;
mod params;
mod spec;
mod weights;

pub use active::ActiveParameters;
pub use check::ensure_finite;
pub use error::{ModelError, Result};
pub use factor::Factor;
pub use flax::FlaxTable;
pub use frozen::FrozenNorms;
pub use init::Initializer;
pub use layer::{Cache, FactorSink, Layer, NormMode};
pub use layers::{
    AvgPool2d, BatchNorm2d, Conv2d, Dense, Flatten, GlobalMean, Residual, Sequential,
};
pub use mixed::{MixedFactor, MixedPoint, MixedSink, MixedSweep, bilinear_mixed_vjp};
pub use model::{Model, Sweep, TrainingSweep};
pub use nets::{LeNet5Config, MlpConfig, ResNetConfig};
pub use network::Network;
pub use ops::{
    activation::Activation,
    conv_rows::ConvRows,
    geometry::{Geometry, Padding},
    real::Real,
};
pub use params::Params;
pub use spec::{ParamKind, ParamSpec};
