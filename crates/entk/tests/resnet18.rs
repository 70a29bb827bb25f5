//! The paper's ResNet18 at full width and at its initialisation.

use candle_core::{DType, Device};
use entk::{
    gram::{GramConfig, gram},
    models::{Model, ResNetConfig},
};
use entk_testing::{TestResult, normal};

/// f64 round-off of sums over 11 million products, relative to sqrt(K_ii K_jj).
const ROUND_OFF: f64 = 1e-12;

#[test]
fn leaving_out_zero_gradients_does_not_change_the_gram() -> TestResult {
    let network = ResNetConfig::default().network()?;
    let theta = network.init(0, DType::F64, &Device::Cpu)?;
    let n = 64;
    let images = normal(&[n, 3, 32, 32], 1)?;
    let active = network.verify_active_parameters(&theta, &images.narrow(0, 0, 4)?)?;
    assert_eq!((active.count(), active.total()), (180_033, 11_169_345));

    let config = GramConfig { micro_batch: Some(16), ..GramConfig::default() };
    let skipped = gram(&network, &theta, &images, &config)?;
    let entered = gram(&network.without_skipping(), &theta, &images, &config)?;
    for i in 0..n {
        for j in 0..n {
            let scale = (entered.get(i, i) * entered.get(j, j)).sqrt();
            let error = (skipped.get(i, j) - entered.get(i, j)).abs() / scale;
            assert!(error <= ROUND_OFF, "{i} {j}: {error:e}");
        }
    }
    Ok(())
}
