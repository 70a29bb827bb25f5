//! `Dataset` and `Split`: checks, binary labels, stratified subsets.

use entk_data::{DataError, Dataset, Images, Split};
use proptest::prelude::*;

/// Image i has the single value i, so that selections can be traced.
fn dataset(labels: Vec<u8>, classes: usize) -> Dataset {
    let n = labels.len();
    let images =
        Images::from_vec((0..n).map(|i| i as f32).collect(), (n, 1, 1, 1)).expect("images");
    Dataset::new("test data", images, labels, classes).expect("data set")
}

#[test]
fn labels_must_fit_the_images_and_the_classes() {
    let images = Images::from_vec(vec![0.0; 3], (3, 1, 1, 1)).expect("images");
    let new =
        |labels: &[u8], classes| Dataset::new("three", images.clone(), labels.to_vec(), classes);
    assert!(matches!(new(&[0, 1], 10), Err(DataError::CountMismatch { images: 3, labels: 2, .. })));
    assert!(matches!(
        new(&[0, 1, 10], 10),
        Err(DataError::Label { index: 2, classes: 10, found: 10, .. })
    ));
    assert!(matches!(new(&[0, 0, 0], 1), Err(DataError::Classes { found: 1, .. })));
    assert!(matches!(new(&[0, 0, 0], 257), Err(DataError::Classes { found: 257, .. })));
    assert_eq!(new(&[0, 255, 7], 256).expect("data set").classes(), 256);
}

#[test]
fn the_first_half_of_the_classes_is_one() {
    let ten = dataset((0..10).collect(), 10);
    assert_eq!(ten.binary_labels(), [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(
        dataset(vec![0, 1, 1], 2).binary_labels(),
        [0, 1, 1],
        "two classes are binary already"
    );
}

#[test]
fn all_is_train_then_test() {
    let split = Split { train: dataset(vec![3, 1], 4), test: dataset(vec![2], 4) };
    let all = split.all().expect("joined");
    assert_eq!(all.labels(), [3, 1, 2]);
    assert_eq!(all.images().to_vec().expect("values"), [0.0, 1.0, 0.0]);
    let split = Split { train: dataset(vec![3], 4), test: dataset(vec![2], 5) };
    assert!(matches!(split.all(), Err(DataError::Shape { .. })));
}

#[test]
fn impossible_subsets_are_refused() {
    let data = dataset(vec![0, 1, 1], 2);
    for requested in [0, 4] {
        match data.stratified_subset(requested, 0) {
            Err(DataError::Subset { requested: found, available: 3, .. }) => {
                assert_eq!(found, requested)
            }
            other => panic!("expected an error, got {other:?}"),
        }
    }
}

#[test]
fn images_and_labels_stay_together() {
    let data = dataset((0..100).map(|i| i % 7).collect(), 7);
    let subset = data.stratified_subset(30, 3).expect("subset");
    for (value, &label) in subset.images().to_vec().expect("values").iter().zip(subset.labels()) {
        assert_eq!((*value as u8) % 7, label);
    }
}

#[test]
fn subsets_of_one_seed_are_nested_for_equal_classes() {
    let data = dataset((0..200).map(|i| i % 10).collect(), 10);
    let mut smaller: Vec<usize> = Vec::new();
    for n in 1..=200 {
        let indices = data.stratified_indices(n, 11).expect("indices");
        assert!(
            smaller.iter().all(|index| indices.binary_search(index).is_ok()),
            "not nested at {n}"
        );
        smaller = indices;
    }
    assert_eq!(smaller, (0..200).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(crate::cases(256))]

    #[test]
    fn stratification_holds_for_any_labels(
        labels in prop::collection::vec(0..6_u8, 1..300),
        part in 0.0..1.0,
        seed: u64,
    ) {
        let data = dataset(labels.clone(), 6);
        let n = 1 + (part * (labels.len() - 1) as f64) as usize;
        let indices = data.stratified_indices(n, seed).expect("indices");
        prop_assert_eq!(indices.len(), n);
        prop_assert!(indices.windows(2).all(|pair| pair[0] < pair[1]), "ascending and without repetition");
        prop_assert_eq!(&indices, &data.stratified_indices(n, seed).expect("indices"), "deterministic");
        let counts = data.class_counts();
        let subset = data.stratified_subset(n, seed).expect("subset");
        for (class, &found) in subset.class_counts().iter().enumerate() {
            let share = n as f64 * counts[class] as f64 / labels.len() as f64;
            prop_assert!((found as f64 - share).abs() < 1.0, "class {} has {}, its share is {}", class, found, share);
        }
    }
}
