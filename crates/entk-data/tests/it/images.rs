//! `Images`: what is accepted, what is refused, selection.

use candle_core::{DType, Device, Tensor, Var};
use entk_data::{DataError, Images, Layout};

fn counted(n: usize) -> Images {
    Images::from_vec((0..n).map(|i| i as f32).collect(), (n, 1, 1, 1)).expect("images")
}

#[test]
fn shape_is_read_in_the_order_n_c_h_w() {
    let images =
        Images::new(Tensor::zeros((2, 3, 4, 5), DType::F32, &Device::Cpu).expect("tensor"))
            .expect("images");
    assert_eq!((images.count(), images.channels(), images.height(), images.width()), (2, 3, 4, 5));
    assert_eq!(images.image_shape(), (3, 4, 5));
}

#[test]
fn nhwc_is_permuted() {
    let tensor =
        Tensor::from_vec((0..12).map(|i| i as f32).collect::<Vec<_>>(), (1, 2, 2, 3), &Device::Cpu)
            .expect("tensor");
    let images = Images::with_layout(&tensor, Layout::Nhwc).expect("images");
    assert_eq!(images.image_shape(), (3, 2, 2));
    assert_eq!(
        images.to_vec().expect("values"),
        [0., 3., 6., 9., 1., 4., 7., 10., 2., 5., 8., 11.]
    );
}

#[test]
fn wrong_shapes_types_and_empty_sets_are_refused() {
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &Device::Cpu).expect("tensor");
    assert!(matches!(Images::new(zeros(&[2, 3], DType::F32)), Err(DataError::Shape { .. })));
    assert!(matches!(Images::new(zeros(&[2, 3, 4, 4], DType::F64)), Err(DataError::Dtype { .. })));
    assert!(matches!(Images::new(zeros(&[0, 3, 4, 4], DType::F32)), Err(DataError::Empty { .. })));
    assert!(matches!(
        Images::with_layout(&zeros(&[1, 4], DType::F32), Layout::Nhwc),
        Err(DataError::Shape { .. })
    ));
    assert!(matches!(Images::from_vec(vec![0.0; 3], (2, 1, 1, 1)), Err(DataError::Shape { .. })));
    assert!(matches!(
        Images::from_vec(vec![0.0; 3], (usize::MAX, 2, 1, 1)),
        Err(DataError::Shape { .. })
    ));
    assert!(matches!(Images::from_vec(Vec::new(), (0, 1, 1, 1)), Err(DataError::Empty { .. })));
}

#[test]
fn not_finite_values_are_named_wherever_they_are() {
    for (index, value) in [(0, f32::NAN), (9_000, f32::INFINITY), (19_999, f32::NEG_INFINITY)] {
        let mut values = vec![0.5; 20_000];
        values[index] = value;
        let tensor =
            Tensor::from_vec(values.clone(), (10_000, 1, 2, 1), &Device::Cpu).expect("tensor");
        for result in [Images::new(tensor), Images::from_vec(values, (10_000, 2, 1, 1))] {
            match result {
                Err(DataError::NonFinite { index: found, .. }) => assert_eq!(found, index),
                other => panic!("expected an error, got {other:?}"),
            }
        }
    }
}

#[test]
fn a_variable_that_changes_later_leaves_the_images_alone() {
    let variable = Var::zeros((1, 1, 1, 1), DType::F32, &Device::Cpu).expect("variable");
    let images = Images::new(variable.as_tensor().clone()).expect("images");
    variable
        .set(&Tensor::ones((1, 1, 1, 1), DType::F32, &Device::Cpu).expect("tensor"))
        .expect("set");
    assert_eq!(images.to_vec().expect("values"), [0.0]);
}

#[test]
fn select_keeps_the_order_asked_for() {
    let images = counted(5);
    assert_eq!(
        images.select(&[4, 0, 4]).expect("selected").to_vec().expect("values"),
        [4.0, 0.0, 4.0]
    );
    assert!(matches!(images.select(&[1, 5]), Err(DataError::Index { index: 5, count: 5 })));
    assert!(matches!(images.select(&[]), Err(DataError::Empty { .. })));
}

#[test]
fn concat_appends_images_of_the_same_shape() {
    let both = counted(2).concat(&counted(3)).expect("joined");
    assert_eq!(both.to_vec().expect("values"), [0.0, 1.0, 0.0, 1.0, 2.0]);
    let wide = Images::from_vec(vec![0.0; 2], (1, 1, 1, 2)).expect("images");
    assert!(matches!(both.concat(&wide), Err(DataError::Shape { .. })));
}
