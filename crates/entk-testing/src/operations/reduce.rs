//! Reductions over axes.

use entk_models::{GlobalMean, Max, Mean, Result, Sum, Variance};

use crate::operations::law::{InputLaw, Numbers, OperationVisitor};

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    let normal = [InputLaw::normal(&[3, 4, 2, 5])];
    let apart = [InputLaw { numbers: Numbers::Apart, ..normal[0].clone() }];
    for axes in [&[0][..], &[3], &[1, 2], &[0, 2], &[3, 1, 0], &[0, 1, 2, 3]] {
        visitor.visit(&format!("sum over {axes:?}"), Sum::over(axes), &normal)?;
        visitor.visit(&format!("mean over {axes:?}"), Mean::over(axes), &normal)?;
        visitor.visit(&format!("max over {axes:?}"), Max::over(axes), &apart)?;
        visitor.visit(&format!("variance over {axes:?}"), Variance::over(axes), &normal)?;
    }
    let axes = &[1, 3];
    visitor.visit("sum, axes kept", Sum::over(axes).keeping_axes(), &normal)?;
    visitor.visit("mean, axes kept", Mean::over(axes).keeping_axes(), &normal)?;
    visitor.visit("max, axes kept", Max::over(axes).keeping_axes(), &apart)?;
    let unbiased = Variance::over(axes).with_correction(1).keeping_axes();
    visitor.visit("variance, unbiased, axes kept", unbiased, &normal)?;
    visitor.visit("global mean", GlobalMean, &[InputLaw::normal(&[3, 4, 5])])
}
