//! Normalisation of runs of contiguous entries, each by its own moments: what layer norms, group
//! norms, RMS norms and weight norms share. In come x and the weight and bias of its channels, out
//! go values; the derivatives are in [`super::group_derivatives`]. Called by `Normalize`.

use candle_core::{D, Shape, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        host_op::{HostOp, vectorised},
        real::Real,
        row::{row_squares, row_sum},
    },
};

/// Entries that one task should at least work on.
const TASK: usize = 1 << 14;

/// How one example falls into runs that are normalised: `repeats` times `groups` runs, each of
/// `channels` channels of `pixels` contiguous entries; a channel of a group has a weight.
///
/// `x_hat = (x - mean) inverse`, `inverse = 1 / sqrt(variance + eps)`, with moments of the run and
/// the biased variance; not centred, the mean counts as zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Groups {
    pub(crate) repeats: usize,
    pub(crate) groups: usize,
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
    pub(crate) centred: bool,
    pub(crate) eps: f64,
}

impl Groups {
    /// Entries of one run.
    pub(crate) fn run(&self) -> usize {
        self.channels * self.pixels
    }

    /// Weights: one for each channel of each group.
    pub(crate) fn weights(&self) -> usize {
        self.groups * self.channels
    }

    /// Entries of run number `at` of a batch; a shared input holds those of one example.
    #[inline(always)]
    pub(super) fn run_of<'a, T>(&self, input: &'a [T], at: usize) -> &'a [T] {
        let start = at * self.run() % input.len();
        &input[start..start + self.run()]
    }

    /// Weights of the channels of run number `at`; shared weights are those of one example.
    #[inline(always)]
    pub(super) fn weights_of<'a, T>(&self, weights: &'a [T], at: usize) -> &'a [T] {
        let example = at / (self.repeats * self.groups);
        let first = example * self.weights() + at % self.groups * self.channels;
        let start = first % weights.len();
        &weights[start..start + self.channels]
    }

    /// Mean and inverse deviation of a run.
    #[inline(always)]
    pub(crate) fn moments<T: Real>(&self, x: &[T]) -> (T, T) {
        let count = x.len() as f64;
        let mean = if self.centred { row_sum(x).to_f64() / count } else { 0.0 };
        let mean = T::from_f64(mean);
        let variance = row_squares(x, mean).to_f64() / count;
        (mean, T::from_f64((variance + self.eps).sqrt().recip()))
    }

    /// `each(run number, its entries of the result)` for all runs, in tasks of fixed size; `each`
    /// has to be inlined.
    pub(super) fn for_each_run<T: Real>(
        &self,
        out: &mut [T],
        each: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let runs = (TASK / self.run()).max(1);
        out.par_chunks_mut(runs * self.run()).enumerate().for_each(|(task, part)| {
            vectorised(
                #[inline(always)]
                || {
                    for (at, out) in part.chunks_exact_mut(self.run()).enumerate() {
                        each(task * runs + at, out);
                    }
                },
            );
        });
    }

    /// x as (N, repeats, groups, run), and x_hat and the inverse deviations beside it, in tensor
    /// operations.
    pub(super) fn composed_hat(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = self.in_runs(x)?;
        let x = if self.centred { x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)? } else { x };
        let variance = x.sqr()?.mean_keepdim(D::Minus1)?;
        let inverse = (variance + self.eps)?.sqrt()?.recip()?;
        Ok((x.broadcast_mul(&inverse)?, inverse))
    }

    /// A tensor of examples as (N, repeats, groups, run).
    pub(super) fn in_runs(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.contiguous()?.reshape(((), self.repeats, self.groups, self.run()))?)
    }

    /// A tensor of examples as (N, repeats, groups, channels, pixels).
    pub(super) fn in_channels(&self, x: &Tensor) -> Result<Tensor> {
        let shape = ((), self.repeats, self.groups, self.channels, self.pixels);
        Ok(x.contiguous()?.reshape(shape)?)
    }

    /// `u weight`, channel by channel, shaped as u.
    pub(crate) fn scale_channels(&self, u: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let scaled = self.in_channels(u)?.broadcast_mul(&self.beside_channels(weight)?)?;
        Ok(scaled.reshape(u.shape())?)
    }

    /// `sum a b` over repeats and pixels, (N, weights).
    pub(crate) fn channel_products(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let products = self.in_channels(a)?.broadcast_mul(&self.in_channels(b)?)?;
        Ok(products.sum((1, 4))?.reshape(((), self.weights()))?)
    }

    /// Weights (N, groups channels), beside a tensor [`in_channels`](Self::in_channels).
    pub(super) fn beside_channels(&self, weights: &Tensor) -> Result<Tensor> {
        Ok(weights.contiguous()?.reshape(((), 1, self.groups, self.channels, 1))?)
    }
}

/// Applies `f(entry, its channel's weight)` to the entries of a run.
#[inline(always)]
pub(super) fn for_each_channel<T: Real>(out: &mut [T], weights: &[T], f: impl Fn(&mut T, T)) {
    let pixels = out.len() / weights.len();
    if pixels == 1 {
        out.iter_mut().zip(weights).for_each(|(out, weight)| f(out, *weight));
        return;
    }
    for (out, weight) in out.chunks_exact_mut(pixels).zip(weights) {
        out.iter_mut().for_each(|out| f(out, *weight));
    }
}

/// `x_hat weight + bias`. Inputs: x, then weight and bias, where there are, (N or 1, weights).
struct NormalizeGroups {
    groups: Groups,
    weight: bool,
    bias: bool,
    shape: Shape,
}

impl NormalizeGroups {
    #[inline(always)]
    fn one<T: Real>(&self, inputs: &[&[T]], at: usize, out: &mut [T]) {
        let g = &self.groups;
        let x = g.run_of(inputs[0], at);
        let (mean, inverse) = g.moments(x);
        out.iter_mut().zip(x).for_each(|(out, x)| *out = (*x - mean) * inverse);
        if self.weight {
            for_each_channel(out, g.weights_of(inputs[1], at), |out, w| *out *= w);
        }
        if self.bias {
            let bias = inputs[1 + usize::from(self.weight)];
            for_each_channel(out, g.weights_of(bias, at), |out, b| *out += b);
        }
    }
}

impl HostOp for NormalizeGroups {
    const NAME: &'static str = "normalize_groups";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        self.groups.for_each_run(
            out,
            #[inline(always)]
            |at, out| self.one(inputs, at, out),
        );
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let g = &self.groups;
        let mut y = g.in_channels(&g.composed_hat(inputs[0])?.0)?;
        if self.weight {
            y = y.broadcast_mul(&g.beside_channels(inputs[1])?)?;
        }
        if self.bias {
            let bias = inputs[1 + usize::from(self.weight)];
            y = y.broadcast_add(&g.beside_channels(bias)?)?;
        }
        Ok(y.reshape(&self.shape)?)
    }
}

/// The most examples among some tensors: others of one example are shared by all.
pub(super) fn examples(inputs: &[&Tensor]) -> Result<usize> {
    let mut most = 1;
    for input in inputs {
        most = most.max(input.dim(0)?);
    }
    Ok(most)
}

/// The shape of x for this many examples.
pub(super) fn shape_of(x: &Tensor, examples: usize) -> Shape {
    let mut dims = x.dims().to_vec();
    dims[0] = examples;
    dims.into()
}

/// `x_hat weight + bias`, shaped as x. Weight and bias, (N or 1, ...), hold [`Groups::weights`]
/// numbers an example.
pub(crate) fn normalize_groups(
    groups: Groups,
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let inputs: Vec<&Tensor> = [Some(x), weight, bias].into_iter().flatten().collect();
    let shape = shape_of(x, examples(&inputs)?);
    let (weight, bias) = (weight.is_some(), bias.is_some());
    NormalizeGroups { groups, weight, bias, shape }.apply(&inputs)
}

#[cfg(test)]
pub(super) mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::host_op::testing::numbers;

    /// Layers, images in groups, instances, RMS norms and weight norms, with runs of odd length.
    pub(crate) const CASES: [Groups; 5] = [
        of([5, 1, 11, 1], true, 1e-5),
        of([1, 3, 2, 7], true, 1e-2),
        of([1, 4, 1, 9], true, 1e-5),
        of([3, 1, 19, 1], false, 1e-6),
        of([1, 5, 1, 6], false, 0.0),
    ];
    pub(crate) const EXAMPLES: usize = 3;

    impl Groups {
        /// Entries of one example.
        pub(crate) fn entries(&self) -> usize {
            self.repeats * self.groups * self.run()
        }
    }

    const fn of(sizes: [usize; 4], centred: bool, eps: f64) -> Groups {
        let [repeats, groups, channels, pixels] = sizes;
        Groups { repeats, groups, channels, pixels, centred, eps }
    }

    pub(crate) fn tensor(examples: usize, width: usize, seed: u64) -> Result<Tensor> {
        let values = numbers(examples * width, seed);
        Ok(Tensor::from_vec(values, (examples, width), &Device::Cpu)?)
    }

    pub(crate) fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) -> Result<()> {
        assert_eq!(a.dims(), b.dims());
        let error = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(error <= tolerance, "{error:e}");
        Ok(())
    }

    /// The definition, entry by entry.
    fn plain(g: &Groups, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let run = g.run();
        let value = |at: usize| {
            let row = &x[at / run * run..][..run];
            let mean = if g.centred { row.iter().sum::<f64>() / run as f64 } else { 0.0 };
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / run as f64;
            let (example, group) = (at / g.entries(), at / run % g.groups);
            let channel = group * g.channels + at % run / g.pixels;
            let own = (example * g.weights() + channel) % weight.len();
            (x[at] - mean) / (variance + g.eps).sqrt() * weight[own] + bias[own]
        };
        (0..x.len()).map(value).collect()
    }

    #[test]
    fn values_are_those_of_the_definition() -> Result<()> {
        for g in CASES {
            let x = tensor(EXAMPLES, g.entries(), 1)?;
            for examples in [1, EXAMPLES] {
                let weight = tensor(examples, g.weights(), 2)?;
                let bias = tensor(examples, g.weights(), 3)?;
                let host = |x: &Tensor| x.flatten_all()?.to_vec1::<f64>();
                let expected = plain(&g, &host(&x)?, &host(&weight)?, &host(&bias)?);
                let expected = Tensor::from_vec(expected, x.shape(), &Device::Cpu)?;
                let y = normalize_groups(g, &x, Some(&weight), Some(&bias))?;
                // Sums of a run and of its squares, on entries of size 2 and deviations near 1.
                let tolerance = 64.0 * g.run() as f64 * f64::EPSILON;
                assert_close(&y, &expected, tolerance)?;
                let (weight, bias, shape) = (true, true, x.shape().clone());
                let op = NormalizeGroups { groups: g, weight, bias, shape };
                let inputs =
                    [&x, &tensor(examples, g.weights(), 2)?, &tensor(examples, g.weights(), 3)?];
                assert_close(&op.composed(&inputs)?, &expected, tolerance)?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_large_mean_costs_no_digits_of_the_variance() -> Result<()> {
        let g = CASES[0];
        let x = tensor(EXAMPLES, g.entries(), 1)?;
        let y = normalize_groups(g, &x, None, None)?;
        let far = normalize_groups(g, &(&x + 1e6)?, None, None)?;
        // The entries themselves are rounded to 1e6 times the unit round-off.
        assert_close(&far, &y, 64.0 * 1e6 * f64::EPSILON)
    }
}
