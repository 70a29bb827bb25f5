//! Products with weights.

use entk_models::{Affine, Convolve, Padding, Result};

use crate::operations::law::{InputLaw, OperationVisitor};

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    let weight = |shape: &[usize]| InputLaw::normal(shape).shared();
    for (name, x) in
        [("dense", &[4][..]), ("dense over tokens", &[3, 4]), ("dense over a grid", &[2, 3, 4])]
    {
        let inputs = [InputLaw::normal(x), weight(&[5, 4]), weight(&[5])];
        visitor.visit(name, Affine, &inputs)?;
        visitor.visit(&format!("{name}, no bias"), Affine, &inputs[..2])?;
    }
    let inputs = [InputLaw::normal(&[2, 5, 4]), weight(&[3, 2, 3, 3]), weight(&[3])];
    let strided = Convolve { stride: [2, 1], padding: Padding::Valid, ..Convolve::default() };
    visitor.visit("convolution", Convolve::default(), &inputs)?;
    visitor.visit("convolution, strided", strided, &inputs[..2])
}
