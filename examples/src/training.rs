//! Flags of programs that train.

use clap::Args;
use entk::train::SgdConfig;
use serde::Serialize;

use crate::CommonFlags;

/// Flags to be flattened into those of a program that trains; the defaults are the paper's.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
pub struct TrainingFlags {
    /// Learning rate at the first step, falling linearly to 0
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    pub learning_rate: f64,

    /// Examples in a minibatch
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub batch: usize,
}

impl TrainingFlags {
    /// SGD with momentum at these settings, measured after every epoch.
    pub fn sgd(&self, common: &CommonFlags) -> SgdConfig {
        SgdConfig {
            learning_rate: self.learning_rate,
            batch: self.batch,
            epochs: common.epochs,
            seed: common.seed,
            ..SgdConfig::default()
        }
    }
}
