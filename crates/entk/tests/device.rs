//! A linearization trained over a Gram that stays on a device: the run over its copy in memory.

use candle_core::DType;
use entk::{
    gram::{Assembly, DeviceConfig, Engine, GramConfig},
    models::{MlpConfig, Model},
    train::{DualSgd, SgdConfig},
};
use entk_testing::{TestResult, normal, test_device};

/// Training examples, and with those of the test.
const TRAIN: usize = 40;
const ALL: usize = 53;

#[test]
fn dual_sgd_over_a_gram_on_the_device_is_that_over_its_copy() -> TestResult {
    let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
    let theta = network.init(0, DType::F32, test_device())?;
    let x = normal(&[ALL, 1, 4, 4], 1)?.to_dtype(DType::F32)?;
    let device = DeviceConfig { edge: Some(16), ..DeviceConfig::default() };
    let config = GramConfig { engine: Engine::Tensors(device), ..GramConfig::default() };
    let resident = Assembly::new(&network, &theta, &x, &config)?.resident_gram()?;
    let host = resident.gram()?;

    let labels: Vec<u8> = (0..ALL).map(|i| (i * i % 7 % 2) as u8).collect();
    let settings = SgdConfig { batch: 16, epochs: 5, learning_rate: 1e-2, ..SgdConfig::default() };
    let f0 = vec![0.0; ALL];
    let there =
        DualSgd::new(&resident, TRAIN, &f0)?.fit(std::slice::from_ref(&labels), &settings)?;
    let here = DualSgd::new(&host, TRAIN, &f0)?.fit(&[labels], &settings)?;
    // Rows of f32 are the same numbers in f64, and the products are those of the host.
    assert_eq!(there, here);
    assert!(here[0].logits.iter().any(|z| z.abs() > 1e-3));
    Ok(())
}
