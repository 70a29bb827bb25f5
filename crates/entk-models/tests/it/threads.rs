//! Results of operations along axes at sizes of several tasks: the same bits for any number of
//! threads.

use candle_core::Tensor;
use entk_models::{
    AvgPool2d, Embed, Flatten, Interpolation, Max, MaxPool2d, Mean, NormMode, Operation, Permute,
    PoolWindows, Result, Roll, Upsample2d,
};
use entk_testing::{normal, operations::InputLaw};

/// The bits of a result and of all cotangents.
fn bits(operation: &impl Operation, inputs: &[&Tensor]) -> Result<Vec<u64>> {
    let (y, cache) = operation.forward(inputs, NormMode::Frozen)?;
    let cotangents = operation.vjp(&cache, &normal(y.dims(), 3)?, &vec![true; inputs.len()])?;
    let mut bits = Vec::new();
    for tensor in std::iter::once(&y).chain(cotangents.iter().flatten()) {
        bits.extend(tensor.flatten_all()?.to_vec1::<f64>()?.into_iter().map(f64::to_bits));
    }
    Ok(bits)
}

fn assert_same_bits(operation: &(impl Operation + Clone), inputs: &[&Tensor]) -> Result<()> {
    let with = |threads: usize| -> Result<Vec<u64>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| bits(operation, inputs))
    };
    assert!(with(1)? == with(3)?, "{operation:?}");
    Ok(())
}

#[test]
fn bits_do_not_depend_on_threads() -> Result<()> {
    let images = normal(&[7, 5, 34, 37], 1)?;
    let overlapping = PoolWindows::new(3).with_stride(2).with_padding(1);
    let linear = Interpolation::Linear { align_corners: false };
    assert_same_bits(&MaxPool2d::new(overlapping), &[&images])?;
    assert_same_bits(&AvgPool2d::new(overlapping), &[&images])?;
    assert_same_bits(&Upsample2d::by(1.5).with_interpolation(linear), &[&images])?;
    assert_same_bits(&Mean::over(&[0, 2]), &[&images])?;
    assert_same_bits(&Max::over(&[1]), &[&images])?;
    assert_same_bits(&Roll::new(1, 5), &[&images])?;
    assert_same_bits(&Permute::new(&[2, 0, 1]), &[&images])?;
    assert_same_bits(&Flatten, &[&images.permute((0, 3, 1, 2))?])?;
    let ids = InputLaw::ids(50, &[300]).draw(9, 2)?;
    let table = normal(&[1, 50, 16], 4)?;
    assert_same_bits(&Embed::default(), &[&ids, &table])
}
