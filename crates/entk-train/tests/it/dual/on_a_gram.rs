//! Any number of targets over a Gram of random features: each alone, stopped, diverged, and from
//! rows that are read.

use std::ops::ControlFlow;

use entk_spectral::{CrossGram, Entries, Gram, KernelRows, SpectralError};
use entk_testing::{normals, relative_error};
use entk_train::{DualSgd, Loss, Optimizer, Outcome, Schedule, SgdConfig, TrainError};

use super::{EXACT, settings};

/// Random features of 700 samples, so that there are several panels and tiles.
fn wide_gram() -> (usize, Gram) {
    let (n, width) = (700, 5);
    let x = normals(n * width, 4);
    let x: Vec<&[f64]> = x.chunks(width).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    let entries = x.iter().flat_map(|a| x.iter().map(move |b| dot(a, b))).collect();
    (n, Gram::from_lower_f64(n, entries).unwrap())
}

/// The recurrence as its documentation states it, with dense coefficients and products.
fn by_definition(gram: &Gram, n: usize, labels: &[u8], config: &SgdConfig) -> Vec<f64> {
    let batches = entk_train::Minibatches::new(n, config.batch, config.seed).unwrap();
    let steps = config.epochs * batches.per_epoch();
    let (mut a, mut b) = (vec![0.0; gram.n()], vec![0.0; gram.n()]);
    let mut t = 0;
    for epoch in 1..=config.epochs {
        for batch in batches.epoch(epoch).iter() {
            let z = gram.matvec(&a).unwrap();
            b.iter_mut().for_each(|b| *b *= config.momentum);
            for &i in batch {
                let i = i as usize;
                let s = 1.0 / (1.0 + (-z[i]).exp());
                b[i] += (s - f64::from(labels[i])) / batch.len() as f64;
            }
            let rate = config.learning_rate * config.schedule.factor(t, steps);
            a.iter_mut().zip(&b).for_each(|(a, b)| *a -= rate * b);
            t += 1;
        }
    }
    a
}

/// With f_0 = -1 everywhere the labels 0 are learnt from the start, and only the other target
/// moves.
#[test]
fn the_target_that_diverges_is_named() {
    let (n, gram) = wide_gram();
    let f0 = vec![-1.0; n];
    let config = SgdConfig { learning_rate: 1e300, loss: Loss::Squared, ..settings() };
    let dual = DualSgd::new(&gram, n, &f0).unwrap();
    assert!(dual.fit(&[vec![0; n]], &config).is_ok());
    let error = dual.fit(&[vec![0; n], vec![1; n]], &config).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { target: Some(1), .. }), "{error:?}");
    assert!(error.to_string().starts_with("training of target 1 diverged"), "{error}");
}

/// On a quadratic the limit is where runs begin to grow.
#[test]
fn the_stability_limit_separates_decay_from_growth() {
    let (n, gram) = wide_gram();
    let f0 = vec![0.0; n];
    let labels: Vec<u8> = (0..n).map(|i| u8::from(i % 2 == 0)).collect();
    let dual = DualSgd::new(&gram, n, &f0).unwrap();
    let base = SgdConfig {
        batch: n,
        epochs: 300,
        eval_every: 300,
        loss: Loss::Squared,
        schedule: Schedule::Constant,
        ..settings()
    };
    for optimizer in [Optimizer::HeavyBall, Optimizer::Nesterov] {
        let limit = dual.stability(&SgdConfig { optimizer, ..base.clone() }).unwrap().limit;
        let end = |share: f64| {
            let config = SgdConfig { optimizer, learning_rate: share * limit, ..base.clone() };
            assert_eq!(dual.stability(&config).unwrap().is_stable(), share < 1.0);
            dual.fit(&[&labels], &config).map(|f| f[0].history.epochs[299].minibatch_loss)
        };
        // At rest the loss is 1/2; 300 steps 2 % beyond the limit grow by orders of magnitude.
        let (below, beyond) = (end(0.98).unwrap(), end(1.02));
        assert!(below < 0.5, "{below}");
        assert!(beyond.as_ref().map_or(true, |&loss| loss > 1.0), "{beyond:?}");
    }
}

/// Two examples that agree but for round-off, with opposite labels: a = (-c, c) has the squared
/// norm -2 eps c^2 where the product of the two exceeds their squares, which counts as zero.
#[test]
fn round_off_of_a_singular_kernel_is_no_distance() {
    let of = |product: f64| {
        let gram = Gram::from_lower_f64(2, vec![1.0, 0.0, product, 1.0]).unwrap();
        let dual = DualSgd::new(&gram, 2, &[0.0; 2]).unwrap();
        let config = SgdConfig { batch: 2, epochs: 1, momentum: 0.0, ..settings() };
        let fit = dual.fit(&[&[0, 1]], &config).unwrap().remove(0);
        (fit.history.epochs[0].distance.l2, fit.coefficients[1])
    };
    let (zero, c) = of(1.0 + f64::EPSILON);
    assert_eq!(zero, 0.0);
    // Half a residual of 1/2 at the rate of the settings; (a^T K a)^(1/2) = (2 c^2 / 4)^(1/2).
    let (apart, _) = of(0.75);
    assert!((c - 0.005).abs() <= f64::EPSILON && (apart - c / 2f64.sqrt()).abs() <= f64::EPSILON);
}

#[test]
fn many_targets_stop_once_all_have_converged() {
    let (n, gram) = wide_gram();
    let f0 = vec![0.0; n];
    let targets: Vec<Vec<u8>> =
        [1, 40].iter().map(|p| (0..n).map(|i| u8::from(i / p % 2 == 0)).collect()).collect();
    let dual = DualSgd::new(&gram, 600, &f0).unwrap();
    let whole = dual.fit(&targets, &settings()).unwrap();
    let loss = |k: usize, epoch: usize| whole[k].history.epochs[epoch].train.unwrap().loss;
    let config = SgdConfig { stop_at_loss: Some(loss(0, 2).max(loss(1, 2))), ..settings() };
    let fits = dual.fit(&targets, &config).unwrap();
    assert!(fits.iter().all(|fit| fit.history.outcome == Outcome::Converged));
    assert!(fits.iter().all(|fit| fit.history.epochs.len() <= 3));
}

#[test]
fn any_number_of_targets_is_trained_as_each_alone() {
    let (n, gram) = wide_gram();
    let (train, config) = (600, SgdConfig { batch: 150, epochs: 4, ..settings() });
    let targets: Vec<Vec<u8>> =
        (1..=19).map(|period| (0..n).map(|i| u8::from(i / period % 2 == 0)).collect()).collect();
    let f0 = vec![0.0; n];
    let dual = DualSgd::new(&gram, train, &f0).unwrap();
    for count in [1, 2, 7, 8, 19] {
        let fits = dual.fit(&targets[..count], &config).unwrap();
        for (fit, labels) in fits.iter().zip(&targets) {
            let mut expected = by_definition(&gram, train, labels, &config);
            let z = gram.matvec(&expected).unwrap();
            expected.truncate(train);
            assert!(relative_error(&fit.coefficients, &expected) <= EXACT);
            assert!(relative_error(&fit.logits, &z) <= EXACT);
        }
    }
}

#[test]
fn the_bits_do_not_depend_on_the_threads() {
    let (n, gram) = wide_gram();
    let labels: Vec<Vec<u8>> =
        (1..=9).map(|period| (0..n).map(|i| u8::from(i / period % 2 == 0)).collect()).collect();
    let f0 = vec![0.0; n];
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let dual = DualSgd::new(&gram, 600, &f0).unwrap();
        pool.install(|| dual.fit(&labels, &settings()).unwrap())
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(3));
}

/// A kernel that has to read its rows.
#[derive(Debug)]
pub(super) struct Read(pub(super) Gram);

impl KernelRows for Read {
    fn n(&self) -> usize {
        self.0.n()
    }

    fn rows<'a>(
        &'a self,
        indices: &[u32],
        buffer: &'a mut Vec<f64>,
    ) -> Result<Vec<Entries<'a>>, SpectralError> {
        let row = |&index: &u32| self.0.row(index as usize).to_f64_vec();
        *buffer = indices.iter().flat_map(row).collect();
        Ok(buffer.chunks_exact(self.0.n()).map(Entries::F64).collect())
    }
}

/// Cannot be read at all.
#[derive(Debug)]
struct Unreadable(usize);

impl KernelRows for Unreadable {
    fn n(&self) -> usize {
        self.0
    }

    fn rows<'a>(
        &'a self,
        _: &[u32],
        _: &'a mut Vec<f64>,
    ) -> Result<Vec<Entries<'a>>, SpectralError> {
        Err(SpectralError::Operator { reason: "the disk is gone".into() })
    }
}

#[test]
fn a_kernel_read_row_by_row_gives_the_same_bits() {
    let (n, gram) = wide_gram();
    let f0 = vec![0.0; n];
    let targets: Vec<Vec<u8>> =
        (0..2).map(|t| (0..n).map(|i| u8::from((i + t).is_multiple_of(3))).collect()).collect();
    let read = Read(gram.clone());
    for train in [600, n] {
        let run = |kernel: &dyn KernelRows| {
            let dual = DualSgd::new(kernel, train, &f0).unwrap();
            let stability = dual.stability(&settings()).unwrap();
            (dual.fit(&targets, &settings()).unwrap(), stability)
        };
        assert_eq!(run(&gram), run(&read));
    }
    let lost = Unreadable(n);
    let dual = DualSgd::new(&lost, 600, &f0).unwrap();
    for error in [
        dual.fit(&targets, &settings()).map(|_| ()).unwrap_err(),
        dual.stability(&settings()).map(|_| ()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("the disk is gone"), "{error}");
    }
}

#[test]
fn the_callback_sees_all_targets_and_may_stop() {
    let (n, gram) = wide_gram();
    let labels: Vec<u8> = (0..n).map(|i| u8::from(i % 2 == 0)).collect();
    let f0 = vec![0.0; n];
    let dual = DualSgd::new(&gram, 600, &f0).unwrap();
    let mut seen = 0;
    let fits = dual
        .fit_observed(&[&labels, &labels], &settings(), |records| {
            seen += records.len();
            if records[0].epoch == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(seen, 6);
    assert_eq!(fits[0], fits[1]);
    assert_eq!((fits[0].history.epochs.len(), fits[0].history.outcome), (3, Outcome::Stopped));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (n, gram) = wide_gram();
    let f0 = vec![0.0; n];
    let labels = vec![0; n];
    let cross = CrossGram::from_f64(1, 2, vec![1.0, 2.0]).unwrap();
    assert!(matches!(DualSgd::new(&gram, 0, &f0), Err(TrainError::Setting { .. })));
    assert!(matches!(DualSgd::new(&gram, n + 1, &f0), Err(TrainError::Setting { .. })));
    assert!(matches!(DualSgd::new(&gram, n, &f0[1..]), Err(TrainError::Count { .. })));
    assert!(matches!(DualSgd::with_cross(&gram, &cross, &f0), Err(TrainError::Count { .. })));
    let mut broken = f0.clone();
    broken[3] = f64::NAN;
    let refused = DualSgd::new(&gram, n, &broken);
    assert!(matches!(refused, Err(TrainError::NonFiniteLogit { index: 3, .. })));

    let dual = DualSgd::new(&gram, 600, &f0).unwrap();
    let run = |targets: &[&[u8]], config: &SgdConfig| dual.fit(targets, config);
    assert!(matches!(run(&[], &settings()), Err(TrainError::Setting { field: "targets", .. })));
    let short = run(&[&labels, &labels[1..]], &settings());
    assert!(matches!(short, Err(TrainError::Count { what: "labels", .. })));
    let two = vec![2; n];
    assert!(matches!(run(&[&two], &settings()), Err(TrainError::Label { index: 0, value: 2 })));
    let large = SgdConfig { batch: 601, ..settings() };
    assert!(matches!(run(&[&labels], &large), Err(TrainError::TooFewExamples { .. })));
    let fast = SgdConfig { learning_rate: 1e300, ..settings() };
    assert!(matches!(run(&[&labels], &fast), Err(TrainError::Diverged { .. })));
}
