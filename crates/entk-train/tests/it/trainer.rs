use std::ops::ControlFlow;

use candle_core::DType;
use entk_train::{Outcome, SgdConfig, TrainError, Trainer, fit, fit_observed};

use crate::tasks::{flat, lenet, line, separable, start};

fn settings() -> SgdConfig {
    SgdConfig { batch: 16, epochs: 4, ..SgdConfig::default() }
}

#[test]
fn epoch_by_epoch_is_the_same_run() {
    let network = lenet([1, 8, 8]);
    let train = separable([60, 1, 8, 8], 0.5, DType::F32, 2);
    let theta = start(&network, DType::F32);
    let whole = fit(&network, &theta, &train, Some(&train), &settings()).unwrap();
    let mut trainer = Trainer::new(&network, &theta, &train, Some(&train), &settings()).unwrap();
    assert_eq!((trainer.epoch(), flat(trainer.params())), (0, flat(&theta)));
    for record in &whole.history.epochs {
        assert_eq!(trainer.step_epoch().unwrap(), Some(record));
        assert_eq!(trainer.epoch(), record.epoch);
    }
    assert!(trainer.is_done());
    assert_eq!(trainer.step_epoch().unwrap(), None);
    trainer.stop(); // It had ended: nothing to stop.
    assert_eq!(flat(trainer.start()), flat(&theta));
    let end = trainer.into_fit();
    assert_eq!(flat(&end.params), flat(&whole.params));
    assert_eq!(end.history, whole.history);
}

#[test]
fn a_stopped_run_stays_stopped() {
    let network = line([1, 2, 2]);
    let train = separable([32, 1, 2, 2], 0.5, DType::F64, 2);
    let theta = start(&network, DType::F64);
    let mut trainer = Trainer::new(&network, &theta, &train, None, &settings()).unwrap();
    trainer.step_epoch().unwrap();
    trainer.stop();
    let after = flat(trainer.params());
    assert_eq!(trainer.step_epoch().unwrap(), None);
    assert_eq!(flat(trainer.params()), after);
    assert_eq!(trainer.history().outcome, Outcome::Stopped);
}

#[test]
fn divergence_leaves_the_last_whole_epoch() {
    let network = line([1, 2, 2]);
    let train = separable([32, 1, 2, 2], 0.5, DType::F64, 2);
    let train = train.with_targets((0..32).map(|i| i % 2).collect::<Vec<u8>>()).unwrap();
    let theta = start(&network, DType::F64);
    // Labels that no line fits. One step an epoch; the first leads to logits of size 1e12, whose
    // loss ends the second.
    let config = SgdConfig { learning_rate: 1e12, batch: 32, ..settings() };
    let mut kept = vec![];
    let failed = fit_observed(&network, &theta, &train, None, &config, |record| {
        kept.push(record.clone());
        ControlFlow::Continue(())
    });
    assert!(matches!(failed, Err(TrainError::Diverged { .. })));
    let mut trainer = Trainer::new(&network, &theta, &train, None, &config).unwrap();
    while trainer.step_epoch().is_ok() {}
    assert_eq!(kept.len(), 1);
    assert_eq!(trainer.history().epochs, kept);
    let here = flat(trainer.params());
    assert!(here.iter().all(|v| v.is_finite()));
    // The same epoch fails again, in the same way.
    assert!(matches!(trainer.step_epoch(), Err(TrainError::Diverged { .. })));
    assert_eq!(flat(trainer.params()), here);
}
