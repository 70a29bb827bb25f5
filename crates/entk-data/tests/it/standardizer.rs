//! `Standardizer`: definition, tolerance, and what it refuses.

use approx::assert_abs_diff_eq;
use entk_data::{DataError, Dataset, Images, Split, Standardizer, embedded};

/// Mean and population standard deviation of each channel, straight from the definition.
fn moments(images: &Images) -> Vec<(f64, f64)> {
    let (channels, height, width) = images.image_shape();
    let values = images.to_vec().expect("values");
    let of_channel = |channel| -> Vec<f64> {
        let planes = values.chunks_exact(height * width).skip(channel).step_by(channels);
        planes.flatten().map(|&x| f64::from(x)).collect()
    };
    (0..channels)
        .map(|channel| {
            let values = of_channel(channel);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance =
                values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
            (mean, variance.sqrt())
        })
        .collect()
}

#[test]
fn each_channel_gets_mean_zero_and_deviation_one() {
    let values = (0..3000).map(|i: u32| {
        [0.2, 0.7, 0.5][i as usize / 10 % 3] + (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e8
    });
    let images = Images::from_vec(values.collect(), (100, 3, 2, 5)).expect("images");
    let standardizer = Standardizer::fit(&images).expect("fitted");
    for (channel, (mean, std)) in moments(&images).into_iter().enumerate() {
        // Sums of 1,000 terms in another order: 1,000 roundings of 2^-53 at most.
        assert_abs_diff_eq!(standardizer.mean()[channel], mean, epsilon = 1.2e-13);
        assert_abs_diff_eq!(standardizer.std()[channel], std, epsilon = 1.2e-13);
    }
    let standardised = standardizer.apply(&images).expect("applied");
    let largest = standardised
        .to_vec()
        .expect("values")
        .iter()
        .fold(0.0_f32, |largest, x| largest.max(x.abs()));
    // Every value is rounded to f32 once, by at most largest * 2^-24; so far can the mean and, to
    // first order, the standard deviation move. Twice that leaves room for the f64 sums.
    let tolerance = 2.0 * f64::from(largest) * 2.0_f64.powi(-24);
    for (mean, std) in moments(&standardised) {
        assert_abs_diff_eq!(mean, 0.0, epsilon = tolerance);
        assert_abs_diff_eq!(std, 1.0, epsilon = tolerance);
    }
}

#[test]
fn the_test_part_is_scaled_by_the_training_part() {
    let part = |values: [f32; 2]| {
        let images = Images::from_vec(values.to_vec(), (2, 1, 1, 1)).expect("images");
        Dataset::new("part", images, vec![0, 1], 2).expect("data set")
    };
    let split = Split { train: part([1.0, 5.0]), test: part([7.0, 3.0]) };
    let (standardised, _) = split.standardized().expect("standardised");
    assert_eq!(standardised.train.images().to_vec().expect("values"), [-1.0, 1.0]);
    assert_eq!(standardised.test.images().to_vec().expect("values"), [2.0, 0.0]);
    assert_eq!(standardised.test.labels(), split.test.labels());
}

#[test]
fn a_subset_keeps_the_values_of_the_full_set() {
    let (split, _) = embedded().expect("embedded").standardized().expect("standardised");
    let indices = split.train.stratified_indices(50, 5).expect("indices");
    let subset = split.train.stratified_subset(50, 5).expect("subset");
    let whole = split.train.images().to_vec().expect("values");
    let values = subset.images().to_vec().expect("values");
    for (image, &index) in values.chunks_exact(784).zip(&indices) {
        assert_eq!(image, &whole[index * 784..(index + 1) * 784]);
    }
}

#[test]
fn a_constant_channel_is_refused() {
    for value in [0.0, 0.3, 1e6] {
        let mut values: Vec<f32> = (0..40).map(|i| i as f32).collect();
        for image in values.chunks_exact_mut(4) {
            image[2..].fill(value);
        }
        let images = Images::from_vec(values, (10, 2, 1, 2)).expect("images");
        let error = Standardizer::fit(&images).expect_err("constant channel");
        assert!(matches!(error, DataError::ConstantChannel { channel: 1, .. }), "{error}");
    }
}

#[test]
fn another_number_of_channels_is_refused() {
    let fitted =
        Standardizer::fit(&Images::from_vec(vec![0.0, 1.0], (2, 1, 1, 1)).expect("images"))
            .expect("fitted");
    let colour = Images::from_vec(vec![0.0; 3], (1, 3, 1, 1)).expect("images");
    assert!(matches!(fitted.apply(&colour), Err(DataError::Shape { .. })));
}
