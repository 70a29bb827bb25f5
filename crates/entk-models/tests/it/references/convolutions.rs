//! Convolutions of all sizes against PyTorch: sums over a grid, computed there by
//! tools/operations_by_torch.py.

use candle_core::Tensor;
use entk_models::{Convolve, NormMode, Operation, Padding, Result};
use entk_testing::test_device;

/// Kinds of convolutions along one axis: how many sizes of the grid are taken, and the sum over
/// these of the results' products with sin(j + 1).
const KINDS: [(&str, usize, f64); 3] = [
    ("zeros", 1140, 197.3239706301),
    ("same", 168, 22.2780572371),
    ("transposed", 3504, 3727.0243878645),
];
/// Ten digits, of thousands of sums.
const TOLERANCE: f64 = 1e-9;

/// round(3 sin(3 i + k)) for i from 0 on.
fn rounded(shape: &[usize], k: f64) -> Result<Tensor> {
    let number = |i| (3.0 * (3.0 * f64::from(i) + k).sin()).round();
    let count: usize = shape.iter().product();
    let values = (0..count as u32).map(number).collect();
    Ok(Tensor::from_vec::<_, f64>(values, shape, test_device())?)
}

/// The product of the result for two channels of n entries, where these are taken.
fn product(convolve: Convolve, n: usize, kernel: usize) -> Result<Option<f64>> {
    let (x, weight) = ([2, n], [2, 2 / convolve.groups, kernel]);
    let Ok(shape) = convolve.output_shape(&[&x, &weight]) else { return Ok(None) };
    let x = rounded(&[&[1], &x[..]].concat(), 0.0)?;
    let weight = rounded(&[&[1], &weight[..]].concat(), 1.0)?;
    let y = convolve.forward(&[&x, &weight], NormMode::Frozen)?.0;
    assert_eq!(y.dims()[1..], shape);
    let y = y.flatten_all()?.to_vec1::<f64>()?;
    Ok(Some(y.iter().zip(1..).map(|(y, j)| y * f64::from(j).sin()).sum()))
}

/// Every stride, padding, dilation and output padding of a kind.
fn convolutions(kind: &str) -> Vec<Convolve> {
    let mut all = Vec::new();
    let sizes = (1..4).flat_map(|s| (1..4).flat_map(move |d| [1, 2].map(|groups| (s, d, groups))));
    for (stride, dilation, groups) in sizes {
        for (zeros, extra) in (0..3).flat_map(|zeros| (0..3).map(move |extra| (zeros, extra))) {
            let plain = Convolve {
                stride: [1, stride],
                padding: Padding::from(zeros),
                dilation: [1, dilation],
                groups,
                transposed: None,
            };
            match kind {
                "zeros" if extra == 0 => all.push(plain),
                "same" if zeros + extra == 0 && stride == 1 => {
                    all.push(Convolve { padding: Padding::Same, ..plain });
                }
                "transposed" => all.push(Convolve { transposed: Some([0, extra]), ..plain }),
                _ => {}
            }
        }
    }
    all
}

#[test]
fn convolutions_of_all_sizes_are_those_of_pytorch() -> Result<()> {
    for (kind, taken, sum) in KINDS {
        let sizes = (1..8).flat_map(|n| (1..5).map(move |kernel| (n, kernel)));
        let products = sizes.flat_map(|(n, kernel)| {
            convolutions(kind).into_iter().map(move |convolve| product(convolve, n, kernel))
        });
        let products: Vec<Option<f64>> = products.collect::<Result<_>>()?;
        assert_eq!(products.iter().flatten().count(), taken, "{kind}");
        let ours: f64 = products.iter().flatten().sum();
        assert!((ours - sum).abs() <= TOLERANCE, "{kind}: {ours} for {sum}");
    }
    Ok(())
}
