//! Gradient flow against its differential equation, its limits, and small steps.

use entk_spectral::{Eigenpairs, Gram, eigh};
use entk_testing::{normals, relative_error};
use entk_train::{DualSgd, GradientFlow, Loss, Schedule, SgdConfig, TrainError};

const N: usize = 30;

/// The kernel of `width` random features, and its eigenpairs.
fn kernel(width: usize) -> (Gram, Eigenpairs) {
    let x = normals(N * width, 3);
    let x: Vec<&[f64]> = x.chunks(width).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    let entries = x.iter().flat_map(|a| x.iter().map(move |b| dot(a, b))).collect();
    let gram = Gram::from_lower_f64(N, entries).unwrap();
    let pairs = eigh(&gram).unwrap();
    (gram, pairs)
}

fn labels() -> Vec<u8> {
    (0..N).map(|i| u8::from(i % 3 == 0)).collect()
}

fn target(label: u8) -> f64 {
    2.0 * f64::from(label) - 1.0
}

#[test]
fn the_differential_equation_holds() {
    let (gram, pairs) = kernel(60);
    let (f0, labels) = (normals(N, 7), labels());
    let flow = GradientFlow::new(&pairs).unwrap();
    let a = |time| flow.coefficients(&f0, &labels, time).unwrap();
    assert_eq!(a(0.0), vec![0.0; N]);
    for time in [0.1, 1.0, 10.0] {
        let h = 1e-4;
        let slope: Vec<f64> =
            a(time + h).iter().zip(a(time - h)).map(|(p, m)| (p - m) / (2.0 * h)).collect();
        let moved = gram.matvec(&a(time)).unwrap();
        let gradient = moved.iter().zip(&f0).zip(&labels);
        let expected: Vec<f64> =
            gradient.map(|((u, f0), &y)| (target(y) - f0 - u) / N as f64).collect();
        // Differences of a(t) of size 1 at distance 2e-4, and a third derivative of (lambda/n)^2
        // h^2.
        assert!(relative_error(&slope, &expected) <= 1e-6);
    }
}

#[test]
fn at_infinity_the_labels_are_interpolated() {
    let (gram, pairs) = kernel(60);
    let (f0, labels) = (normals(N, 7), labels());
    let flow = GradientFlow::new(&pairs).unwrap();
    let a = flow.coefficients(&f0, &labels, f64::INFINITY).unwrap();
    let z: Vec<f64> = gram.matvec(&a).unwrap().iter().zip(&f0).map(|(u, f0)| u + f0).collect();
    let y: Vec<f64> = labels.iter().map(|&y| target(y)).collect();
    let condition = pairs.values()[0] / pairs.values()[N - 1];
    assert!(relative_error(&z, &y) <= 100.0 * f64::EPSILON * condition);
    let late = flow.coefficients(&f0, &labels, 1e9).unwrap();
    assert!(relative_error(&late, &a) <= 1e-12);
}

/// With fewer features than examples: the normal equations, and nothing in the null space.
#[test]
fn a_singular_kernel_gives_least_squares() {
    let (gram, pairs) = kernel(5);
    let (f0, labels) = (vec![0.0; N], labels());
    let flow = GradientFlow::new(&pairs).unwrap();
    let a = flow.coefficients(&f0, &labels, f64::INFINITY).unwrap();
    let y: Vec<f64> = labels.iter().map(|&y| target(y)).collect();
    let moved = gram.matvec(&a).unwrap();
    let rest: Vec<f64> = y.iter().zip(&moved).map(|(y, u)| y - u).collect();
    let gradient = gram.matvec(&rest).unwrap();
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!(norm(&gradient) <= 1e-12 * pairs.values()[0] * norm(&y));
    for k in 5..N {
        let overlap: f64 = pairs.vector(k).iter().zip(&a).map(|(p, a)| p * a).sum();
        assert!(overlap.abs() <= 1e-12 * norm(&a));
    }
}

/// Gradient descent approaches the flow at first order: half the rate, half the error.
#[test]
fn small_steps_follow_the_flow() {
    let (gram, pairs) = kernel(60);
    let (f0, labels) = (normals(N, 7), labels());
    let flow = GradientFlow::new(&pairs).unwrap();
    let exact = flow.coefficients(&f0, &labels, 2.0).unwrap();
    let error = |steps: usize| {
        let config = SgdConfig {
            learning_rate: 2.0 / steps as f64,
            momentum: 0.0,
            batch: N,
            epochs: steps,
            schedule: Schedule::Constant,
            loss: Loss::Squared,
            ..SgdConfig::default()
        };
        let dual = DualSgd::new(&gram, N, &f0).unwrap();
        let fits = dual.fit(&[&labels], &config).unwrap();
        relative_error(&fits[0].coefficients, &exact)
    };
    let ratio = error(400) / error(800);
    assert!((1.9..2.1).contains(&ratio), "{ratio}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (_, pairs) = kernel(60);
    let flow = GradientFlow::new(&pairs).unwrap();
    let (f0, labels) = (vec![0.0; N], labels());
    for time in [-1.0, f64::NAN] {
        let refused = flow.coefficients(&f0, &labels, time);
        assert!(matches!(refused, Err(TrainError::Setting { field: "time", .. })));
    }
    let short = flow.coefficients(&f0[1..], &labels, 1.0);
    assert!(matches!(short, Err(TrainError::Count { .. })));
    let short = flow.coefficients(&f0, &labels[1..], 1.0);
    assert!(matches!(short, Err(TrainError::Count { .. })));
    let truncated = pairs.clone().truncate(5).unwrap();
    assert!(matches!(GradientFlow::new(&truncated), Err(TrainError::Count { .. })));
}
