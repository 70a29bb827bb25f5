//! Derivatives of the normalisation of runs. With ⟨a⟩ the mean over a run, the derivative of
//! `x_hat` along t is `P t = inverse (t - <t> - x_hat <x_hat t>)`, without `<t>` where runs are not
//! centred. P is symmetric, so that tangents and cotangents take the same loop. Called by
//! `Normalize`.

use candle_core::{D, Shape, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        host_op::{HostOp, vectorised},
        norm::groups::{Groups, examples, for_each_channel, shape_of},
        real::Real,
        row::{row_dot, row_sum},
    },
};

/// Where the weight multiplies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum WeightPlace {
    /// What is projected, as for a cotangent.
    Before,
    /// The projection, as for a tangent.
    After,
}

/// `P (weight u)` or `weight (P u)`. Inputs: u, x, and the weight, if there is one.
struct Project {
    groups: Groups,
    weight: Option<WeightPlace>,
    shape: Shape,
}

impl Project {
    #[inline(always)]
    fn one<T: Real>(&self, inputs: &[&[T]], at: usize, out: &mut [T]) {
        let g = &self.groups;
        let x = g.run_of(inputs[1], at);
        out.copy_from_slice(g.run_of(inputs[0], at));
        if self.weight == Some(WeightPlace::Before) {
            for_each_channel(out, g.weights_of(inputs[2], at), |out, w| *out *= w);
        }
        let (mean, inverse) = g.moments(x);
        let share = T::from_f64(1.0 / x.len() as f64);
        let first = if g.centred { row_sum(out) * share } else { T::zero() };
        let second = row_dot(out, x, mean) * inverse * inverse * share;
        for (out, x) in out.iter_mut().zip(x) {
            *out = (*out - first - (*x - mean) * second) * inverse;
        }
        if self.weight == Some(WeightPlace::After) {
            for_each_channel(out, g.weights_of(inputs[2], at), |out, w| *out *= w);
        }
    }

    /// `weight u` where the weight multiplies at this place.
    fn weighted(&self, place: WeightPlace, u: Tensor, inputs: &[&Tensor]) -> Result<Tensor> {
        if self.weight != Some(place) {
            return Ok(u);
        }
        let weight = self.groups.beside_channels(inputs[2])?;
        self.groups.in_runs(&self.groups.in_channels(&u)?.broadcast_mul(&weight)?)
    }
}

impl HostOp for Project {
    const NAME: &'static str = "normalize_groups_derivative";

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
        let (hat, inverse) = self.groups.composed_hat(inputs[1])?;
        let u = self.weighted(WeightPlace::Before, self.groups.in_runs(inputs[0])?, inputs)?;
        let projected = composed_projection(self.groups, &u, &hat, &inverse)?;
        Ok(self.weighted(WeightPlace::After, projected, inputs)?.reshape(&self.shape)?)
    }
}

/// `P u` in tensor operations.
fn composed_projection(g: Groups, u: &Tensor, hat: &Tensor, inverse: &Tensor) -> Result<Tensor> {
    let along = u.broadcast_mul(hat)?.mean_keepdim(D::Minus1)?;
    let centre = if g.centred { Some(u.mean_keepdim(D::Minus1)?) } else { None };
    let rest = match centre {
        Some(centre) => u.broadcast_sub(&centre)?,
        None => u.clone(),
    };
    Ok(rest.broadcast_sub(&along.broadcast_mul(hat)?)?.broadcast_mul(inverse)?)
}

/// Gradients per example, (2, N, weights): of the weight `sum dy x_hat`, of the bias `sum dy`, over
/// repeats and pixels. Inputs: dy and x.
struct GroupGradients {
    groups: Groups,
    examples: usize,
}

impl GroupGradients {
    /// Adds the sums of one run to those of its channels.
    #[inline(always)]
    fn add<T: Real>(&self, dy: &[T], x: &[T], [weight, bias]: [&mut [T]; 2]) {
        let (mean, inverse) = self.groups.moments(x);
        let pixels = self.groups.pixels;
        if pixels == 1 {
            for (weight, (dy, x)) in weight.iter_mut().zip(dy.iter().zip(x)) {
                *weight += *dy * ((*x - mean) * inverse);
            }
            bias.iter_mut().zip(dy).for_each(|(bias, dy)| *bias += *dy);
            return;
        }
        let channels = dy.chunks_exact(pixels).zip(x.chunks_exact(pixels));
        for ((dy, x), (weight, bias)) in channels.zip(weight.iter_mut().zip(bias)) {
            *weight += row_dot(dy, x, mean) * inverse;
            *bias += row_sum(dy);
        }
    }

    #[inline(always)]
    fn example<T: Real>(&self, inputs: &[&[T]], n: usize, [weight, bias]: [&mut [T]; 2]) {
        let g = &self.groups;
        let runs = g.repeats * g.groups;
        for at in n * runs..(n + 1) * runs {
            let first = at % g.groups * g.channels;
            let range = first..first + g.channels;
            let sums = [&mut weight[range.clone()], &mut bias[range]];
            self.add(g.run_of(inputs[0], at), g.run_of(inputs[1], at), sums);
        }
    }
}

impl HostOp for GroupGradients {
    const NAME: &'static str = "normalize_groups_gradients";

    fn output(&self) -> Shape {
        (2, self.examples, self.groups.weights()).into()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let width = self.groups.weights();
        let (weights, biases) = out.split_at_mut(self.examples * width);
        (weights.par_chunks_mut(width).zip(biases.par_chunks_mut(width))).enumerate().for_each(
            |(n, (weight, bias))| {
                vectorised(
                    #[inline(always)]
                    || self.example(inputs, n, [weight, bias]),
                );
            },
        );
    }

    fn composed(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let g = &self.groups;
        let hat = g.in_channels(&g.composed_hat(inputs[1])?.0)?;
        let dy = g.in_channels(inputs[0])?;
        let sum = |terms: Tensor| terms.sum((1, 4))?.reshape((self.examples, g.weights()));
        Ok(Tensor::stack(&[sum(dy.broadcast_mul(&hat)?)?, sum(dy)?], 0)?)
    }
}

/// How `P u` moves along a tangent t of x, symmetric in u and t:
/// `-inverse (<x_hat t> P u + <x_hat u> P t + <u P t> x_hat)`. Inputs: u, t and x.
struct ProjectionTangent {
    groups: Groups,
    shape: Shape,
}

impl ProjectionTangent {
    #[inline(always)]
    fn one<T: Real>(&self, inputs: &[&[T]], at: usize, out: &mut [T]) {
        let g = &self.groups;
        let [u, t, x] = [0, 1, 2].map(|input| g.run_of(inputs[input], at));
        let (mean, inverse) = g.moments(x);
        let share = T::from_f64(1.0 / x.len() as f64);
        let centre = |a: &[T]| if g.centred { row_sum(a) * share } else { T::zero() };
        let along = |a: &[T]| row_dot(a, x, mean) * inverse * share;
        let (mean_u, mean_t, along_u, along_t) = (centre(u), centre(t), along(u), along(t));
        let both = row_dot(u, t, mean_t) * share - along_u * along_t;
        for (out, (x, (u, t))) in out.iter_mut().zip(x.iter().zip(u.iter().zip(t))) {
            let hat = (*x - mean) * inverse;
            let projected_u = *u - mean_u - hat * along_u;
            let projected_t = *t - mean_t - hat * along_t;
            let sum = along_t * projected_u + along_u * projected_t + both * hat;
            *out = -(inverse * inverse * sum);
        }
    }
}

impl HostOp for ProjectionTangent {
    const NAME: &'static str = "normalize_groups_curvature";

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
        let g = self.groups;
        let (hat, inverse) = g.composed_hat(inputs[2])?;
        let (u, t) = (g.in_runs(inputs[0])?, g.in_runs(inputs[1])?);
        let projected_u = composed_projection(g, &u, &hat, &inverse)?;
        let projected_t = composed_projection(g, &t, &hat, &inverse)?;
        let mean = |a: &Tensor, b: &Tensor| a.broadcast_mul(b)?.mean_keepdim(D::Minus1);
        let sum = (mean(&t, &hat)?.broadcast_mul(&projected_u)?)
            .broadcast_add(&mean(&u, &hat)?.broadcast_mul(&projected_t)?)?
            .broadcast_add(&mean(&u, &projected_t)?.broadcast_mul(&hat)?)?;
        Ok(sum.broadcast_mul(&inverse)?.neg()?.reshape(&self.shape)?)
    }
}

/// `P (weight u)` or `weight (P u)`, shaped as x.
pub(crate) fn project(
    groups: Groups,
    u: &Tensor,
    x: &Tensor,
    weight: Option<(WeightPlace, &Tensor)>,
) -> Result<Tensor> {
    let mut inputs = vec![u, x];
    inputs.extend(weight.map(|(_, weight)| weight));
    let shape = shape_of(x, examples(&inputs)?);
    Project { groups, weight: weight.map(|(place, _)| place), shape }.apply(&inputs)
}

/// Gradients of weight and bias per example, (2, N, weights), for a cotangent dy.
pub(crate) fn group_gradients(groups: Groups, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    GroupGradients { groups, examples: examples(&[dy, x])? }.apply(&[dy, x])
}

/// The tangent of `P u` for a tangent t of x, shaped as x.
pub(crate) fn projection_tangent(
    groups: Groups,
    u: &Tensor,
    t: &Tensor,
    x: &Tensor,
) -> Result<Tensor> {
    let shape = shape_of(x, examples(&[u, t, x])?);
    ProjectionTangent { groups, shape }.apply(&[u, t, x])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::norm::groups::{
        normalize_groups,
        tests::{CASES, EXAMPLES, assert_close, tensor},
    };

    /// Step of central differences, and their error: truncation h^2 and round-off eps / h, times
    /// the growth by inverse deviations up to 4, cubed.
    const STEP: f64 = 1e-5;
    const DIFFERENCES: f64 = 1e-8;
    /// Sums of up to 19 products of size 4 with inverse deviations up to 4, squared.
    const ROUND_OFF: f64 = 4096.0 * f64::EPSILON;

    fn differences(f: impl Fn(f64) -> Result<Tensor>) -> Result<Tensor> {
        Ok(((f(STEP)? - f(-STEP)?)? / (2.0 * STEP))?)
    }

    #[test]
    fn projections_are_differences_of_values() -> Result<()> {
        for g in CASES {
            let (x, u) = (tensor(EXAMPLES, g.entries(), 1)?, tensor(EXAMPLES, g.entries(), 4)?);
            let weight = tensor(1, g.weights(), 2)?;
            let expected =
                differences(|h| normalize_groups(g, &(&x + (&u * h)?)?, Some(&weight), None))?;
            let tangent = project(g, &u, &x, Some((WeightPlace::After, &weight)))?;
            assert_close(&tangent, &expected, DIFFERENCES)?;
        }
        Ok(())
    }

    #[test]
    fn projections_of_cotangents_are_transposed() -> Result<()> {
        for g in CASES {
            let inputs = [1, 4, 5].map(|seed| tensor(EXAMPLES, g.entries(), seed));
            let [x, u, dy] = inputs;
            let (x, u, dy) = (x?, u?, dy?);
            let weight = tensor(1, g.weights(), 2)?;
            let inner = |a: &Tensor, b: &Tensor| (a * b)?.sum_all()?.to_scalar::<f64>();
            let right = inner(&u, &project(g, &dy, &x, Some((WeightPlace::Before, &weight)))?)?;
            let left = inner(&dy, &project(g, &u, &x, Some((WeightPlace::After, &weight)))?)?;
            let tolerance = ROUND_OFF * (EXAMPLES * g.entries()) as f64;
            assert!((left - right).abs() <= tolerance, "{left} {right}");
            let (dw, db) = (tensor(EXAMPLES, g.weights(), 6)?, tensor(EXAMPLES, g.weights(), 7)?);
            let left = inner(&dy, &normalize_groups(g, &x, Some(&dw), Some(&db))?)?;
            let rows = group_gradients(g, &dy, &x)?;
            let right = inner(&rows.get(0)?, &dw)? + inner(&rows.get(1)?, &db)?;
            assert!((left - right).abs() <= tolerance, "{left} {right}");
        }
        Ok(())
    }

    #[test]
    fn tangents_of_projections_are_their_differences() -> Result<()> {
        for g in CASES {
            let inputs = [1, 4, 5].map(|seed| tensor(EXAMPLES, g.entries(), seed));
            let [x, u, t] = inputs;
            let (x, u, t) = (x?, u?, t?);
            let expected = differences(|h| project(g, &u, &(&x + (&t * h)?)?, None))?;
            assert_close(&projection_tangent(g, &u, &t, &x)?, &expected, 10.0 * DIFFERENCES)?;
        }
        Ok(())
    }

    #[test]
    fn compositions_are_the_loops() -> Result<()> {
        for g in CASES {
            let inputs = [1, 4, 5].map(|seed| tensor(EXAMPLES, g.entries(), seed));
            let [x, u, t] = inputs;
            let (x, u, t) = (x?, u?, t?);
            let (weight, shape) = (tensor(1, g.weights(), 2)?, x.shape().clone());
            for place in [None, Some(WeightPlace::Before), Some(WeightPlace::After)] {
                let op = Project { groups: g, weight: place, shape: shape.clone() };
                let expected = project(g, &u, &x, place.map(|place| (place, &weight)))?;
                assert_close(&op.composed(&[&u, &x, &weight])?, &expected, ROUND_OFF)?;
            }
            let op = GroupGradients { groups: g, examples: EXAMPLES };
            let expected = group_gradients(g, &u, &x)?;
            assert_close(&op.composed(&[&u, &x])?, &expected, ROUND_OFF)?;
            let op = ProjectionTangent { groups: g, shape };
            let expected = projection_tangent(g, &u, &t, &x)?;
            assert_close(&op.composed(&[&u, &t, &x])?, &expected, ROUND_OFF)?;
        }
        Ok(())
    }
}
