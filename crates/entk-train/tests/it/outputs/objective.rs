//! Losses of several outputs and class weights, against PyTorch's numbers and differences.

use entk_testing::{normals, relative_error};
use entk_train::{Loss, Objective, Targets, TrainError, sigmoid_cross_entropy_cotangent};

/// Of a loss: a dozen roundings of numbers of its size, and those of PyTorch.
const ROUND_OFF: f64 = 1e-14;

const PLAIN: Loss = Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 };
const SMOOTH: Loss = Loss::SoftmaxCrossEntropy { label_smoothing: 0.1 };

/// Four examples of three classes.
const LOGITS: [f64; 12] = [1.5, -0.25, 0.75, 2.0, 2.5, -3.0, -1.0, 0.5, 4.0, 0.0, 0.0, 0.0];
const WEIGHTS: [f64; 3] = [0.5, 2.0, 1.25];

fn classes() -> Targets {
    Targets::classes(vec![0, 2, 1, 1], 3).unwrap()
}

fn agrees(objective: Objective<'_>, logits: &[f64], targets: &Targets, value: f64, slope: &[f64]) {
    let found = objective.value(logits, targets).unwrap();
    assert!((found - value).abs() <= ROUND_OFF * value, "{objective:?}: {found}, {value}");
    let found = objective.cotangent(logits, targets).unwrap();
    assert!(relative_error(&found, slope) <= ROUND_OFF, "{objective:?}: {found:?}");
}

/// `torch.nn.CrossEntropyLoss(weight, label_smoothing=e)` and its gradient in f64, PyTorch 2.15.
#[test]
fn the_softmax_is_that_of_pytorch() {
    let plain = [
        -0.09812960948448538,
        0.02639111665324006,
        0.07173849283124532,
        0.09414567481725783,
        0.15521997661563036,
        -0.2493656514328882,
        0.0016244858289154855,
        -0.2427195596156304,
        0.2410950737867149,
        0.08333333333333333,
        -0.16666666666666669,
        0.08333333333333333,
    ];
    let weighted = [
        -0.03413203808156013,
        0.009179518835909586,
        0.024952519245650548,
        0.08186580418891985,
        0.1349738927092438,
        -0.21683969689816363,
        0.0022601541967519796,
        -0.33769677859565966,
        0.3354366243989077,
        0.11594202898550723,
        -0.2318840579710145,
        0.11594202898550723,
    ];
    let smooth = [
        -0.08146294281781871,
        0.018057783319906727,
        0.06340515949791199,
        0.0858123414839245,
        0.14688664328229703,
        -0.23269898476622153,
        -0.006708847504417848,
        -0.22605289294896375,
        0.23276174045338158,
        0.075,
        -0.15000000000000002,
        0.075,
    ];
    let both = [
        -0.02041126408364923,
        -0.0010377562372547008,
        0.021449020320903928,
        0.07896725346428218,
        0.12337968981069308,
        -0.20234694327497524,
        -0.0007231523102639006,
        -0.3148882218620906,
        0.31561137417235446,
        0.10869565217391304,
        -0.2130434782608696,
        0.10434782608695652,
    ];
    agrees(PLAIN.weighted(&[]), &LOGITS, &classes(), 2.7774832279063437, &plain);
    agrees(PLAIN.weighted(&WEIGHTS), &LOGITS, &classes(), 2.954739554577221, &weighted);
    agrees(SMOOTH.weighted(&[]), &LOGITS, &classes(), 2.6941498945730107, &smooth);
    agrees(SMOOTH.weighted(&WEIGHTS), &LOGITS, &classes(), 2.8272351551693258, &both);
}

/// A weighted cross-entropy of one logit z is PyTorch's of the two logits (0, z).
#[test]
fn the_sigmoid_with_weights_is_that_of_pytorch() {
    let (logits, labels) = ([0.3, -2.0, 1.25, 4.0], Targets::from([1, 1, 0, 1]));
    let plain =
        [-0.10638937079708524, -0.2201992694944706, 0.19432496529367277, -0.004496552490522887];
    let weighted =
        [-0.04728416479870455, -0.09786634199754249, 0.518199907449794, -0.0019984677735657274];
    let loss = Loss::SigmoidCrossEntropy;
    agrees(loss.weighted(&[]), &logits, &labels, 1.0503405661936704, &plain);
    agrees(loss.weighted(&[3.0, 0.5]), &logits, &labels, 1.301223074611283, &weighted);
}

#[test]
fn the_squared_loss_is_a_mean_over_examples_and_a_sum_over_outputs() {
    let values = [0.5, 1.0, -2.0, 1.5, 2.0, -2.5, 0.0, 0.25, 3.0, -1.0, 0.125, 1.0];
    let values = Targets::values(values.to_vec(), 3).unwrap();
    let slope =
        [0.25, -0.3125, 0.6875, 0.125, 0.125, -0.125, -0.25, 0.0625, 0.25, 0.25, -0.03125, -0.25];
    agrees(Loss::Squared.weighted(&[]), &LOGITS, &values, 1.869140625, &slope);

    // Classes are one-hot vectors, and labels 0 and 1 are -1 and 1.
    let one_hot = Targets::values(classes().to_values(), 3).unwrap();
    let labels = Targets::from([1, 0]);
    let signs = Targets::values(vec![1.0, -1.0], 1).unwrap();
    for (labels, values, z) in [(classes(), one_hot, &LOGITS[..]), (labels, signs, &[0.3, 1.5][..])]
    {
        let (a, b) = (Loss::Squared.value(z, &labels), Loss::Squared.value(z, &values));
        assert_eq!(a.unwrap(), b.unwrap());
        let (a, b) = (Loss::Squared.cotangent(z, &labels), Loss::Squared.cotangent(z, &values));
        assert_eq!(a.unwrap(), b.unwrap());
    }
}

/// Where the losses are defined by formulas that nothing is lost in.
#[test]
fn cotangents_agree_with_differences() {
    let logits = normals(12, 5);
    // Values of size 1 and third derivatives of size 1 at a distance of eps^(1/3).
    let h = f64::EPSILON.cbrt();
    let tolerance = 16.0 * h * h;
    for loss in [PLAIN, SMOOTH, Loss::Squared] {
        for weights in [&[][..], &WEIGHTS] {
            let objective = loss.weighted(weights);
            let slopes = objective.cotangent(&logits, &classes()).unwrap();
            for (at, slope) in slopes.into_iter().enumerate() {
                let moved = |by: f64| {
                    let mut z = logits.clone();
                    z[at] += by;
                    objective.value(&z, &classes()).unwrap()
                };
                let difference = (moved(h) - moved(-h)) / (2.0 * h);
                assert!((difference - slope).abs() <= tolerance, "{objective:?}, {at}");
            }
        }
    }
}

#[test]
fn extreme_logits_lose_no_digits() {
    let one = |row: &[f64], label| {
        let targets = Targets::classes(vec![label], row.len()).unwrap();
        (PLAIN.value(row, &targets).unwrap(), PLAIN.cotangent(row, &targets).unwrap())
    };
    for z in [1e4, 1e300] {
        assert_eq!(one(&[z, 0.0, -z], 0), (0.0, vec![0.0; 3]));
        assert_eq!(one(&[z, 0.0, -z], 1), (z, vec![1.0, -1.0, 0.0]));
    }
    // A loss of 2 exp(-40), where the probability of the label rounds to 1.
    let (value, slopes) = one(&[40.0, 0.0, 0.0], 0);
    let small = (-40f64).exp();
    assert!((value / (2.0 * small) - 1.0).abs() <= ROUND_OFF, "{value}");
    assert!(relative_error(&slopes, &[-2.0 * small, small, small]) <= ROUND_OFF, "{slopes:?}");
}

/// Two classes with logits (0, z) are one logit z.
#[test]
fn two_classes_are_one_logit() {
    let z = normals(9, 4);
    let labels: Vec<u8> = (0..9).map(|n| u8::from(n % 3 == 0)).collect();
    let pairs: Vec<f64> = z.iter().flat_map(|&z| [0.0, z]).collect();
    let classes = labels.iter().map(|&y| y.into()).collect();
    let slopes = PLAIN.cotangent(&pairs, &Targets::classes(classes, 2).unwrap()).unwrap();
    let of_z: Vec<f64> = slopes.iter().skip(1).step_by(2).copied().collect();
    let expected = sigmoid_cross_entropy_cotangent(&z, &labels).unwrap();
    assert!(relative_error(&of_z, &expected) <= ROUND_OFF);
}

#[test]
fn equal_weights_are_none() {
    for (loss, targets, z) in [
        (SMOOTH, classes(), &LOGITS[..]),
        (Loss::Squared, classes(), &LOGITS[..]),
        (Loss::SigmoidCrossEntropy, Targets::from([1, 0]), &[0.5, 2.0][..]),
    ] {
        let weights = vec![3.0; targets.outputs().max(2)];
        let slopes = loss.cotangent(z, &targets).unwrap();
        agrees(loss.weighted(&weights), z, &targets, loss.value(z, &targets).unwrap(), &slopes);
    }
}

#[test]
fn losses_of_other_targets_are_refused_with_a_remedy() {
    let refused = |loss: Loss, targets: &Targets, remedy: &str| {
        let z = vec![0.0; targets.count() * targets.outputs()];
        let error = loss.value(&z, targets).unwrap_err();
        assert!(matches!(error, TrainError::LossTargets { .. }), "{error:?}");
        assert!(error.to_string().contains(remedy), "{error}");
        assert!(loss.cotangent(&z, targets).is_err());
    };
    let values = Targets::values(vec![0.5; 6], 3).unwrap();
    refused(Loss::SigmoidCrossEntropy, &classes(), "set the loss to SoftmaxCrossEntropy");
    refused(Loss::SigmoidCrossEntropy, &values, "set the loss to Squared");
    refused(PLAIN, &Targets::from([0, 1]), "set the loss to SigmoidCrossEntropy");
    refused(PLAIN, &values, "set the loss to Squared");
}

#[test]
fn logits_weights_and_smoothing_that_do_not_fit_are_refused() {
    let value =
        |loss: Loss, weights: &[f64], z: &[f64]| loss.weighted(weights).value(z, &classes());
    let short = value(PLAIN, &[], &LOGITS[1..]);
    assert!(matches!(short, Err(TrainError::Count { expected: 12, found: 11, .. })));
    for z in [&[][..], &[1.0]] {
        let none = PLAIN.value(z, &Targets::classes(vec![], 3).unwrap());
        assert!(matches!(none, Err(TrainError::Count { .. })));
    }
    let mut z = LOGITS;
    z[7] = f64::NAN;
    let bad = value(PLAIN, &[], &z);
    assert!(matches!(bad, Err(TrainError::NonFiniteLogit { index: 2, .. })), "{bad:?}");
    let error = value(PLAIN, &WEIGHTS[1..], &LOGITS).unwrap_err();
    assert!(matches!(error, TrainError::ClassWeights { found: 2, expected: 3 }));
    assert!(error.to_string().contains("one for each class"), "{error}");
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let bad = value(PLAIN, &[1.0, weight, 1.0], &LOGITS);
        assert!(matches!(bad, Err(TrainError::Setting { field: "class_weights", .. })));
    }
    for label_smoothing in [-0.1, 1.0, f64::NAN] {
        let bad = value(Loss::SoftmaxCrossEntropy { label_smoothing }, &[], &LOGITS);
        assert!(matches!(bad, Err(TrainError::Setting { field: "label_smoothing", .. })));
    }
    let values = Targets::values(vec![0.5; 6], 3).unwrap();
    let error = Loss::Squared.weighted(&WEIGHTS).value(&[0.0; 6], &values).unwrap_err();
    assert!(error.to_string().contains("real targets have no classes"), "{error}");
}
