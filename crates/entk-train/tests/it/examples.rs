use candle_core::{DType, Device, Tensor};
use entk_models::ModelError;
use entk_testing::test_device;
use entk_train::{Examples, Targets, TrainError};

/// On the CPU: sets without examples are among them, and a GPU has no tensor of nothing.
fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn shapes_and_counts_are_checked() {
    for shape in [&[][..], &[3], &[0, 1, 2, 2], &[3, 0, 2, 2]] {
        let error = Examples::new(zeros(shape), vec![0; 3]).unwrap_err();
        assert!(matches!(&error, TrainError::Inputs { found } if found == shape), "{error}");
    }
    let error = Examples::new(zeros(&[3, 1, 2, 2]), vec![0; 4]).unwrap_err();
    assert!(matches!(error, TrainError::Count { expected: 3, found: 4, .. }));
    let task = Examples::new(zeros(&[3, 1, 2, 2]), vec![0; 3]).unwrap();
    assert!(matches!(task.with_targets(vec![1; 2]), Err(TrainError::Count { found: 2, .. })));
}

#[test]
fn labels_other_than_0_and_1_are_refused() {
    let task = Examples::new(zeros(&[3, 1, 2, 2]), vec![0, 1, 1]).unwrap();
    for error in [
        Examples::new(zeros(&[3, 1, 2, 2]), vec![0, 1, 2]).unwrap_err(),
        task.with_targets(vec![1, 0, 2]).unwrap_err(),
    ] {
        assert!(matches!(error, TrainError::Label { index: 2, value: 2 }));
    }
}

#[test]
fn inputs_that_are_not_finite_are_refused() {
    for (dtype, bad) in [(DType::F32, f64::NAN), (DType::F64, f64::INFINITY)] {
        let mut x = vec![0.0; 8];
        x[5] = bad;
        let x = Tensor::from_vec(x, (2, 1, 2, 2), test_device()).unwrap();
        let error = Examples::new(x.to_dtype(dtype).unwrap(), vec![0, 1]).unwrap_err();
        assert!(matches!(error, TrainError::Model(ModelError::NonFinite { index: 5, .. })));
    }
}

#[test]
fn other_labels_share_the_inputs() {
    // A transposed view: it must be laid out once, so that rows can be taken from it.
    let x = zeros(&[2, 2, 1, 3]).transpose(0, 3).unwrap();
    let task = Examples::new(x, vec![0, 1, 0]).unwrap();
    let other = task.with_targets(vec![1, 1, 1]).unwrap();
    assert_eq!(other.inputs().id(), task.inputs().id());
    assert_eq!((other.targets(), other.count()), (&Targets::from([1; 3]), 3));
    assert!(task.inputs().is_contiguous());
}
