//! Metrics of classifiers and regressions against their definitions.

use entk_testing::normals;
use entk_train::{Loss, Metrics, Targets, TrainError, expected_calibration_error};

/// Sums of a hundred numbers below 1.
const ROUND_OFF: f64 = 128.0 * f64::EPSILON;

fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= ROUND_OFF, "{a}, {b}");
}

/// Classes by logit, largest first; a stable sort leaves equal ones in order.
fn ranking(row: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    order
}

#[test]
fn accuracies_count_the_first_classes_of_a_ranking() {
    let (n, c) = (100, 7);
    // Rounded logits, so that many are equal.
    let z: Vec<f64> = normals(n * c, 3).iter().map(|z| (2.0 * z).round() + 0.0).collect();
    let labels: Vec<u32> = (0..n as u32).map(|i| i * i % 7).collect();
    let targets = Targets::classes(labels.clone(), c).unwrap();
    let metrics = Metrics::of(&z, &targets).unwrap();
    let among = |top: usize| {
        let rows = z.chunks(c).zip(&labels);
        let right = |(row, y): &(&[f64], &u32)| ranking(row)[..top].contains(&(**y as usize));
        Some(rows.filter(right).count() as f64 / n as f64)
    };
    assert_eq!(metrics.accuracy, among(1));
    assert_eq!(metrics.top5_accuracy, among(5));
    assert_eq!((metrics.rmse, metrics.r_squared), (None, None));
    // Five classes are all among the top five.
    let five = Targets::classes(vec![4], 5).unwrap();
    assert_eq!(Metrics::of(&[0.0; 5], &five).unwrap().top5_accuracy, None);
}

/// The definition, bin by bin.
fn calibration_error(confidence: &[f64], right: &[bool]) -> f64 {
    let bin = |b: usize| {
        let (low, high) = ((b - 1) as f64 / 15.0, b as f64 / 15.0);
        let inside: Vec<usize> =
            (0..right.len()).filter(|&i| confidence[i] > low && confidence[i] <= high).collect();
        if inside.is_empty() {
            return 0.0;
        }
        let size = inside.len() as f64;
        let accuracy = inside.iter().filter(|&&i| right[i]).count() as f64 / size;
        let mean = inside.iter().map(|&i| confidence[i]).sum::<f64>() / size;
        size / right.len() as f64 * (accuracy - mean).abs()
    };
    (1..=15).map(bin).sum()
}

#[test]
fn the_calibration_error_is_its_definition() {
    let (n, c) = (100, 3);
    let z = normals(n * c, 8);
    let labels: Vec<u32> = (0..n as u32).map(|i| i * i % 3).collect();
    let (mut confidence, mut right) = (Vec::new(), Vec::new());
    for (row, &y) in z.chunks(c).zip(&labels) {
        let first = ranking(row)[0];
        let sum: f64 = row.iter().map(|z| z.exp()).sum();
        confidence.push(row[first].exp() / sum);
        right.push(first == y as usize);
    }
    let expected = calibration_error(&confidence, &right);
    let targets = Targets::classes(labels, c).unwrap();
    near(Metrics::of(&z, &targets).unwrap().calibration_error.unwrap(), expected);
    near(expected_calibration_error(&confidence, &right).unwrap(), expected);
    // The outputs of a squared loss are no log-probabilities.
    let squared = Metrics::with_loss(Loss::Squared, &z, &targets).unwrap();
    assert_eq!(squared.calibration_error, None);

    let z = normals(n, 9);
    let labels: Vec<u8> = (0..n).map(|i| u8::from(i % 3 == 0)).collect();
    let confidence: Vec<f64> = z.iter().map(|z| 1.0 / (1.0 + (-z.abs()).exp())).collect();
    let right: Vec<bool> = z.iter().zip(&labels).map(|(&z, &y)| (z > 0.0) == (y == 1)).collect();
    let metrics = Metrics::of(&z, &labels.into()).unwrap();
    near(metrics.calibration_error.unwrap(), calibration_error(&confidence, &right));
}

#[test]
fn confidences_out_of_range_are_refused() {
    for bad in [-0.1, 1.1, f64::NAN] {
        let error = expected_calibration_error(&[0.5, bad], &[true, true]);
        assert!(matches!(error, Err(TrainError::Setting { field: "confidence", .. })));
    }
    assert!(matches!(expected_calibration_error(&[], &[]), Err(TrainError::Count { .. })));
    assert!(matches!(expected_calibration_error(&[0.5], &[]), Err(TrainError::Count { .. })));
}

/// The values are NumPy's.
#[test]
fn regressions_have_errors_and_no_accuracy() {
    let z = [1.5, -0.25, 0.75, 2.0, 2.5, -3.0, -1.0, 0.5, 4.0, 0.0, 0.0, 0.0];
    let t = vec![0.5, 1.0, -2.0, 1.5, 2.0, -2.5, 0.0, 0.25, 3.0, -1.0, 0.125, 1.0];
    let metrics = Metrics::of(&z, &Targets::values(t, 3).unwrap()).unwrap();
    near(metrics.rmse.unwrap(), 1.1162856937182344);
    near(metrics.r_squared.unwrap(), 0.41744026784355504);
    near(metrics.loss, 1.869140625);
    assert_eq!((metrics.accuracy, metrics.calibration_error), (None, None));
    // Targets that do not vary have no R^2.
    let constant = Targets::values(vec![2.0, 3.0, 2.0, 3.0], 2).unwrap();
    let metrics = Metrics::of(&[2.0, 3.0, 2.0, 4.0], &constant).unwrap();
    assert_eq!((metrics.rmse, metrics.r_squared), (Some(0.5), None));
}

/// Records that were written before there were several outputs.
#[test]
fn earlier_metrics_are_still_read() {
    let metrics: Metrics = serde_json::from_str(r#"{ "loss": 0.5, "accuracy": 0.75 }"#).unwrap();
    let expected = Metrics { loss: 0.5, accuracy: Some(0.75), ..Metrics::default() };
    assert_eq!(metrics, expected);
}
