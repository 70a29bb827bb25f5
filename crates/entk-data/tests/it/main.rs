//! Tests of the public interface, one module for each noun; what needs private functions is tested
//! beside them in `src/`.

mod arbitrary_bytes;
mod dataset;
mod embedded;
mod formats;
mod idx_and_cifar;
mod images;
mod npy;
mod separable;
mod sources;
mod standardizer;

use proptest::test_runner::{Config, RngSeed};

/// Settings of property tests: the same cases in every run, nothing written to disk.
fn cases(count: u32) -> Config {
    Config {
        cases: count,
        rng_seed: RngSeed::Fixed(20),
        failure_persistence: None,
        ..Config::default()
    }
}
