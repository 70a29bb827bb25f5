use entk_train::{
    Metrics, TrainError, predicted_label, sigmoid_cross_entropy, sigmoid_cross_entropy_cotangent,
};
use proptest::{prelude::*, test_runner::RngSeed};

/// Round-off of one evaluation, relative to its largest term: a product, two sums, exp and log1p.
const ROUND_OFF: f64 = 8.0 * f64::EPSILON;
/// Bound of the third derivative s(1 - s)(1 - 2s) of the loss: 1/(6 sqrt 3).
const THIRD_DERIVATIVE: f64 = 0.0963;
/// The logits at which values are checked, both signs.
const LADDER: [f64; 12] = [0.0, 1e-300, 1e-8, 0.1, 1.0, 5.0, 20.0, 36.0, 40.0, 710.0, 1e4, 1e8];

fn loss(z: f64, y: u8) -> f64 {
    sigmoid_cross_entropy(&[z], &[y]).unwrap()
}

fn slope(z: f64, y: u8) -> f64 {
    sigmoid_cross_entropy_cotangent(&[z], &[y]).unwrap()[0]
}

fn ladder() -> impl Iterator<Item = (f64, u8)> {
    LADDER.into_iter().flat_map(|z| [(z, 0), (z, 1), (-z, 0), (-z, 1)])
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(31),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn the_loss_equals_its_definition_where_that_is_computable() {
    for (z, y) in ladder().filter(|(z, _)| z.abs() <= 20.0) {
        let s = 1.0 / (1.0 + (-z).exp());
        let (p, q) = if y == 1 { (s, 1.0 - s) } else { (1.0 - s, s) };
        // -log p loses the digits that p lost in 1 - s: an error of eps / p.
        let error = (loss(z, y) + p.ln()).abs();
        assert!(error <= ROUND_OFF * (1.0 + q + z.abs()) + f64::EPSILON / p, "{z} {y}: {error}");
    }
}

#[test]
fn extreme_logits_have_a_finite_and_exact_loss() {
    for z in [1e4, 1e8, 1e300, f64::MAX] {
        assert_eq!((loss(z, 1), loss(z, 0)), (0.0, z));
        assert_eq!((loss(-z, 1), loss(-z, 0)), (z, 0.0));
        assert_eq!((slope(z, 1), slope(z, 0)), (0.0, 1.0));
        assert_eq!((slope(-z, 1), slope(-z, 0)), (-1.0, 0.0));
    }
    // No cancellation: exp(-40), where s(40) - 1 in floating point is 0.
    let error = slope(40.0, 1) / -(-40f64).exp() - 1.0;
    assert!(error.abs() <= ROUND_OFF, "{error}");
}

#[test]
fn the_cotangent_agrees_with_finite_differences() {
    for (z, y) in ladder().filter(|(z, _)| z.abs() <= 1e4) {
        let h = f64::EPSILON.cbrt() * z.abs().max(1.0);
        let difference = (loss(z + h, y) - loss(z - h, y)) / (2.0 * h);
        // Third derivative: at most its bound, and zero to round-off where h is large.
        let truncation = THIRD_DERIVATIVE * h * h * (-(z.abs() - h)).exp().min(1.0);
        let tolerance = truncation + ROUND_OFF * (1.0 + z.abs()) / h;
        let error = (difference - slope(z, y)).abs();
        assert!(error <= tolerance, "{z} {y}: {error} > {tolerance}");
    }
}

#[test]
fn loss_and_cotangent_are_means() {
    let (z, y) = ([0.3, -2.0, 7.0, -1e4], [1, 1, 0, 1]);
    let mean = z.iter().zip(y).map(|(&z, y)| loss(z, y)).sum::<f64>() / 4.0;
    assert_eq!(sigmoid_cross_entropy(&z, &y).unwrap(), mean);
    let slopes: Vec<f64> = z.iter().zip(y).map(|(&z, y)| slope(z, y) / 4.0).collect();
    assert_eq!(sigmoid_cross_entropy_cotangent(&z, &y).unwrap(), slopes);
}

#[test]
fn a_logit_of_zero_predicts_class_0() {
    assert_eq!([0.0, -0.0, 1e-300, -1e-300].map(predicted_label), [0, 0, 1, 0]);
    assert_eq!(Metrics::of(&[0.0, 0.0], &[0, 1].into()).unwrap().accuracy, Some(0.5));
}

#[test]
fn bad_logits_and_labels_are_refused() {
    for function in [
        |z: &[f64], y: &[u8]| sigmoid_cross_entropy(z, y).map(|_| ()),
        |z: &[f64], y: &[u8]| sigmoid_cross_entropy_cotangent(z, y).map(|_| ()),
        |z: &[f64], y: &[u8]| Metrics::of(z, &y.into()).map(|_| ()),
    ] {
        assert!(matches!(function(&[], &[]), Err(TrainError::Count { found: 0, .. })));
        assert!(matches!(function(&[1.0], &[1, 1]), Err(TrainError::Count { .. })));
        assert!(matches!(
            function(&[1.0, 1.0], &[1, 7]),
            Err(TrainError::Label { index: 1, value: 7 })
        ));
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(
                function(&[0.0, bad], &[1, 0]),
                Err(TrainError::NonFiniteLogit { index: 1, .. })
            ));
        }
    }
}

fn logit() -> impl Strategy<Value = f64> {
    prop_oneof![-3.0..3.0, -50.0..50.0, -1e4..1e4]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_loss_is_convex(a in logit(), b in logit(), t in 0.0..1.0f64, y in 0u8..=1) {
        let between = loss(t * a + (1.0 - t) * b, y);
        let chord = t * loss(a, y) + (1.0 - t) * loss(b, y);
        prop_assert!(between <= chord + ROUND_OFF * (1.0 + a.abs() + b.abs()));
    }

    #[test]
    fn classes_are_symmetric(z in logit()) {
        prop_assert_eq!(loss(z, 1), loss(-z, 0));
        prop_assert_eq!(slope(z, 1), -slope(-z, 0));
    }

    #[test]
    fn the_loss_bounds_the_margin(z in logit(), y in 0u8..=1) {
        let margin = if y == 1 { z } else { -z };
        let floor = (-margin).max(0.0);
        prop_assert!(loss(z, y) >= floor);
        prop_assert!(loss(z, y) <= floor + 2f64.ln() + ROUND_OFF * (1.0 + z.abs()));
    }

    #[test]
    fn the_cotangent_is_bounded_and_points_at_the_label(
        z in prop::collection::vec(logit(), 1..20), y in 0u8..=1,
    ) {
        let n = z.len() as f64;
        let sign = if y == 1 { -1.0 } else { 1.0 };
        for u in sigmoid_cross_entropy_cotangent(&z, &vec![y; z.len()]).unwrap() {
            prop_assert!((0.0..=1.0 / n).contains(&(sign * u)));
        }
    }
}
