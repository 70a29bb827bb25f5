//! Products with weights.

use entk_models::{Affine, AffineTransposed, Convolve, Operation, Padding, Result};

use crate::operations::law::{InputLaw, OperationVisitor};

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    let weight = |shape: &[usize]| InputLaw::normal(shape).shared();
    for (name, x) in
        [("dense", &[4][..]), ("dense over tokens", &[3, 4]), ("dense over a grid", &[2, 3, 4])]
    {
        let inputs = [InputLaw::normal(x), weight(&[5, 4]), weight(&[5])];
        visitor.visit(name, Affine, &inputs)?;
        visitor.visit(&format!("{name}, no bias"), Affine, &inputs[..2])?;
        let inputs = [InputLaw::normal(x), weight(&[4, 5]), weight(&[5])];
        let name = format!("{name}, transposed");
        visitor.visit(&name, AffineTransposed, &inputs)?;
        visitor.visit(&format!("{name}, no bias"), AffineTransposed, &inputs[..2])?;
    }
    visit_convolutions(visitor)
}

/// Kernels, strides, paddings and dilations of two sizes, few and many groups, signals, transposes.
fn visit_convolutions(visitor: &mut impl OperationVisitor) -> Result<()> {
    let plain = Convolve::default();
    let strided = Convolve { stride: [2, 1], padding: Padding::Valid, ..plain };
    let dilated = Convolve { dilation: [2, 3], padding: [2, 3].into(), ..plain };
    let grouped = |groups| Convolve { groups, stride: [1, 2], padding: 1.into(), ..plain };
    let spread = Convolve { dilation: [1, 2], ..grouped(3) };
    let transposed = Convolve { transposed: Some([0, 0]), padding: 1.into(), ..plain };
    let odd = Convolve { transposed: Some([1, 0]), stride: [2, 3], ..transposed };
    let same_back = Convolve { padding: Padding::Same, ..odd };
    let dilated_back = Convolve { dilation: [1, 2], padding: Padding::Valid, ..odd };
    let grouped_back = Convolve { groups: 2, ..odd };
    for (name, convolve, x, weight) in [
        ("convolution", plain, &[2, 5, 4][..], &[3, 2, 3, 3][..]),
        ("convolution, strided", strided, &[2, 5, 4], &[3, 2, 3, 2]),
        ("convolution, dilated", dilated, &[2, 5, 4], &[3, 2, 2, 3]),
        ("convolution, signals", strided, &[2, 7], &[3, 2, 3]),
        ("convolution, groups", grouped(2), &[4, 5, 6], &[6, 2, 3, 2]),
        ("convolution, groups of many", grouped(2), &[8, 4, 5], &[8, 4, 1, 3]),
        ("convolution, depthwise", grouped(3), &[3, 5, 6], &[3, 1, 3, 3]),
        ("convolution, depthwise and dilated", spread, &[3, 5, 6], &[6, 1, 3, 2]),
        ("convolution, depthwise signals", grouped(3), &[3, 7], &[3, 1, 3]),
        ("transposed convolution", transposed, &[2, 4, 5], &[2, 3, 3, 4]),
        ("transposed convolution, SAME", same_back, &[2, 2, 3], &[2, 3, 2, 3]),
        ("transposed convolution, strided", odd, &[2, 3, 4], &[2, 3, 3, 3]),
        ("transposed convolution, dilated", dilated_back, &[2, 3, 4], &[2, 3, 2, 3]),
        ("transposed convolution, signals", odd, &[2, 4], &[2, 3, 3]),
        ("transposed convolution, groups", grouped_back, &[4, 3, 4], &[4, 3, 3, 3]),
    ] {
        let shape = convolve.output_shape(&[x, weight])?;
        let shared = |shape: &[usize]| InputLaw::normal(shape).shared();
        let inputs = [InputLaw::normal(x), shared(weight), shared(&shape[..1])];
        visitor.visit(name, convolve, &inputs)?;
        visitor.visit(&format!("{name}, no bias"), convolve, &inputs[..2])?;
    }
    Ok(())
}
