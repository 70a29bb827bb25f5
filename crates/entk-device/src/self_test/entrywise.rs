//! Known answers of functions and their derivatives, from their definitions in f64.

use crate::{
    activation::Activation,
    function::Function,
    launch::{Launch, kernels::Entrywise},
    self_test::{
        jet::Jet,
        known_answers::{Answer, Question, numbers},
    },
};

const COUNT: usize = 301;
/// Two exponentials, each good to a few units, and the arithmetic around them.
const ROUNDINGS: usize = 32;
/// Corners of functions, to the left of which their derivatives are those at the corner.
const CORNERS: [f64; 4] = [0.0, -3.0, 3.0, 6.0];

/// The definitions.
fn activation(activation: Activation, x: Jet) -> Jet {
    let one = Jet::constant(1.0);
    let sigmoid = |x: Jet| one / ((-x).exp() + 1.0);
    let at = x.0[0];
    match activation {
        Activation::Relu if at <= 0.0 => 0.0 * x,
        Activation::Relu => x,
        Activation::Gelu => {
            let scale = (2.0 / std::f64::consts::PI).sqrt();
            0.5 * x * ((scale * (x + 0.044_715 * x * x * x)).tanh() + 1.0)
        }
        Activation::Silu => x * sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Square => x * x,
        Activation::GeluErf => x * x.normal_cdf(),
        Activation::Relu6 => piecewise(at, [0.0, 6.0], [0.0 * x, x, Jet::constant(6.0)]),
        Activation::LeakyRelu if at <= 0.0 => 0.01 * x,
        Activation::LeakyRelu => x,
        Activation::Elu => elu(1.0, x),
        Activation::Selu => 1.050_700_987_355_480_5 * elu(1.673_263_242_354_377_2, x),
        Activation::Mish => x * (x.exp() + 1.0).ln().tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Softplus => (x.exp() + 1.0).ln(),
        Activation::HardSwish => {
            piecewise(at, [-3.0, 3.0], [0.0 * x, 1.0 / 6.0 * x * (x + 3.0), x])
        }
        Activation::HardSigmoid => hard_sigmoid(x),
    }
}

/// The first below `low` and there, the last above `high` and there, else the second.
fn piecewise(at: f64, [low, high]: [f64; 2], [below, within, above]: [Jet; 3]) -> Jet {
    if at <= low {
        below
    } else if at >= high {
        above
    } else {
        within
    }
}

fn hard_sigmoid(x: Jet) -> Jet {
    let (zero, one) = (Jet::constant(0.0), Jet::constant(1.0));
    piecewise(x.0[0], [-3.0, 3.0], [zero, 1.0 / 6.0 * (x + 3.0), one])
}

fn elu(alpha: f64, x: Jet) -> Jet {
    match x.0[0] {
        0.0 => alpha * x,
        at if at < 0.0 => alpha * (x.exp() - Jet::constant(1.0)),
        _ => x,
    }
}

fn definition(function: Option<Function>, x: Jet) -> Jet {
    let at = x.0[0];
    match function {
        None => x,
        Some(Function::Activation(of)) => activation(of, x),
        Some(Function::Exp) => x.exp(),
        Some(Function::Log) => x.ln(),
        Some(Function::Sqrt) => x.power(0.5),
        Some(Function::ReciprocalSqrt) => x.power(-0.5),
        Some(Function::Reciprocal) => Jet::constant(1.0) / x,
        Some(Function::Sin) => x.sin(),
        Some(Function::Cos) => (x + std::f64::consts::FRAC_PI_2).sin(),
        Some(Function::Abs) => {
            if at == 0.0 {
                0.0 * x
            } else {
                at.signum() * x
            }
        }
        Some(Function::Power(p)) => x.power(p),
        Some(Function::LeakyRelu(slope)) => {
            if at <= 0.0 {
                slope * x
            } else {
                x
            }
        }
        Some(Function::Elu(alpha)) => elu(alpha, x),
        Some(Function::Affine(scale, shift)) => scale * x + shift,
        Some(Function::Clamp(low, high)) => {
            piecewise(at, [low, high], [Jet::constant(low), x, Jet::constant(high)])
        }
    }
}

/// Whether it is a function of positive numbers.
fn of_positive(function: Option<Function>) -> bool {
    let positive = [Function::Log, Function::Sqrt, Function::ReciprocalSqrt, Function::Reciprocal];
    function.is_some_and(|f| positive.contains(&f) || matches!(f, Function::Power(_)))
}
/// The size of the terms in any of the three at x.
fn size(x: f64) -> f64 {
    (1.0 + x.abs()).powi(3)
}

fn answer(rule: Entrywise, function: Option<Function>) -> Question {
    let launch = Launch::entrywise(rule, function, COUNT);
    let mut inputs: Vec<_> =
        (0..launch.inputs().len()).map(|at| numbers(COUNT, 10 + at as u64)).collect();
    inputs[0][..CORNERS.len()].copy_from_slice(&CORNERS);
    if of_positive(function) {
        inputs[0].iter_mut().for_each(|x| *x = x.abs() + 0.5);
    }
    Question::new(launch, inputs, ROUNDINGS, |i, inputs| {
        let at = |input: usize| inputs[input][i];
        let (x, factor, order) = match rule {
            Entrywise::Value => (at(0), 1.0, 0),
            Entrywise::Derivative => (at(0), at(1), 1),
            Entrywise::Curvature => (at(0), at(1) * at(2), 2),
            Entrywise::Sum => (at(0) + at(1), 1.0, 0),
            Entrywise::SumDerivative => (at(0) + at(1), at(2), 1),
        };
        // The sum is rounded before the function sees it.
        let spread = inputs.iter().take(2).map(|input| input[i].abs()).sum::<f64>();
        let exact = definition(function, Jet::variable(x)).0[order];
        let size = size(spread) + exact.abs();
        Answer::sized(exact * factor, size * factor.abs().max(f64::MIN_POSITIVE))
    })
}

pub(super) fn answers() -> Vec<Question> {
    let activations = || Activation::ALL.map(|activation| Some(activation.into()));
    let functions = [None].into_iter().chain(activations()).chain(Function::EXAMPLES.map(Some));
    let alone = [Entrywise::Value, Entrywise::Derivative, Entrywise::Curvature];
    let of_sums = [Entrywise::Sum, Entrywise::SumDerivative];
    let all = functions.flat_map(|f| alone.map(|rule| (rule, f)));
    let sums = [None].into_iter().chain(activations()).flat_map(|f| of_sums.map(|rule| (rule, f)));
    all.chain(sums).map(|(rule, function)| answer(rule, function)).collect()
}
