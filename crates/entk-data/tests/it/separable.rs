//! The linearly separable data have the distribution that their formula says.

use entk_data::{DataError, Dataset, SeparableConfig, linearly_separable};

/// A unit vector with entries of mixed signs and sizes.
fn direction(length: usize) -> Vec<f64> {
    let raw: Vec<f64> = (0..length).map(|i| ((i * i + 1) as f64).sin()).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f64>().sqrt();
    raw.iter().map(|x| x / norm).collect()
}

fn draw(u: &[f64], config: SeparableConfig) -> (Dataset, Vec<f64>) {
    let data = linearly_separable(u, &config).expect("data");
    let values = data.images().to_vec().expect("values").into_iter().map(f64::from).collect();
    (data, values)
}

/// +1 for the label 1, -1 for 0.
fn signs(data: &Dataset) -> impl Iterator<Item = f64> {
    data.labels().iter().map(|&label| if label == 1 { 1.0 } else { -1.0 })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

const CONFIG: SeparableConfig =
    SeparableConfig { epsilon: 0.75, sigma: 2.0, count: 400, image_shape: (3, 4, 5), seed: 9 };

#[test]
fn the_projection_is_epsilon_times_the_label() {
    let u = direction(60);
    let (data, values) = draw(&u, CONFIG);
    assert_eq!(data.images().image_shape(), (3, 4, 5));
    for (x, sign) in values.chunks_exact(60).zip(signs(&data)) {
        // Each entry of x is rounded to f32, by at most |x_i| 2^-24: Cauchy-Schwarz with ||u|| = 1.
        // The f64 arithmetic adds less than a millionth of that.
        let bound = dot(x, x).sqrt() * 2.0_f64.powi(-24) * 1.001;
        assert!((dot(x, &u) - 0.75 * sign).abs() <= bound);
    }
}

/// A seed gives the same images for ever.
#[test]
fn the_images_of_a_seed_do_not_change() {
    let u = direction(60);
    let (_, values) = draw(&u, CONFIG);
    for (found, expected) in values.iter().zip([3.0750535, -1.0360922, -0.528068]) {
        assert!((found - expected).abs() <= 1e-6, "{found} {expected}");
    }
}

#[test]
fn labels_are_balanced_and_noise_is_isotropic() {
    let u = direction(60);
    let count = 20_000;
    let (data, values) = draw(&u, SeparableConfig { count, ..CONFIG });
    // Fair coin: standard deviation sqrt(count) / 2, five of them allowed.
    let ones = data.class_counts()[1] as f64;
    assert!((ones - 10_000.0).abs() < 5.0 * (count as f64).sqrt() / 2.0, "{ones}");
    // ||x||^2 - eps^2 is sigma^2 times a chi-squared variable with 59 degrees of freedom, variance
    // 2 * 59.
    let mean_square = dot(&values, &values) / count as f64;
    let expected = 0.75_f64.powi(2) + 4.0 * 59.0;
    let error = 4.0 * (2.0 * 59.0 / count as f64).sqrt();
    assert!((mean_square - expected).abs() < 5.0 * error, "{mean_square}, expected {expected}");
    // A direction orthogonal to u: mean 0 and variance sigma^2.
    let mut v = vec![0.0; 60];
    (v[0], v[1]) = (u[1], -u[0]);
    let norm = dot(&v, &v).sqrt();
    let along: Vec<f64> = values.chunks_exact(60).map(|x| dot(x, &v) / norm).collect();
    let variance = dot(&along, &along) / count as f64;
    assert!((variance / 4.0 - 1.0).abs() < 5.0 * (2.0 / count as f64).sqrt(), "{variance}");
    assert!((along.iter().sum::<f64>() / count as f64).abs() < 5.0 * 2.0 / (count as f64).sqrt());
}

#[test]
fn the_seed_decides_everything() {
    let u = direction(60);
    assert_eq!(draw(&u, CONFIG).1, draw(&u, CONFIG).1);
    assert_ne!(draw(&u, CONFIG).1, draw(&u, SeparableConfig { seed: 10, ..CONFIG }).1);
    let (_, fewer) = draw(&u, SeparableConfig { count: 10, ..CONFIG });
    assert_eq!(fewer, draw(&u, CONFIG).1[..600], "a longer draw begins like a shorter one");
}

#[test]
fn without_noise_only_the_direction_is_left() {
    let (data, values) = draw(
        &[1.0, 0.0],
        SeparableConfig { sigma: 0.0, count: 20, image_shape: (1, 1, 2), ..CONFIG },
    );
    for (x, sign) in values.chunks_exact(2).zip(signs(&data)) {
        assert_eq!(x, [0.75 * sign, 0.0]);
    }
}

#[test]
fn a_direction_must_be_a_unit_vector_of_the_right_length() {
    let config = SeparableConfig { count: 1, image_shape: (1, 1, 2), ..SeparableConfig::default() };
    for bad in [[0.6, 0.9], [0.0, 0.0], [f64::NAN, 1.0], [f64::INFINITY, 0.0]] {
        let error = linearly_separable(&bad, &config).expect_err("not a unit vector");
        assert!(matches!(error, DataError::NotUnit { .. }), "{error}");
    }
    assert!(matches!(linearly_separable(&[1.0], &config), Err(DataError::Shape { .. })));
    // As precise as f32 numbers are.
    assert!(linearly_separable(&[f64::from(0.6_f32), f64::from(0.8_f32)], &config).is_ok());
}

#[test]
fn settings_out_of_range_are_refused() {
    let ok = SeparableConfig { count: 1, image_shape: (1, 1, 1), ..SeparableConfig::default() };
    let cases = [
        ("epsilon", SeparableConfig { epsilon: 0.0, ..ok }),
        ("epsilon", SeparableConfig { epsilon: f64::NAN, ..ok }),
        ("sigma", SeparableConfig { sigma: -1.0, ..ok }),
        ("sigma", SeparableConfig { sigma: f64::INFINITY, ..ok }),
        ("count", SeparableConfig { count: 0, ..ok }),
        ("count", SeparableConfig { count: usize::MAX, ..ok }),
        ("image_shape", SeparableConfig { image_shape: (1, 0, 1), ..ok }),
    ];
    for (field, config) in cases {
        match linearly_separable(&[1.0], &config) {
            Err(DataError::Setting { name, .. }) => assert_eq!(name, field),
            other => panic!("{field}: expected an error, got {other:?}"),
        }
    }
}
