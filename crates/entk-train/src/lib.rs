//! Training of any [`Model`](entk_models::Model), network or linearization, of one output or many.
//!
//! [`Examples`] are inputs with [`Targets`]: binary labels for one logit, classes for C of them, or
//! real values; a [`Loss`] compares the two. [`fit`] trains on them by SGD with momentum
//! ([`SgdConfig`], by default the paper's settings) and returns the parameters with a [`History`]:
//! loss and accuracy over *all* examples after each epoch, the loss of the last minibatch beside
//! them, and how far the parameters have moved ([`Distance`]). [`evaluate`] measures [`Metrics`]
//! at any parameters. Nothing is printed; with [`fit_observed`] a callback sees every epoch and may
//! stop the run. A [`Trainer`] is the same run one epoch at a time, with the parameters in sight,
//! and with checkpoints.
//!
//! [`DualSgd`] trains linearizations without a network: the same SGD, exactly, in the space of one
//! coefficient for each training example and output, over a Gram; for any number of targets at
//! once. [`KernelOutputs`] says which kernel of several outputs that is. Its closed form in
//! continuous time, on the squared loss, is `SquaredLossFlow` of entk-predict.
//!
//! The parts are public, so that another solver can share them: the minibatch order
//! ([`Minibatches`]), the [`Schedule`], the loss ([`sigmoid_cross_entropy`]) and the updates
//! ([`Sgd`], [`Adam`]).
//!
//! Everything is a function of the parameters, the examples and the seed: two runs on one machine
//! give the same bits.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use entk_models::{MlpConfig, Model};
//! use entk_train::{Examples, SgdConfig, fit};
//!
//! // Two pixels; class 1 is where the first is the larger.
//! let pixels: Vec<f64> = (0..64).flat_map(|i| [f64::from(i % 8), f64::from(i / 8)]).collect();
//! let labels: Vec<u8> = pixels.chunks(2).map(|p| u8::from(p[0] > p[1])).collect();
//! let train = Examples::new(Tensor::from_vec(pixels, (64, 1, 1, 2), &Device::Cpu)?, labels)?;
//!
//! let mlp = MlpConfig { input: [1, 1, 2], hidden: vec![16], ..MlpConfig::default() };
//! let network = mlp.network()?;
//! let start = network.init(0, DType::F64, &Device::Cpu)?;
//! let config = SgdConfig { batch: 16, epochs: 60, ..SgdConfig::default() };
//! let trained = fit(&network, &start, &train, None, &config)?;
//!
//! let end = trained.history.last().and_then(|record| record.train);
//! assert!(end.and_then(|metrics| metrics.accuracy).is_some_and(|share| share > 0.95));
//! # Ok::<(), entk_train::TrainError>(())
//! ```
#![forbid(unsafe_code)]

mod batches;
mod config;
mod dual;
mod error;
mod examples;
mod history;
mod loss;
mod metrics;
mod optim;
mod steps;
mod targets;
mod weights;

pub use batches::{EpochOrder, Minibatches};
pub use config::{Optimizer, SgdConfig, WeightDecay};
pub use dual::{DualSgd, outputs::KernelOutputs, run::DualFit, stability::Stability};
pub use error::{Result, TrainError};
pub use examples::Examples;
pub use history::{EpochRecord, Fit, History, Outcome};
pub use loss::{
    Loss, Objective,
    sigmoid::{predicted_label, sigmoid_cross_entropy, sigmoid_cross_entropy_cotangent},
};
pub use metrics::{
    calibration::{CalibrationBin, calibration_bins, expected_calibration_error},
    distance::Distance,
    evaluate::{evaluate, logits},
    quality::Metrics,
};
pub use optim::{
    adam::{Adam, AdamConfig},
    schedule::Schedule,
    sgd::Sgd,
};
pub use targets::Targets;
pub use weights::{
    fit::{fit, fit_many, fit_many_observed, fit_observed},
    trainer::Trainer,
};

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
