//! Linearized neural networks and the empirical neural tangent kernel (NTK).
//!
//! Bring a network and a data set; get the NTK Gram matrix, its eigenfunctions, the alignment of
//! any task with it, and the training of the network beside that of its linearization: the
//! system of *What can linearized neural networks actually say about generalization?* (NeurIPS
//! 2021), on a laptop.
//!
//! Data flows one way, and each station is a crate, re-exported here as a module:
//!
//! | module | question it answers |
//! |---|---|
//! | [`device`] | on which device, in which precision? |
//! | [`data`] | which images and labels? |
//! | [`models`] | what are f(theta, x), J v, J^T u and the per-example gradients? |
//! | [`torch`] | which network does an archive of PyTorch hold? |
//! | [`linearize`] | what is the first-order Taylor expansion of f around theta_0? |
//! | [`gram`] | what is Theta(x, x') = grad f(x) . grad f(x') on the data? |
//! | [`spectral`] | what are its eigenpairs, and how well does a task align with them? |
//! | [`train`] | how do the network and its linearization learn a task? |
//! | [`predict`] | what does a kernel predict at new inputs, and how surely? |
//!
//! # The whole path
//!
//! ```
//! use entk::prelude::*;
//!
//! // Real images: a slice of Fashion-MNIST that the crate carries, standardised.
//! let (split, _) = embedded()?.standardized()?;
//! let sample = split.train.stratified_subset(60, 0)?;
//!
//! // A network, its parameters, and its kernel on the sample.
//! let network = MlpConfig { input: [1, 28, 28], ..MlpConfig::default() }.network()?;
//! let theta0 = network.init(0, DType::F32, &Device::Cpu)?;
//! let images = sample.images().tensor();
//! let kernel = gram(&network, &theta0, images, &GramConfig::default())?;
//!
//! // The task of the third eigenfunction, and how much of it lies in the first three.
//! let pairs = eigh(&kernel)?;
//! let task = BinaryTarget::from_pair(&pairs, 2)?;
//! assert!(energy_concentration(&pairs, &task.signs(), 3)?.ratio > 0.5);
//!
//! // Its linearization learns that task.
//! let linear = Linearized::new(&network, theta0.clone());
//! let examples = Examples::new(images.clone(), task.labels().to_vec())?;
//! let config = SgdConfig { epochs: 30, batch: 20, learning_rate: 0.01, ..SgdConfig::default() };
//! let fitted = fit(&linear, &theta0, &examples, None, &config)?;
//! let end = fitted.history.last().and_then(|record| record.train);
//! assert!(end.and_then(|metrics| metrics.accuracy) > Some(0.8), "{end:?}");
//! # Ok::<(), entk::Error>(())
//! ```
//!
//! [`Save`] keeps kernels, eigenpairs and histories as files, and [`AsTensor`] makes tensors of
//! kernels.
//! [`prelude`] has the names of everyday work, [`Error`] is what every error here converts into, of
//! an [`ErrorKind`], and [`candle_core`] and [`candle_nn`] are the versions of candle whose types
//! all signatures take.
#![forbid(unsafe_code)]

mod error;
mod kind;
pub mod prelude;
mod save;
mod tensors;

pub use candle_core;
pub use candle_nn;
pub use entk_data as data;
pub use entk_device as device;
pub use entk_gram as gram;
pub use entk_linearize as linearize;
pub use entk_models as models;
pub use entk_predict as predict;
pub use entk_spectral as spectral;
pub use entk_torch as torch;
pub use entk_train as train;
pub use error::{Error, Result};
pub use kind::ErrorKind;
pub use save::Save;
pub use tensors::AsTensor;

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
