//! The names of everyday work, for `use entk::prelude::*`.
//!
//! They are the nouns and functions of the guide, from data to training, and the three types
//! of candle in their signatures. `Result` is not among them, so that the standard one keeps its
//! name.

pub use candle_core::{DType, Device, Tensor};

pub use crate::{
    data::{DataSource, Dataset, Images, Split, embedded, load},
    error::Error,
    gram::{Assembly, GramConfig, Outputs, cross_gram, gram},
    kind::ErrorKind,
    linearize::{Jacobian, Linearized},
    models::{
        Activation, AvgPool2d, BatchNorm2d, Conv2d, Dense, Flatten, GlobalMean, LeNet5Config,
        MaxPool2d, MlpConfig, Model, Network, Params, ResNetConfig, Residual, Sequential,
    },
    save::Save,
    spectral::{
        BinaryTarget, CrossGram, Eigenpairs, EigshConfig, Gram, alignment, eigh, eigsh,
        energy_concentration, rayleigh_alignment,
    },
    train::{DualSgd, Examples, History, Loss, SgdConfig, Targets, evaluate, fit},
};
