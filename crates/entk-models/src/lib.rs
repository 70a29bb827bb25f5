//! Networks f(theta, x) with exact derivatives, on candle tensors.
//!
//! A [`Network`] is a stack of [`Layer`]s; its parameters theta ([`Params`]) are passed to every
//! call. One forward pass over a batch gives a [`Sweep`], and a sweep gives everything else: the
//! outputs, `J v` ([`Sweep::jvp`]), `J^T u` ([`Sweep::vjp`]) and, by one backward pass, the
//! per-example gradients as unexpanded [`Factor`]s, of which every kernel, training step and
//! alignment is a contraction.
//!
//! Published networks are configurations: the paper's [`MlpConfig`], [`LeNet5Config`] and
//! [`ResNetConfig`]; [`WideResNetConfig`], [`VggConfig`], [`MobileNetV2Config`],
//! [`ConvNextConfig`], [`UNetConfig`], [`VitConfig`]; [`Gpt2Config`], [`BertConfig`],
//! [`LlamaConfig`], [`LstmConfig`]. [`Lora`] puts low-rank adapters on the dense layers of any of
//! them.
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

mod candle;
pub mod check;
mod ensure;
mod error;
mod factor;
mod files;
mod frozen;
mod graph;
mod layer;
mod layers;
mod loops;
mod mixed;
mod model;
mod nets;
mod network;
mod operation;
mod operations;
mod params;
mod sweep;

pub use candle::module::AsModule;
pub use ensure::ensure_finite;
pub use entk_device::{Activation, Function, Geometry};
pub use error::{ModelError, Result};
pub use factor::Factor;
pub use files::flax::FlaxTable;
pub use frozen::FrozenNorms;
pub use graph::{
    Graph, InputKind, Value,
    backward::FactorSink,
    summary::{NetworkSummary, NodeSummary},
};
pub use layer::Layer;
pub use layers::{
    BatchNorm, BatchNorm1d, BatchNorm2d, Conv, Conv1d, Conv2d, ConvTranspose2d, Dense, Dropout,
    Embedding, GroupNorm, InstanceNorm, LayerNorm, MultiHeadAttention, Residual, RmsNorm,
    Sequential, StochasticDepth,
};
pub use loops::{conv::rows::ConvRows, host_op::HostOp, padding::Padding, real::Real};
pub use mixed::{MixedFactor, MixedSink};
pub use model::Model;
#[doc(hidden)]
pub use model::sealed;
pub use nets::{
    BertConfig, ConvNextConfig, Gpt2Config, InvertedStage, LanguageHead, LeNet5Config, LlamaConfig,
    Lora, LstmConfig, MlpConfig, MobileNetV2Config, ResNetBlock, ResNetConfig, ResNetStem,
    StridePadding, UNetConfig, UNetOutput, VggConfig, VitConfig, WideResNetConfig,
};
pub use network::Network;
pub use operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp, only_tangent};
pub use operations::{
    attention::{Attend, Rotate, Softmax},
    closure::Closure,
    entrywise::{Add, AddActivated, Divide, Multiply, Subtract},
    linear::{Affine, AffineTransposed, Convolve, MatMul},
    norm::{Normalize, NormalizeBatch},
    pooling::{
        AvgPool, AvgPool1d, AvgPool2d, Interpolation, MaxPool, MaxPool1d, MaxPool2d, PerAxis,
        PoolWindows, Upsample, Upsample1d, Upsample2d,
    },
    reduce::{GlobalMean, Max, Mean, Sum, Variance},
    shape::{
        Concat, Embed, Expand, Flatten, FlattenAxes, IndexSelect, Pad, PadWith, Permute, Reshape,
        Roll, Select, Slice, Stack, TableRows,
    },
};
pub use params::{
    Params,
    active::ActiveParameters,
    init::{InitialLaw, Initializer},
    spec::{ParamKind, ParamSpec},
    trainable::Trainable,
};
pub use sweep::{MixedSweep, Sweep, TrainingSweep};

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
