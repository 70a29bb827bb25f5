//! Rules, decays, losses and schedules beside the paper's, against their definitions.

use candle_core::DType;
use entk_testing::relative_error;
use entk_train::{
    AdamConfig, Examples, Loss, Minibatches, Optimizer, Outcome, Schedule, SgdConfig, TrainError,
    WeightDecay, fit, logits,
};

use crate::tasks::{flat, labels, line, separable, start};

/// A hundred steps of a few roundings each.
const ROUND_OFF: f64 = 1e-12;

fn settings() -> SgdConfig {
    SgdConfig { batch: 10, epochs: 20, ..SgdConfig::default() }
}

/// The gradient of a linear model's mean loss over a batch, in the weights and the bias.
fn gradient_by_hand(task: &Examples, theta: &[f64], batch: &[u32], loss: Loss) -> Vec<f64> {
    let width = theta.len() - 1;
    let pixels = task.inputs().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let mut g = vec![0.0; theta.len()];
    for &i in batch {
        let x = &pixels[i as usize * width..][..width];
        let y = f64::from(labels(task)[i as usize]);
        let z: f64 = x.iter().zip(theta).map(|(x, w)| x * w).sum::<f64>() + theta[width];
        let u = match loss {
            Loss::Squared => z - (2.0 * y - 1.0),
            _ => 1.0 / (1.0 + (-z).exp()) - y,
        } / batch.len() as f64;
        x.iter().enumerate().for_each(|(k, x)| g[k] += u * x);
        g[width] += u;
    }
    g
}

/// Training of a linear model with pixels for features, on plain vectors: the weights and the bias.
fn by_hand(task: &Examples, begin: &[f64], config: &SgdConfig) -> Vec<f64> {
    let batches = Minibatches::new(task.count(), config.batch, config.seed).unwrap();
    let steps = config.epochs * batches.per_epoch();
    let mut theta = begin.to_vec();
    let (mut v, mut s) = (vec![0.0; theta.len()], vec![0.0; theta.len()]);
    let mut t = 0;
    for epoch in 1..=config.epochs {
        for batch in batches.epoch(epoch).iter() {
            let mut g = gradient_by_hand(task, &theta, batch, config.loss);
            let rate = config.learning_rate * config.schedule.factor(t, steps);
            t += 1;
            for k in 0..theta.len() {
                let before = theta[k];
                g[k] += match config.decay {
                    WeightDecay::Weights(w) => w * before,
                    WeightDecay::FromStart(w) => w * (before - begin[k]),
                    _ => 0.0,
                };
                theta[k] -= match config.optimizer {
                    Optimizer::Adam(c) => {
                        v[k] = c.beta1 * v[k] + (1.0 - c.beta1) * g[k];
                        s[k] = c.beta2 * s[k] + (1.0 - c.beta2) * g[k] * g[k];
                        let mean = v[k] / (1.0 - c.beta1.powi(t as i32));
                        let square = s[k] / (1.0 - c.beta2.powi(t as i32));
                        rate * mean / (square.sqrt() + c.epsilon)
                    }
                    optimizer => {
                        v[k] = config.momentum * v[k] + g[k];
                        let ahead = g[k] + config.momentum * v[k];
                        rate * if optimizer == Optimizer::Nesterov { ahead } else { v[k] }
                    }
                };
                if let WeightDecay::Decoupled(w) = config.decay {
                    theta[k] -= rate * w * before;
                }
            }
        }
    }
    theta
}

#[test]
fn every_rule_is_its_definition() {
    let network = line([1, 2, 3]);
    let task = separable([53, 1, 2, 3], 0.1, DType::F64, 4);
    let theta = start(&network, DType::F64);
    let adam = Optimizer::Adam(AdamConfig::default());
    let decays = [
        WeightDecay::None,
        WeightDecay::Weights(0.1),
        WeightDecay::FromStart(0.2),
        WeightDecay::Decoupled(0.3),
    ];
    for optimizer in [Optimizer::HeavyBall, Optimizer::Nesterov, adam] {
        for (decay, loss) in decays
            .iter()
            .flat_map(|d| [Loss::SigmoidCrossEntropy, Loss::Squared].map(|loss| (*d, loss)))
        {
            let config = SgdConfig { optimizer, decay, loss, ..settings() };
            let fitted = fit(&network, &theta, &task, None, &config).unwrap();
            let expected = by_hand(&task, &flat(&theta), &config);
            let error = relative_error(&flat(&fitted.params), &expected);
            assert!(error <= ROUND_OFF, "{optimizer:?}, {decay:?}, {loss:?}: {error:e}");
        }
    }
}

#[test]
fn adam_in_f32_follows_adam_in_f64() {
    let network = line([1, 2, 3]);
    let config = SgdConfig { optimizer: Optimizer::Adam(AdamConfig::default()), ..settings() };
    let run = |dtype| {
        let task = separable([53, 1, 2, 3], 0.1, dtype, 4);
        flat(&fit(&network, &start(&network, dtype), &task, None, &config).unwrap().params)
    };
    // A hundred steps, each of which rounds numbers of the size of theta.
    let error = relative_error(&run(DType::F32), &run(DType::F64));
    assert!(error <= 100.0 * f64::from(f32::EPSILON), "{error:e}");
}

#[test]
fn the_metrics_are_of_the_loss_that_is_minimised() {
    let network = line([1, 2, 3]);
    let task = separable([53, 1, 2, 3], 0.1, DType::F64, 4);
    let config = SgdConfig { loss: Loss::Squared, ..settings() };
    let fitted = fit(&network, &start(&network, DType::F64), &task, Some(&task), &config);
    let Ok(fitted) = fitted else { panic!("{fitted:?}") };
    let z = logits(&network, &fitted.params, task.inputs(), 60).unwrap();
    let last = fitted.history.last().unwrap();
    let loss = Loss::Squared.value(&z, task.targets()).unwrap();
    assert!((last.train.unwrap().loss - loss).abs() <= ROUND_OFF * loss);
    assert_eq!(last.test, last.train);
    assert!(Loss::Squared.value(&z[1..], task.targets()).is_err());
    assert!(Loss::Squared.cotangent(&[f64::NAN], &[1].into()).is_err());
}

#[test]
fn a_run_stops_at_its_loss() {
    let network = line([1, 2, 2]);
    let task = separable([40, 1, 2, 2], 1.0, DType::F64, 2);
    let theta = start(&network, DType::F64);
    let config = SgdConfig { epochs: 100, schedule: Schedule::Constant, ..settings() };
    let whole = fit(&network, &theta, &task, None, &config).unwrap().history;
    let stop = SgdConfig { stop_at_loss: Some(0.1), ..config };
    let stopped = fit(&network, &theta, &task, None, &stop).unwrap().history;
    let epoch = whole.convergence_epoch(0.1).unwrap();
    assert!(epoch > 1 && epoch < 100);
    assert_eq!(stopped.outcome, Outcome::Converged);
    assert_eq!(stopped.epochs, whole.epochs[..epoch]);
}

#[test]
fn schedules_begin_and_end_where_they_say() {
    let at = |schedule: Schedule, step| schedule.factor(step, 1000);
    let close = |a: f64, b: f64| assert!((a - b).abs() <= ROUND_OFF, "{a}, {b}");
    close(at(Schedule::Cosine, 0), 1.0);
    close(at(Schedule::Cosine, 500), 0.5);
    close(at(Schedule::OneCycle, 0), 0.04);
    close(at(Schedule::OneCycle, 150), 0.52);
    close(at(Schedule::OneCycle, 300), 1.0);
    close(at(Schedule::OneCycle, 650), 0.5);
    for schedule in [Schedule::Linear, Schedule::Cosine, Schedule::OneCycle] {
        assert!((0..1000).all(|t| (0.0..=1.0).contains(&at(schedule, t))));
        assert!(at(schedule, 999) <= 0.001 + ROUND_OFF, "{schedule:?}");
        assert_eq!(at(schedule, 1000), 0.0);
    }
}

#[test]
fn rules_out_of_range_are_refused() {
    let network = line([1, 2, 2]);
    let task = separable([40, 1, 2, 2], 1.0, DType::F64, 2);
    let theta = start(&network, DType::F64);
    let adam = |config| Optimizer::Adam(config);
    let default = AdamConfig::default();
    let bad = [
        (
            "beta1",
            SgdConfig { optimizer: adam(AdamConfig { beta1: 1.0, ..default }), ..settings() },
        ),
        (
            "beta2",
            SgdConfig { optimizer: adam(AdamConfig { beta2: -0.1, ..default }), ..settings() },
        ),
        (
            "epsilon",
            SgdConfig { optimizer: adam(AdamConfig { epsilon: 0.0, ..default }), ..settings() },
        ),
        ("decay", SgdConfig { decay: WeightDecay::Weights(f64::NAN), ..settings() }),
        ("decay", SgdConfig { decay: WeightDecay::FromStart(-1.0), ..settings() }),
        ("stop_at_loss", SgdConfig { stop_at_loss: Some(f64::NAN), ..settings() }),
    ];
    for (name, config) in bad {
        match fit(&network, &theta, &task, None, &config) {
            Err(TrainError::Setting { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}
