//! Runs that must end with an error that says what to do.

use std::ops::ControlFlow;

use candle_core::DType;
use entk_models::{Activation, MlpConfig};
use entk_train::{SgdConfig, TrainError, fit, fit_observed};

use crate::tasks::{lenet, line, mlp, separable, start};

#[test]
fn settings_out_of_range_name_the_field() {
    let network = line([1, 1, 2]);
    let theta = start(&network, DType::F64);
    let task = separable([8, 1, 1, 2], 0.1, DType::F64, 1);
    let valid = SgdConfig { batch: 4, epochs: 1, ..SgdConfig::default() };
    let cases = [
        ("learning_rate", SgdConfig { learning_rate: 0.0, ..valid.clone() }),
        ("learning_rate", SgdConfig { learning_rate: f64::NAN, ..valid.clone() }),
        ("learning_rate", SgdConfig { learning_rate: f64::INFINITY, ..valid.clone() }),
        ("momentum", SgdConfig { momentum: 1.0, ..valid.clone() }),
        ("momentum", SgdConfig { momentum: -0.1, ..valid.clone() }),
        ("momentum", SgdConfig { momentum: f64::NAN, ..valid.clone() }),
        ("batch", SgdConfig { batch: 0, ..valid.clone() }),
        ("epochs", SgdConfig { epochs: 0, ..valid.clone() }),
        ("eval_every", SgdConfig { eval_every: 0, ..valid.clone() }),
        ("eval_batch", SgdConfig { eval_batch: 0, ..valid.clone() }),
    ];
    for (name, config) in cases {
        match fit(&network, &theta, &task, None, &config) {
            Err(TrainError::Setting { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(fit(&network, &theta, &task, None, &valid).is_ok());
}

#[test]
fn a_set_smaller_than_a_batch_is_refused() {
    let network = line([1, 1, 2]);
    let task = separable([100, 1, 1, 2], 0.1, DType::F64, 1);
    let theta = start(&network, DType::F64);
    let error = fit(&network, &theta, &task, None, &SgdConfig::default()).unwrap_err();
    assert!(matches!(error, TrainError::TooFewExamples { examples: 100, batch: 128 }));
}

#[test]
fn several_outputs_are_refused() {
    let config = MlpConfig { input: [1, 1, 2], outputs: 3, ..MlpConfig::default() };
    let network = config.network().unwrap();
    let task = separable([8, 1, 1, 2], 0.1, DType::F64, 1);
    let theta = start(&network, DType::F64);
    let config = SgdConfig { batch: 4, ..SgdConfig::default() };
    let error = fit(&network, &theta, &task, None, &config).unwrap_err();
    assert!(matches!(error, TrainError::Outputs { found: 3, expected: 1 }));
}

#[test]
fn inputs_that_do_not_fit_the_model_are_refused() {
    let network = line([1, 1, 2]);
    let theta = start(&network, DType::F64);
    let config = SgdConfig { batch: 4, ..SgdConfig::default() };
    let fits = separable([8, 1, 1, 2], 0.1, DType::F64, 1);
    for task in
        [separable([8, 1, 1, 3], 0.1, DType::F64, 1), separable([8, 1, 1, 2], 0.1, DType::F32, 1)]
    {
        let error = fit(&network, &theta, &task, None, &config).unwrap_err();
        assert!(matches!(error, TrainError::Model(_)), "{error}");
        let mut epochs = 0;
        let error = fit_observed(&network, &theta, &fits, Some(&task), &config, |_| {
            epochs += 1;
            ControlFlow::Continue(())
        })
        .unwrap_err();
        assert!(matches!(error, TrainError::Model(_)), "{error}");
        assert_eq!(epochs, 0, "refused only after training");
    }
}

#[test]
fn divergence_names_epoch_step_and_remedy() {
    let config = SgdConfig { learning_rate: 1e6, batch: 8, epochs: 20, ..SgdConfig::default() };
    let networks = [mlp([1, 8, 8], &[20, 20], Activation::Gelu), lenet([1, 8, 8])];
    for (network, dtype) in networks.iter().flat_map(|n| [(n, DType::F32), (n, DType::F64)]) {
        let task = separable([64, 1, 8, 8], 0.0, dtype, 2);
        let theta = start(network, dtype);
        let error = fit(network, &theta, &task, None, &config).unwrap_err();
        let TrainError::Diverged { epoch, step, steps, value, learning_rate, .. } = error else {
            panic!("{error}");
        };
        assert!((1..=20).contains(&epoch) && (1..=steps).contains(&step));
        assert_eq!((steps, learning_rate), (8, 1e6));
        assert!(!value.is_finite() || value > 1e8, "{value}");
        let message = error.to_string();
        let place = format!("epoch {epoch}, step {step} of 8");
        assert!(message.contains(&place) && message.contains("100000"), "{message}");
    }
}
