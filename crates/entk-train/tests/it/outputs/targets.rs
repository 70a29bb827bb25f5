use entk_train::{Targets, TrainError};

#[test]
fn labels_outside_the_classes_name_the_remedy() {
    let error = Targets::classes(vec![0, 9, 10, 3], 10).unwrap_err();
    assert!(matches!(error, TrainError::ClassLabel { index: 2, label: 10, classes: 10 }));
    let message = error.to_string();
    assert!(message.contains("0 to 9") && message.contains("raise the number"), "{message}");
    for classes in [0, 1] {
        let error = Targets::classes(vec![0], classes);
        assert!(matches!(error, Err(TrainError::Setting { field: "classes", .. })));
    }
    assert!(matches!(Targets::binary(vec![1, 2]), Err(TrainError::Label { index: 1, value: 2 })));
    assert_eq!(Targets::binary(vec![1, 0]).unwrap(), Targets::from([1, 0]));
}

#[test]
fn real_targets_are_rows_of_finite_numbers() {
    let error = Targets::values(vec![1.0; 7], 3).unwrap_err();
    assert!(matches!(error, TrainError::TargetShape { values: 7, outputs: 3 }), "{error}");
    assert!(matches!(Targets::values(vec![], 0), Err(TrainError::TargetShape { .. })));
    let error = Targets::values(vec![1.0, 2.0, 3.0, f64::NAN], 2).unwrap_err();
    assert!(matches!(error, TrainError::NonFiniteTarget { index: 1, output: 1, .. }), "{error}");
}

/// Variants that were written down are checked where they are used.
#[test]
fn variants_are_checked_as_constructors_do() {
    for bad in [
        Targets::Binary(vec![2]),
        Targets::Classes { labels: vec![3], classes: 3 },
        Targets::Values { values: vec![f64::INFINITY], outputs: 1 },
        Targets::Values { values: vec![0.0], outputs: 0 },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}

#[test]
fn selected_targets_are_those_of_the_examples() {
    let order = [2, 0, 2];
    assert_eq!(Targets::from([0, 1, 1]).select(&order), Targets::from([1, 0, 1]));
    let classes = Targets::classes(vec![4, 5, 6], 7).unwrap();
    assert_eq!(classes.select(&order), Targets::classes(vec![6, 4, 6], 7).unwrap());
    let values = Targets::values(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2).unwrap();
    let expected = Targets::values(vec![4.0, 5.0, 0.0, 1.0, 4.0, 5.0], 2).unwrap();
    assert_eq!(values.select(&order), expected);
}
