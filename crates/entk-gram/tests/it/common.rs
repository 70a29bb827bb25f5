//! Tolerances and the distance of kernels, for the tests of both engines.

use candle_core::Device;
use entk_gram::{CpuConfig, DeviceConfig, Engine, GramConfig, GramError, Outputs, gram};
use entk_models::{Model, Network};
use entk_spectral::{EntryType, Gram};
use entk_testing::{Case, test_device};

/// f64 round-off of sums of a few thousand products, relative to sqrt(K_ii K_jj).
pub const DOUBLE: f64 = 1e-12;
/// That of f32.
pub const SINGLE: f64 = 1e-5;

/// max |a_ij - b_ij| / sqrt(b_ii b_jj); NaN if either holds one.
pub fn distance(a: &Gram, b: &Gram) -> f64 {
    assert_eq!(a.n(), b.n());
    entk_testing::entrywise_error(b.n(), |i, j| a.get(i, j), |i, j| b.get(i, j))
}

/// Whether two kernels of one sample have the same bits, where products of other sizes give them:
/// on the CPU. A GPU's library chooses the order of its sums by the sizes; there they agree to
/// round-off.
pub fn same(a: &Gram, b: &Gram) -> bool {
    if test_device().is_cpu() {
        return a == b;
    }
    distance(a, b) <= if a.entry_type() == EntryType::F64 { DOUBLE } else { SINGLE }
}

/// The kernel of a case by the engine of the CPU.
pub fn on_cpu(case: &Case, config: &GramConfig) -> Result<Gram, GramError> {
    let (theta, x) = (case.theta.to_device(&Device::Cpu)?, case.x.to_device(&Device::Cpu)?);
    let config = GramConfig { engine: Engine::Cpu(CpuConfig::default()), ..config.clone() };
    gram(&case.network, &theta, &x, &config)
}

/// The settings of a kernel that is computed in tensor operations.
pub fn on(config: &GramConfig, device: &DeviceConfig) -> GramConfig {
    GramConfig { engine: Engine::Tensors(device.clone()), ..config.clone() }
}

/// All kernels of a network; of one output its last.
pub fn outputs_of(network: &Network) -> [Outputs; 4] {
    let last = Outputs::One(network.outputs() - 1);
    [Outputs::Trace, Outputs::SumOfLogits, Outputs::Full, last]
}
