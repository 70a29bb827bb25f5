//! Inputs that operations refuse: an error that names what was expected, never a panic.

use candle_core::{Device, Tensor};
use entk_models::{
    AvgPool, AvgPool2d, Concat, Conv2d, Convolve, Embed, Expand, Flatten, FlattenAxes, IndexSelect,
    Max, MaxPool, MaxPool2d, ModelError, Network, NormMode, Operation, Pad, PadWith, Padding,
    Permute, PoolWindows, Reshape, Result, Roll, Select, Sequential, Slice, Stack, Sum, Upsample2d,
    Variance,
};

/// The message with which these shapes are refused.
fn refusal(operation: impl Operation, inputs: &[&[usize]]) -> String {
    match operation.output_shape(inputs) {
        Ok(shape) => panic!("{operation:?} gives {shape:?} for {inputs:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let windows = PoolWindows::new(3);
    let images: &[&[usize]] = &[&[2, 6, 6]];
    let half = refusal(MaxPool2d::new(windows.with_padding(2)), images);
    assert_eq!(half, "max pooling: padding 2 is more than half of the window of 3 entries");
    assert!(refusal(AvgPool2d::new(windows.with_stride(0)), images).contains("at least 1"));
    assert!(refusal(MaxPool2d::new(0), images).contains("at least 1"));
    let small = refusal(AvgPool2d::new(windows), &[&[2, 6, 2]]);
    assert!(small.contains("at least 3 entries") && small.contains("[2]"), "{small}");
    assert!(refusal(MaxPool2d::new(2), &[&[4]]).contains("max pooling"));
    assert!(refusal(MaxPool::<3>::new(2), &[&[4, 4, 4]]).contains("1 or 2 axes"));
    assert!(refusal(AvgPool::<3>::new(2), &[&[4, 4]]).contains("at least 3 axes"));
    assert!(refusal(AvgPool2d::adaptive(0), images).contains("a window on every axis"));
    assert!(refusal(AvgPool2d::adaptive(2), &[&[2, 0, 3]]).contains("an entry in every window"));
    for factor in [0.0, -1.0, 0.1, f64::NAN, f64::INFINITY] {
        assert!(refusal(Upsample2d::by(factor), images).contains("at least 1"), "{factor}");
    }
}

#[test]
fn convolutions_that_do_not_fit_are_refused() {
    let plain = Convolve { padding: Padding::Valid, ..Convolve::default() };
    let grouped = Convolve { groups: 2, ..plain };
    let back = Convolve { transposed: Some([0; 2]), stride: [2; 2], ..plain };
    let longer = Convolve { transposed: Some([0, 2]), ..back };
    let cropped = Convolve { padding: [3, 0].into(), ..back };
    let far = Convolve { dilation: [1, 4], ..plain };
    let endless = Convolve { dilation: [usize::MAX; 2], ..plain };
    let none = [
        Convolve { stride: [0, 1], ..plain },
        Convolve { dilation: [1, 0], ..plain },
        Convolve { groups: 0, ..plain },
    ];
    let image: &[usize] = &[4, 6, 6];
    for (message, what) in [
        (refusal(plain, &[image, &[3, 5, 3, 3]]), "5 channels"),
        (refusal(plain, &[image, &[3, 4, 3]]), "one k for each axis"),
        (refusal(plain, &[&[4], &[3, 4, 3]]), "(C, [H,] W) of an example"),
        (refusal(plain, &[image, &[3, 4, 3, 7]]), "larger than the padded input 6"),
        (refusal(plain, &[image, &[3, 4, 0, 1]]), "at least 1"),
        (refusal(plain, &[image, &[3, 4, 1, 1], &[4]]), "(3)"),
        (refusal(plain, &[image]), "cannot take 1 inputs"),
        (refusal(far, &[image, &[3, 4, 3, 3]]), "kernel [3, 9]"),
        (refusal(endless, &[image, &[3, 4, 3, 3]]), "larger than the padded input 6"),
        (refusal(grouped, &[image, &[3, 2, 3, 3]]), "a multiple of 2 groups"),
        (refusal(grouped, &[image, &[4, 4, 3, 3]]), "8 channels"),
        (refusal(back, &[image, &[3, 5, 3, 3]]), "3 channels"),
        (refusal(longer, &[image, &[4, 5, 3, 3]]), "less than the stride or the dilation"),
        (refusal(cropped, &[&[4, 2, 2], &[4, 5, 2, 3]]), "fewer than 4 rows or columns"),
    ] {
        assert!(message.contains(what), "{message}");
    }
    for convolve in none {
        assert!(refusal(convolve, &[image, &[4, 4, 3, 3]]).contains("at least 1"));
    }
    let uneven = Conv2d::new("conv", 4, 3, 1).with_groups(2);
    let refused = Network::new(&[4, 6, 6], Sequential::new().then(uneven).then(Flatten));
    assert!(matches!(refused, Err(ModelError::Shape { .. })), "{refused:?}");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let x: &[&[usize]] = &[&[3, 4]];
    for (message, what) in [
        (refusal(Reshape::new(&[5, 2]), x), "as many entries as [5, 2]"),
        (refusal(FlattenAxes::new(1..3), x), "the axes 1..3"),
        (refusal(Permute::new(&[0, 0]), x), "the axes [0, 0]"),
        (refusal(Permute::new(&[1, 0, 2]), x), "the axes [1, 0, 2]"),
        (refusal(Slice::new(2, 0..1), x), "an axis 2"),
        (refusal(Slice::new(1, 2..5), x), "2..5 on axis 1"),
        (refusal(Slice::new(1, 2..2), x), "at least 1"),
        (refusal(Slice::new(1, 0..2).with_step(0), x), "at least 1"),
        (refusal(Select::new(0, 3), x), "3..4 on axis 0"),
        (refusal(Concat::new(0), &[&[3, 4], &[3, 5]]), "[3, 4] but for axis 0"),
        (refusal(Concat::new(0), &[&[3, 4], &[]]), "[3, 4] but for axis 0"),
        (refusal(Concat::new(2), x), "an axis 2"),
        (refusal(Concat::new(0), &[]), "cannot take 0 inputs"),
        (refusal(Stack::new(0), &[&[3, 4], &[3, 5]]), "[3, 4]"),
        (refusal(Stack::new(3), x), "at least 3 axes"),
        (refusal(Expand::new(&[4]), x), "last axes of [4]"),
        (refusal(Expand::new(&[3, 5]), x), "last axes of [3, 5]"),
        (refusal(Pad::new(0, 3, 0).with(PadWith::Reflect), x), "more entries on axis 0"),
        (refusal(Pad::new(0, 0, 4).with(PadWith::Circular), x), "more entries on axis 0"),
        (refusal(Pad::new(0, 1, 0).with(PadWith::Replicate), &[&[0]]), "more entries"),
        (refusal(IndexSelect::new(1, vec![0, 4]), x), "an entry 4 on axis 1"),
        (refusal(Roll::new(2, 1), x), "an axis 2"),
        (refusal(Sum::over(&[0, 2]), x), "the axes [0, 2]"),
        (refusal(Max::over(&[1, 1]), x), "the axes [1, 1]"),
        (refusal(Max::over(&[]), x), "the axes []"),
        (refusal(Variance::over(&[0]).with_correction(3), x), "more than 3 entries"),
        (refusal(Sum::over(&[0]), &[&[2], &[2]]), "cannot take 2 inputs"),
        (refusal(Embed::default(), &[&[2], &[2]]), "(V, D)"),
        (refusal(Embed::default(), &[&[2]]), "cannot take 1 inputs"),
        (refusal(Embed::with_padding(5), &[&[2], &[5, 3]]), "id 5 is outside"),
    ] {
        assert!(message.contains(what), "{message}: not {what}");
    }
}

#[test]
fn ids_outside_of_the_table_are_refused() -> Result<()> {
    let table = Tensor::zeros((1, 5, 2), candle_core::DType::F32, &Device::Cpu)?;
    let ids = |last: u32| Tensor::from_vec(vec![0, 4, last], (1, 3), &Device::Cpu);
    assert!(Embed::default().forward(&[&ids(4)?, &table], NormMode::Frozen).is_ok());
    let refused = Embed::default().forward(&[&ids(5)?, &table], NormMode::Frozen);
    assert!(matches!(refused, Err(ModelError::IdTooLarge { id: 5, rows: 5 })));
    let signed = ids(1)?.to_dtype(candle_core::DType::I64)?;
    let refused = Embed::default().forward(&[&signed, &table], NormMode::Frozen);
    assert!(matches!(refused, Err(ModelError::DType { .. })));
    Ok(())
}

#[test]
fn the_first_of_equal_entries_gets_the_gradient_and_nan_passes() -> Result<()> {
    let x = Tensor::new(&[[[1.0, 3.0, 3.0], [3.0, 2.0, f64::NAN]]], &Device::Cpu)?;
    let (y, cache) = MaxPool2d::new([2, 2]).forward(&[&x.narrow(2, 0, 2)?], NormMode::Frozen)?;
    assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [3.0]);
    let dx = MaxPool2d::new([2, 2]).vjp(&cache, &y.ones_like()?, &[true])?;
    let dx = dx[0].as_ref().expect("a cotangent").flatten_all()?.to_vec1::<f64>()?;
    assert_eq!(dx, [0.0, 1.0, 0.0, 0.0]);
    let largest = Max::over(&[0, 1]).forward(&[&x], NormMode::Frozen)?.0;
    assert!(largest.to_vec1::<f64>()?[0].is_nan());
    Ok(())
}
