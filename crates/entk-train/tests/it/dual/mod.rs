//! SGD in coefficient space.

mod against_weights;
mod on_a_gram;
mod outputs;
mod pseudo;

use entk_train::SgdConfig;

/// Equality of two exact computations of a few hundred steps in f64: 1e-10 of the norm is 4e5 units
/// of round-off, room for what 3 epochs of a kernel with entries of size 100 amplify.
const EXACT: f64 = 1e-10;

fn settings() -> SgdConfig {
    SgdConfig { batch: 16, epochs: 5, learning_rate: 0.02, ..SgdConfig::default() }
}
