//! Functions of tensors and their derivatives, entry by entry. Called by the operations that are
//! one such function, and by whatever adds tensors.

pub(crate) mod activation;
pub(crate) mod broadcast;
mod function;
pub(crate) mod pointwise;
pub(crate) mod unbroadcast;

use std::array;

use candle_core::{Shape, Tensor};
use entk_device::{Activation, Entrywise, Function, Launch};
use rayon::prelude::*;

use crate::{
    error::{ModelError, Result},
    loops::{
        entrywise::{activation::specialise, pointwise::Pointwise},
        host_op::{HostOp, vectorised},
        real::Real,
    },
};

/// Evaluates `$body` with `$f` bound to the [`Pointwise`] type of an optional [`Function`]: the
/// choice is made once, outside the loops in `$body`.
macro_rules! specialise_function {
    ($function:expr, $f:ident => $body:expr) => {
        specialise_function!(
            $function, $f => $body,
            Exp Log Sqrt ReciprocalSqrt Reciprocal Sin Cos Abs,
            Power(p) LeakyRelu(slope) Elu(alpha) Affine(scale, shift) Clamp(low, high)
        )
    };
    ($function:expr, $f:ident => $body:expr, $($name:ident)+, $($with:ident($($p:ident),+))+) => {
        match $function {
            None => specialise!(None, $f => $body),
            Some(Function::Activation(activation)) => specialise!(Some(activation), $f => $body),
            $(Some(Function::$name) => {
                let $f = function::$name;
                $body
            })+
            $(Some(Function::$with($($p),+)) => {
                let $f = function::$with($($p),+);
                $body
            })+
            Some(_) => {}
        }
    };
}

/// Entries of one task.
const TASK: usize = 1 << 14;

/// One rule applied to tensors of one shape.
struct Entries {
    rule: Entrywise,
    function: Option<Function>,
    shape: Shape,
}

impl Entries {
    /// A loop over some entries of one to three tensors a, b, c: one for each rule, compiled for
    /// vectors by itself, since a loop among others is not. They are written as `for`, since a long
    /// function in `for_each` is not inlined, and then compiled for plain machines.
    fn fill<T: Real>(&self, f: impl Pointwise, [a, b, c]: [&[T]; 3], out: &mut [T]) {
        let pairs = out.iter_mut().zip(a);
        match self.rule {
            Entrywise::Value => vectorised(
                #[inline(always)]
                || {
                    for (o, a) in pairs {
                        *o = f.value(*a);
                    }
                },
            ),
            Entrywise::Derivative => vectorised(
                #[inline(always)]
                || {
                    for ((o, a), b) in pairs.zip(b) {
                        *o = f.derivative(*a) * *b;
                    }
                },
            ),
            Entrywise::Curvature => vectorised(
                #[inline(always)]
                || {
                    for (((o, a), b), c) in pairs.zip(b).zip(c) {
                        *o = f.curvature(*a) * *b * *c;
                    }
                },
            ),
            Entrywise::Sum => vectorised(
                #[inline(always)]
                || {
                    for ((o, a), b) in pairs.zip(b) {
                        *o = f.value(*a + *b);
                    }
                },
            ),
            Entrywise::SumDerivative => vectorised(
                #[inline(always)]
                || {
                    for (((o, a), b), c) in pairs.zip(b).zip(c) {
                        *o = f.derivative(*a + *b) * *c;
                    }
                },
            ),
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
            specialise_function!(self.function, f => self.fill(f, parts, out));
        });
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::entrywise(self.rule, self.function, self.shape.elem_count()))
    }
}

fn apply(rule: Entrywise, function: Option<Function>, inputs: &[&Tensor]) -> Result<Tensor> {
    ensure_known(function)?;
    Entries { rule, function, shape: inputs[0].shape().clone() }.apply(inputs)
}

/// Refuses a function that has no loop here.
fn ensure_known(function: Option<Function>) -> Result<()> {
    let mut known = false;
    specialise_function!(function, _f => known = true);
    match function {
        Some(function) if !known => Err(ModelError::Function(function)),
        _ => Ok(()),
    }
}

/// f(x), entry by entry.
pub(crate) fn value(f: impl Into<Function>, x: &Tensor) -> Result<Tensor> {
    apply(Entrywise::Value, Some(f.into()), &[x])
}

/// c x; x itself where c is 1.
pub(crate) fn scaled(x: &Tensor, c: f64) -> Result<Tensor> {
    if c == 1.0 { Ok(x.clone()) } else { value(Function::scale(c), x) }
}

/// f'(x) d, entry by entry: the JVP and the VJP alike.
pub(crate) fn derivative_product(f: impl Into<Function>, x: &Tensor, d: &Tensor) -> Result<Tensor> {
    apply(Entrywise::Derivative, Some(f.into()), &[x, d])
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
    apply(Entrywise::Sum, activation.map(Function::from), &[a, b])
}

/// act'(a + b) d, entry by entry.
pub(crate) fn sum_derivative_product(
    activation: Activation,
    a: &Tensor,
    b: &Tensor,
    d: &Tensor,
) -> Result<Tensor> {
    apply(Entrywise::SumDerivative, Some(activation.into()), &[a, b, d])
}

/// `f'(z) dy` and its tangent, for tangents `dz` of z (`None`: zero) and `ddy` of dy.
pub(crate) fn mixed_product(
    f: impl Into<Function>,
    z: &Tensor,
    dz: Option<&Tensor>,
    dy: &Tensor,
    ddy: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let f = f.into();
    let mut moved = derivative_product(f, z, ddy)?;
    if let Some(dz) = dz {
        moved = add(&moved, &apply(Entrywise::Curvature, Some(f), &[z, dy, dz])?)?;
    }
    Ok((derivative_product(f, z, dy)?, moved))
}

#[cfg(test)]
mod references;

#[cfg(test)]
mod tests {
    use entk_device::Function::Clamp;

    use super::*;
    use crate::loops::{
        entrywise::references::{CORNERS, REFERENCES, of_positive},
        host_op::testing::{assert_device_agrees, numbers},
    };

    /// Exponentials good to a few units, with arguments up to 30 and factors up to 4.
    const TOLERANCE: f64 = 256.0;

    fn functions() -> impl Iterator<Item = Function> {
        Activation::ALL.into_iter().map(Function::from).chain(Function::EXAMPLES)
    }

    /// Value and derivatives.
    fn jet<T: Real>(function: Function, x: f64) -> [f64; 3] {
        let (mut jet, x) = ([f64::NAN; 3], T::from_f64(x));
        specialise_function!(Some(function), f => {
            jet = [f.value(x), f.derivative(x), f.curvature(x)].map(T::to_f64);
        });
        jet
    }

    #[test]
    fn kernels_of_the_device_agree() {
        for (rule, inputs) in [
            (Entrywise::Value, 1),
            (Entrywise::Derivative, 2),
            (Entrywise::Curvature, 3),
            (Entrywise::Sum, 2),
            (Entrywise::SumDerivative, 3),
        ] {
            for function in std::iter::once(None).chain(functions().map(Some)) {
                let op = Entries { rule, function, shape: (3, 67).into() };
                let mut inputs: Vec<_> = (0..inputs).map(|at| numbers(201, at as u64)).collect();
                if function.is_some_and(of_positive) {
                    inputs.iter_mut().flatten().for_each(|x| *x = x.abs() + 0.5);
                }
                assert_device_agrees(&op, &inputs, TOLERANCE);
            }
        }
    }

    #[test]
    fn values_and_derivatives_are_those_of_pytorch() {
        assert_eq!(REFERENCES.map(|(f, ..)| f).to_vec(), functions().collect::<Vec<_>>());
        for (function, left, right) in REFERENCES {
            let first = if of_positive(function) { 2.5 } else { -2.5 };
            for (x, expected) in [(first, left), (0.7, right)] {
                // Two dozen roundings of numbers up to 13.
                for (found, unit) in [
                    (jet::<f64>(function, x), f64::EPSILON),
                    (jet::<f32>(function, x), f64::from(f32::EPSILON)),
                ] {
                    for (found, expected) in found.iter().zip(expected) {
                        let tolerance = 12.0 * unit * expected.abs().max(1.0);
                        let error = (found - expected).abs();
                        assert!(error <= tolerance, "{function:?} at {x}: {found} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn derivatives_at_corners_are_those_of_pytorch() {
        let mut corners = vec![];
        for (function, derivatives) in CORNERS {
            corners
                .extend([-3.0, 0.0, 3.0, 6.0].map(|x| (function, x)).into_iter().zip(derivatives));
        }
        corners.extend([-0.5, 0.75].map(|x| ((Clamp(-0.5, 0.75), x), 0.0)));
        for ((function, x), derivative) in corners {
            let error = (jet::<f64>(function, x)[1] - derivative).abs();
            assert!(error <= 4.0 * f64::EPSILON, "{function:?} at {x}: {error}");
        }
    }

    #[test]
    fn derivatives_are_limits_of_differences() {
        let points = [0.2, 0.6, 1.3, 2.99, 3.01, 5.99, 6.01, 9.0, 25.0];
        let step = 1e-5;
        for function in functions() {
            for x in
                points.into_iter().flat_map(|x| [x, if of_positive(function) { x } else { -x }])
            {
                let [below, above] = [x - step, x + step].map(|x| jet::<f64>(function, x));
                let at = jet::<f64>(function, x);
                for order in [0, 1] {
                    let difference = (above[order] - below[order]) / (2.0 * step);
                    let error = (difference - at[order + 1]).abs();
                    // step^2 / 6 of the third derivative, and a unit of the value over the step.
                    let tolerance = 1e-7 * (1.0 + at[order].abs() + at[order + 1].abs());
                    assert!(error <= tolerance, "{function:?} at {x}: {at:?} {difference}");
                }
            }
        }
    }

    #[test]
    fn activations_are_numbers_far_out_and_nan_passes() {
        for function in functions() {
            for nan in [jet::<f32>(function, f64::NAN), jet::<f64>(function, f64::NAN)] {
                assert!(nan[0].is_nan(), "{function:?}");
            }
        }
        for activation in Activation::ALL {
            // x s(x) is infinity times zero there.
            let plain = matches!(activation, Activation::Gelu | Activation::Silu);
            for x in [-f64::INFINITY, -1e4, 1e4, f64::INFINITY] {
                if plain && x.is_infinite() {
                    continue;
                }
                let function = Function::from(activation);
                for far in [jet::<f32>(function, x), jet::<f64>(function, x)] {
                    assert!(!far.iter().any(|x| x.is_nan()), "{activation:?} at {x}: {far:?}");
                    let bounded = far[1].abs() <= 2.0 && far[2].abs() <= 1e-16;
                    assert!(
                        bounded || activation == Activation::Square,
                        "{function:?} {x}: {far:?}"
                    );
                }
            }
        }
    }
}
