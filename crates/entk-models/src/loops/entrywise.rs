//! Activations of tensors and their derivatives, entry by entry.

use std::array;

use candle_core::{Shape, Tensor};
use entk_device::{Activation, Entrywise, Launch};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        activation::{Pointwise, ensure_supported, specialise},
        host_op::{HostOp, vectorised},
        real::Real,
    },
};

/// Entries of one task.
const TASK: usize = 1 << 14;

/// One rule applied to tensors of one shape.
struct Entries {
    rule: Entrywise,
    activation: Option<Activation>,
    shape: Shape,
}

impl Entries {
    /// A loop over some entries of one to three tensors a, b, c: one for each rule, compiled for
    /// vectors by itself, since a loop among others is not.
    fn fill<T: Real>(&self, act: impl Pointwise, [a, b, c]: [&[T]; 3], out: &mut [T]) {
        let pairs = a.iter().zip(b);
        match self.rule {
            Entrywise::Value => vectorised(|| {
                out.iter_mut().zip(a).for_each(|(o, a)| *o = act.value(*a));
            }),
            Entrywise::Derivative => vectorised(|| {
                out.iter_mut().zip(pairs).for_each(|(o, (a, b))| *o = act.derivative(*a) * *b);
            }),
            Entrywise::Curvature => vectorised(|| {
                let triples = out.iter_mut().zip(pairs.zip(c));
                triples.for_each(|(o, ((a, b), c))| *o = act.curvature(*a) * *b * *c);
            }),
            Entrywise::Sum => vectorised(|| {
                out.iter_mut().zip(pairs).for_each(|(o, (a, b))| *o = act.value(*a + *b));
            }),
            Entrywise::SumDerivative => vectorised(|| {
                let triples = out.iter_mut().zip(pairs.zip(c));
                triples.for_each(|(o, ((a, b), c))| *o = act.derivative(*a + *b) * *c);
            }),
        }
    }
}

impl HostOp for Entries {
    const NAME: &'static str = "entrywise";

    fn output(&self) -> Shape {
        self.shape.clone()
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        out.par_chunks_mut(TASK).enumerate().for_each(|(task, out)| {
            let range = task * TASK..task * TASK + out.len();
            let part = |at: usize| inputs.get(at).map_or(&[][..], |input| &input[range.clone()]);
            let parts = array::from_fn(part);
            specialise!(self.activation, act => self.fill(act, parts, out));
        });
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::entrywise(self.rule, self.activation, self.shape.elem_count()))
    }
}

fn apply(rule: Entrywise, activation: Option<Activation>, inputs: &[&Tensor]) -> Result<Tensor> {
    ensure_supported(activation)?;
    Entries { rule, activation, shape: inputs[0].shape().clone() }.apply(inputs)
}

/// The activation of every entry.
pub(crate) fn value(activation: Activation, x: &Tensor) -> Result<Tensor> {
    apply(Entrywise::Value, Some(activation), &[x])
}

/// act'(x) d, entry by entry: the JVP and the VJP alike.
pub(crate) fn derivative_product(activation: Activation, x: &Tensor, d: &Tensor) -> Result<Tensor> {
    apply(Entrywise::Derivative, Some(activation), &[x, d])
}

/// act''(x) a b, entry by entry: the tangent of act'(x) a for a tangent b of x.
fn curvature_product(activation: Activation, x: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Entrywise::Curvature, Some(activation), &[x, a, b])
}

/// a + b, entry by entry.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Entrywise::Sum, None, &[a, b])
}

/// act(a + b), entry by entry.
pub(crate) fn activated_sum(
    activation: Option<Activation>,
    a: &Tensor,
    b: &Tensor,
) -> Result<Tensor> {
    apply(Entrywise::Sum, activation, &[a, b])
}

/// act'(a + b) d, entry by entry.
pub(crate) fn sum_derivative_product(
    activation: Activation,
    a: &Tensor,
    b: &Tensor,
    d: &Tensor,
) -> Result<Tensor> {
    apply(Entrywise::SumDerivative, Some(activation), &[a, b, d])
}

/// `act'(z) dy` and its tangent, for tangents `dz` of z (`None`: zero) and `ddy` of dy.
pub(crate) fn mixed_product(
    activation: Activation,
    z: &Tensor,
    dz: Option<&Tensor>,
    dy: &Tensor,
    ddy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let mut moved = derivative_product(activation, z, ddy)?;
    if let Some(dz) = dz {
        moved = add(&moved, &curvature_product(activation, z, dy, dz)?)?;
    }
    Ok((derivative_product(activation, z, dy)?, moved))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::host_op::testing::{assert_device_agrees, numbers};

    /// Exponentials good to a few units, with arguments up to 30 and factors up to 4.
    const TOLERANCE: f64 = 256.0;

    #[test]
    fn kernels_of_the_device_agree() {
        for (rule, inputs) in [
            (Entrywise::Value, 1),
            (Entrywise::Derivative, 2),
            (Entrywise::Curvature, 3),
            (Entrywise::Sum, 2),
            (Entrywise::SumDerivative, 3),
        ] {
            for activation in std::iter::once(None).chain(Activation::ALL.map(Some)) {
                let op = Entries { rule, activation, shape: (3, 67).into() };
                let inputs: Vec<_> = (0..inputs).map(|at| numbers(201, at as u64)).collect();
                assert_device_agrees(&op, &inputs, TOLERANCE);
            }
        }
    }
}
