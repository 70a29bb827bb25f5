//! The embedded slice is whole, and looks like Fashion-MNIST.

use entk_data::{Dataset, embedded};

/// Mean image of each class, 784 values each.
fn class_means(data: &Dataset) -> Vec<Vec<f64>> {
    let values = data.images().to_vec().expect("values");
    let counts = data.class_counts();
    let mut means = vec![vec![0.0; 784]; data.classes()];
    for (image, &label) in values.chunks_exact(784).zip(data.labels()) {
        let label = usize::from(label);
        for (mean, &x) in means[label].iter_mut().zip(image) {
            *mean += f64::from(x) / counts[label] as f64;
        }
    }
    means
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn both_parts_are_balanced_and_in_range() {
    let split = embedded().expect("embedded");
    for (part, per_class) in [(&split.train, 600), (&split.test, 200)] {
        assert_eq!(part.class_counts(), [per_class; 10]);
        assert_eq!(part.images().image_shape(), (1, 28, 28));
        let values = part.images().to_vec().expect("values");
        assert!(values.iter().all(|x| (0.0..=1.0).contains(x)));
        assert!(values.contains(&0.0) && values.contains(&1.0));
        assert!(values.iter().all(|x| (x * 255.0).fract() == 0.0), "not bytes / 255");
    }
}

#[test]
fn classes_differ_and_the_two_parts_agree() {
    let split = embedded().expect("embedded");
    let (train, test) = (class_means(&split.train), class_means(&split.test));
    for class in 0..10 {
        let own = distance(&train[class], &test[class]);
        for other in (0..10).filter(|&other| other != class) {
            let apart = distance(&train[class], &train[other]);
            assert!(
                own < 0.7 * apart,
                "class {class}: {own} between the parts, {apart} to class {other}"
            );
        }
    }
}

#[test]
fn mean_and_spread_are_those_of_the_full_training_set() {
    // Of the 60,000 published images: mean 0.2860, standard deviation 0.3530. The mean of 6,000 has
    // a standard error of about 0.12 / sqrt(6000) = 0.002 (image means spread by about 0.12).
    let (_, standardizer) = embedded().expect("embedded").standardized().expect("standardised");
    assert!((standardizer.mean()[0] - 0.2860).abs() < 0.006, "{standardizer:?}");
    assert!((standardizer.std()[0] - 0.3530).abs() < 0.006, "{standardizer:?}");
}
