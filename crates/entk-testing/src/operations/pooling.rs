//! Pooling and upsampling: odd lengths, padding, overlaps, gaps, dilation and incomplete windows.

use entk_models::{
    AvgPool, AvgPool1d, AvgPool2d, Interpolation, MaxPool1d, MaxPool2d, PoolWindows, Result,
    Upsample, Upsample1d, Upsample2d,
};

use crate::operations::law::{InputLaw, Numbers, OperationVisitor};

/// Windows over two axes with lengths that they fit.
fn windows() -> Vec<(&'static str, PoolWindows<2>, [usize; 2])> {
    let new = |window: [usize; 2]| PoolWindows::new(window);
    vec![
        ("tiles", PoolWindows::new(2), [6, 4]),
        ("tiles with a rest", PoolWindows::new(2), [7, 5]),
        ("overlapping", PoolWindows::new(3).with_stride(2).with_padding(1), [7, 8]),
        ("with gaps", new([2, 1]).with_stride([3, 2]), [8, 7]),
        ("of two sizes", new([3, 2]).with_stride([1, 2]).with_padding([1, 0]), [5, 6]),
        ("dilated", PoolWindows::new(2).with_stride(1).with_dilation([2, 3]), [5, 7]),
        ("ceil mode", PoolWindows::new(3).with_stride(2).with_ceil_mode(), [6, 8]),
        (
            "ceil mode in the padding",
            PoolWindows::new(3).with_stride(3).with_padding(1).with_ceil_mode(),
            [6, 7],
        ),
        ("whole planes", new([4, 3]), [4, 3]),
    ]
}

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    for (name, windows, [height, width]) in windows() {
        let shape = vec![3, height, width];
        let apart = InputLaw { numbers: Numbers::Apart, ..InputLaw::normal(&shape) };
        visitor.visit(&format!("max pooling, {name}"), MaxPool2d::new(windows), &[apart])?;
        let name = format!("average pooling, {name}");
        let (pool, input) = (AvgPool2d::new(windows), [InputLaw::normal(&shape)]);
        visitor.visit(&name, pool, &input)?;
        visitor.visit(
            &format!("{name}, entries alone"),
            pool.without_padding_in_count(),
            &input,
        )?;
    }
    let sequences = PoolWindows::new(3).with_stride(2).with_padding(1);
    let apart = |shape: &[usize]| [InputLaw { numbers: Numbers::Apart, ..InputLaw::normal(shape) }];
    let normal = |shape: &[usize]| [InputLaw::normal(shape)];
    visitor.visit("max pooling, 1-D", MaxPool1d::new(sequences), &apart(&[2, 9]))?;
    visitor.visit("max pooling, adaptive", MaxPool2d::adaptive([3, 2]), &apart(&[2, 7, 5]))?;
    visitor.visit("average pooling, 1-D", AvgPool1d::new(sequences), &normal(&[2, 9]))?;
    visitor.visit("average pooling, 1-D tiles", AvgPool1d::new(3), &normal(&[2, 9]))?;
    visitor.visit("average pooling, 3-D", AvgPool::<3>::new(2), &normal(&[2, 4, 5, 2]))?;
    visitor.visit("average pooling, adaptive", AvgPool2d::adaptive([3, 2]), &normal(&[2, 7, 5]))?;
    visitor.visit("average pooling, to more", AvgPool2d::adaptive([5, 4]), &normal(&[2, 3, 4]))?;
    visit_upsampling(visitor)
}

fn visit_upsampling(visitor: &mut impl OperationVisitor) -> Result<()> {
    for (name, interpolation) in [
        ("nearest", Interpolation::Nearest),
        ("linear", Interpolation::Linear { align_corners: false }),
        ("linear, corners aligned", Interpolation::Linear { align_corners: true }),
    ] {
        let input = [InputLaw::normal(&[2, 4, 3])];
        let by = Upsample2d::by(2.0).with_interpolation(interpolation);
        visitor.visit(&format!("upsampling by 2, {name}"), by, &input)?;
        let to = Upsample2d::to([7, 2]).with_interpolation(interpolation);
        visitor.visit(&format!("upsampling to 7 x 2, {name}"), to, &input)?;
        let sequence = Upsample1d::by(1.7).with_interpolation(interpolation);
        visitor.visit(&format!("upsampling by 1.7, {name}"), sequence, &input)?;
        let volume = Upsample::<3>::to([3, 5, 1]).with_interpolation(interpolation);
        visitor.visit(&format!("upsampling, 3-D, {name}"), volume, &input)?;
    }
    Ok(())
}
