//! Activations of tensors and their derivatives, entry by entry.

use std::{array, marker::PhantomData};

use candle_core::{Shape, Tensor};
use entk_device::{Entrywise as DeviceRule, Launch};
use rayon::prelude::*;

use crate::{
    error::Result,
    ops::{
        activation::{Activation, Identity, Pointwise, specialise},
        host_op::{HostOp, apply, vectorised},
        real::Real,
    },
};

/// Entries of one task.
const TASK: usize = 1 << 14;

/// What an entry of the result is: a function of an activation and the same entry of one to three
/// tensors.
trait Rule: Send + Sync {
    const NAME: &'static str;
    /// The same on a GPU.
    const DEVICE: DeviceRule;
    /// A loop over the entries; `#[inline(always)]`, so that it is compiled for vectors.
    fn fill<T: Real>(act: impl Pointwise, inputs: [&[T]; 3], out: &mut [T]);
}

/// act(a).
struct Value;

impl Rule for Value {
    const NAME: &'static str = "activation";
    const DEVICE: DeviceRule = DeviceRule::Value;
    #[inline(always)]
    fn fill<T: Real>(act: impl Pointwise, [a, ..]: [&[T]; 3], out: &mut [T]) {
        out.iter_mut().zip(a).for_each(|(o, a)| *o = act.value(*a));
    }
}

/// act'(a) b.
struct DerivativeProduct;

impl Rule for DerivativeProduct {
    const NAME: &'static str = "activation_derivative";
    const DEVICE: DeviceRule = DeviceRule::Derivative;
    #[inline(always)]
    fn fill<T: Real>(act: impl Pointwise, [a, b, _]: [&[T]; 3], out: &mut [T]) {
        let pairs = a.iter().zip(b);
        out.iter_mut().zip(pairs).for_each(|(o, (a, b))| *o = act.derivative(*a) * *b);
    }
}

/// act''(a) b c.
struct CurvatureProduct;

impl Rule for CurvatureProduct {
    const NAME: &'static str = "activation_curvature";
    const DEVICE: DeviceRule = DeviceRule::Curvature;
    #[inline(always)]
    fn fill<T: Real>(act: impl Pointwise, [a, b, c]: [&[T]; 3], out: &mut [T]) {
        let triples = a.iter().zip(b).zip(c);
        out.iter_mut().zip(triples).for_each(|(o, ((a, b), c))| *o = act.curvature(*a) * *b * *c);
    }
}

/// act(a + b).
struct Sum;

impl Rule for Sum {
    const NAME: &'static str = "sum";
    const DEVICE: DeviceRule = DeviceRule::Sum;
    #[inline(always)]
    fn fill<T: Real>(act: impl Pointwise, [a, b, _]: [&[T]; 3], out: &mut [T]) {
        let pairs = a.iter().zip(b);
        out.iter_mut().zip(pairs).for_each(|(o, (a, b))| *o = act.value(*a + *b));
    }
}

/// act'(a + b) c.
struct SumDerivative;

impl Rule for SumDerivative {
    const NAME: &'static str = "sum_derivative";
    const DEVICE: DeviceRule = DeviceRule::SumDerivative;
    #[inline(always)]
    fn fill<T: Real>(act: impl Pointwise, [a, b, c]: [&[T]; 3], out: &mut [T]) {
        let triples = a.iter().zip(b).zip(c);
        out.iter_mut().zip(triples).for_each(|(o, ((a, b), c))| *o = act.derivative(*a + *b) * *c);
    }
}

struct Entrywise<R> {
    activation: Option<Activation>,
    shape: Shape,
    rule: PhantomData<R>,
}

impl<R: Rule> Entrywise<R> {
    /// Applies the rule to tensors of one shape.
    fn apply(activation: Option<Activation>, inputs: &[&Tensor]) -> Result<Tensor> {
        let shape = inputs[0].shape().clone();
        apply(Self { activation, shape, rule: PhantomData }, inputs)
    }
}

impl<R: Rule> HostOp for Entrywise<R> {
    const NAME: &'static str = R::NAME;

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        out.par_chunks_mut(TASK).enumerate().for_each(|(task, out)| {
            let range = task * TASK..task * TASK + out.len();
            let part = |at: usize| inputs.get(at).map_or(&[][..], |input| &input[range.clone()]);
            let parts = array::from_fn(part);
            match self.activation {
                None => vectorised(|| R::fill(Identity, parts, out)),
                Some(act) => specialise!(act, act => vectorised(|| R::fill(act, parts, out))),
            }
        });
    }

    fn device(&self) -> Option<Launch> {
        let function = Activation::on_device(self.activation);
        Some(Launch::entrywise(R::DEVICE, function, self.shape.elem_count()))
    }
}

/// The activation of every entry.
pub(crate) fn value(activation: Activation, x: &Tensor) -> Result<Tensor> {
    Entrywise::<Value>::apply(Some(activation), &[x])
}

/// act'(x) d, entry by entry: the JVP and the VJP alike.
pub(crate) fn derivative_product(activation: Activation, x: &Tensor, d: &Tensor) -> Result<Tensor> {
    Entrywise::<DerivativeProduct>::apply(Some(activation), &[x, d])
}

/// act''(x) a b, entry by entry: how act'(x) a moves with x along b.
pub(crate) fn curvature_product(
    activation: Activation,
    x: &Tensor,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor> {
    Entrywise::<CurvatureProduct>::apply(Some(activation), &[x, a, b])
}

/// a + b, entry by entry.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Entrywise::<Sum>::apply(None, &[a, b])
}

/// act(a + b), entry by entry.
pub(crate) fn activated_sum(
    activation: Option<Activation>,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor> {
    Entrywise::<Sum>::apply(activation, &[a, b])
}

/// act'(a + b) d, entry by entry.
pub(crate) fn sum_derivative_product(
    activation: Activation,
    a: &Tensor,
    b: &Tensor,
    d: &Tensor,
) -> Result<Tensor> {
    Entrywise::<SumDerivative>::apply(Some(activation), &[a, b, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::host_op::testing::{assert_device_agrees, numbers};

    /// Exponentials good to a few units, with arguments up to 30 and factors up to 4.
    const TOLERANCE: f64 = 256.0;

    fn check<R: Rule>(inputs: usize) {
        use Activation::{Gelu, Relu, Silu, Square, Tanh};
        for activation in [None, Some(Relu), Some(Gelu), Some(Silu), Some(Tanh), Some(Square)] {
            let kernel = Entrywise { activation, shape: (3, 67).into(), rule: PhantomData::<R> };
            let inputs: Vec<_> = (0..inputs).map(|at| numbers(201, at as u64)).collect();
            assert_device_agrees(&kernel, &inputs, TOLERANCE);
        }
    }

    #[test]
    fn kernels_of_the_device_agree() {
        check::<Value>(1);
        check::<DerivativeProduct>(2);
        check::<CurvatureProduct>(3);
        check::<Sum>(2);
        check::<SumDerivative>(3);
    }
}
