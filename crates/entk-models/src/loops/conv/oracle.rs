//! The oracle of convolutions: one loop over all products of three numbers that a convolution sums,
//! and the sizes that every test of them runs through.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::Result,
    loops::{
        channel::batch_sum,
        conv::{Forward, InputVjp, grouped::GroupedConv, products::Products, weight_vjp},
        host_op::{HostOp, testing::numbers},
        padding::Padding,
    },
};

const BATCH: usize = 3;

/// Calls `visit(example, entry of x, of the weight, of y)` for every product.
fn for_each_product(conv: &GroupedConv, mut visit: impl FnMut(usize, usize, usize, usize)) {
    let (g, groups) = (&conv.geometry, conv.groups);
    for (n, group) in (0..BATCH).flat_map(|n| (0..groups).map(move |group| (n, group))) {
        for (f, c) in (0..g.filters).flat_map(|f| (0..g.channels).map(move |c| (f, c))) {
            let (filter, channel) = (group * g.filters + f, group * g.channels + c);
            for (pixel, tap) in
                (0..g.output_pixels()).flat_map(|pixel| (0..g.taps()).map(move |tap| (pixel, tap)))
            {
                let (i, j) = (pixel / g.output[1], pixel % g.output[1]);
                let (di, dj) = (tap / g.kernel[1], tap % g.kernel[1]);
                let y = (i * g.stride[0] + di * g.dilation[0]) as isize - g.before[0] as isize;
                let x = (j * g.stride[1] + dj * g.dilation[1]) as isize - g.before[1] as isize;
                let inside = |at: isize, size: usize| (0..size as isize).contains(&at);
                if inside(y, g.input[0]) && inside(x, g.input[1]) {
                    let plane = n * groups * g.channels + channel;
                    let from = plane * g.input_pixels() + y as usize * g.input[1] + x as usize;
                    let to = (n * groups * g.filters + filter) * g.output_pixels() + pixel;
                    visit(n, from, (filter * g.channels + c) * g.taps() + tap, to);
                }
            }
        }
    }
}

/// Groups with their channels and filters, image, kernel, stride, dilation, padding.
type Case = ([usize; 3], [usize; 2], [usize; 2], [usize; 2], [usize; 2], Padding);

const fn sides(top: usize, bottom: usize, left: usize, right: usize) -> Padding {
    Padding::Explicit { top, bottom, left, right }
}

/// Every group count with few and with many channels; each axis of its own.
pub(super) fn convolutions() -> Result<Vec<GroupedConv>> {
    let (same, valid) = (Padding::Same, Padding::Valid);
    let windows: [Case; 15] = [
        ([1, 3, 5], [9, 8], [3, 3], [1, 1], [1, 1], same),
        ([1, 1, 1], [8, 8], [3, 3], [2, 2], [1, 1], same),
        ([1, 2, 2], [7, 5], [1, 1], [2, 3], [1, 1], valid),
        // Taps far apart, on one axis or both, with and without a stride that shares their phase.
        ([1, 3, 2], [11, 12], [3, 3], [1, 1], [2, 3], same),
        ([1, 1, 3], [13, 12], [3, 2], [2, 2], [2, 1], sides(2, 1, 0, 3)),
        ([1, 2, 1], [10, 14], [2, 3], [3, 2], [4, 3], same),
        // Far more zeros than the kernel needs, and a kernel as large as the image.
        ([1, 1, 2], [3, 4], [3, 3], [1, 1], [1, 1], sides(9, 7, 6, 6)),
        ([1, 1, 1], [5, 4], [3, 3], [2, 3], [1, 1], sides(9, 40, 7, 6)),
        ([1, 2, 3], [5, 6], [5, 6], [1, 1], [1, 1], valid),
        // Strides that leave pixels out.
        ([1, 2, 1], [11, 9], [2, 1], [4, 3], [1, 1], sides(1, 0, 2, 0)),
        ([1, 1, 1], [9, 10], [2, 2], [5, 6], [2, 3], same),
        // One row, as signals are.
        ([1, 2, 2], [1, 37], [1, 5], [1, 2], [1, 2], same),
        ([1, 1, 1], [14, 14], [7, 7], [1, 1], [1, 1], same),
        ([1, 1, 2], [7, 7], [7, 7], [1, 1], [1, 1], same),
        // A padding of which the kernel reads a part only.
        ([1, 1, 1], [6, 5], [2, 2], [3, 3], [1, 1], sides(4, 4, 5, 5)),
    ];
    let mut all = Vec::new();
    for ([_, channels, filters], input, kernel, stride, dilation, padding) in windows {
        for (groups, times) in [(1, 1), (2, 1), (5, 1), (2, 4)] {
            let planes = [channels * times, filters * times];
            let geometry = padding.geometry("oracle", planes, input, kernel, stride, dilation)?;
            all.push(GroupedConv { geometry, groups });
        }
    }
    Ok(all)
}

/// x, weight, bias and dy of a convolution.
struct Tensors([Tensor; 4]);

impl Tensors {
    fn new(conv: &GroupedConv, dtype: DType) -> Result<Self> {
        let (g, groups) = (&conv.geometry, conv.groups);
        let shapes = [
            vec![BATCH, groups * g.channels, g.input[0], g.input[1]],
            vec![groups * g.filters, g.channels, g.kernel[0], g.kernel[1]],
            vec![groups * g.filters],
            vec![BATCH, groups * g.filters, g.output[0], g.output[1]],
        ];
        let mut tensors = Vec::new();
        for (seed, shape) in shapes.into_iter().enumerate() {
            let values = numbers(shape.iter().product(), seed as u64 + 1);
            tensors.push(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?);
        }
        tensors.try_into().map(Self).map_err(|_| candle_core::Error::Msg("four".into()).into())
    }

    /// The value without and with the bias, the input's cotangent and the weight's rows, each
    /// number from its products one by one.
    fn expected(&self, conv: &GroupedConv) -> Result<[Vec<f64>; 4]> {
        let flat = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
        let [x, w, bias, dy] =
            [flat(&self.0[0])?, flat(&self.0[1])?, flat(&self.0[2])?, flat(&self.0[3])?];
        let (mut y, mut dx, mut rows) =
            (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; BATCH * w.len()]);
        for_each_product(conv, |n, from, at, to| {
            y[to] += x[from] * w[at];
            dx[from] += dy[to] * w[at];
            rows[n * w.len() + at] += dy[to] * x[from];
        });
        let pixels = conv.geometry.output_pixels();
        let biased = y.iter().enumerate().map(|(at, y)| y + bias[at / pixels % bias.len()]);
        let biased = biased.collect();
        Ok([y, biased, dx, rows])
    }
}

fn assert_close(what: &str, got: &Tensor, expected: &[f64], terms: usize) -> Result<()> {
    // Sums of products of size 4, in any order.
    let unit = if got.dtype() == DType::F32 { 0.5f64.powi(24) } else { 0.5f64.powi(53) };
    let tolerance = 8.0 * ((terms + 1) * (terms + 1)) as f64 * unit;
    let got = got.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    assert_eq!(got.len(), expected.len(), "{what}");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs();
        assert!(error <= tolerance, "{what} at {at}: {got} {expected}");
    }
    Ok(())
}

#[test]
fn convolutions_are_sums_of_their_products() -> Result<()> {
    for (conv, dtype) in
        convolutions()?.iter().flat_map(|conv| [DType::F64, DType::F32].map(|dtype| (conv, dtype)))
    {
        let tensors = Tensors::new(conv, dtype)?;
        let (g, [x, w, bias, dy]) = (&conv.geometry, &tensors.0);
        let [y, biased, dx, rows] = tensors.expected(conv)?;
        let close = |what: &str, got: Tensor, expected: &[f64], terms: usize| {
            assert_close(&format!("{what} {dtype:?} {conv:?}"), &got, expected, terms)
        };
        close("value", conv.value(x, w, None)?, &y, g.patch())?;
        close("with bias", conv.value(x, w, Some(bias))?, &biased, g.patch() + 1)?;
        close("input", conv.input_vjp(dy, w)?, &dx, g.filters * g.taps())?;
        close("rows", conv.weight_rows(x, dy)?, &rows, g.output_pixels())?;
        let (geometry, batch, groups) = (*g, BATCH, conv.groups);
        let products = Products::of_groups(geometry, groups);
        let composed = Forward { geometry, batch, groups }.composed(&[x, w, bias])?;
        close("composed value", composed, &biased, g.patch() + 1)?;
        let composed = InputVjp { geometry, batch, groups }.composed(&[dy, w])?;
        close("composed input", composed, &dx, g.filters * g.taps())?;
        close("composed rows", products.weight_rows(x, dy)?, &rows, g.output_pixels())?;
        if groups == 1 {
            let sum = batch_sum(&conv.weight_rows(x, dy)?)?.to_dtype(DType::F64)?;
            let sum = sum.to_vec1::<f64>()?;
            close("weight", weight_vjp(x, dy, *g)?, &sum, BATCH * g.output_pixels())?;
        }
    }
    Ok(())
}
