//! Known answers of the activations and their derivatives, from their definitions in f64.

use crate::{
    activation::Activation,
    launch::{Launch, kernels::Entrywise},
    self_test::known_answers::{Answer, Question, numbers},
};

const COUNT: usize = 301;
/// Two exponentials, each good to a few units, and the arithmetic around them.
const ROUNDINGS: usize = 32;

/// Value, first and second derivative in f64, from the definitions.
fn derivatives(activation: Option<Activation>, x: f64) -> [f64; 3] {
    let logistic = |u: f64| {
        let s = 1.0 / (1.0 + (-u).exp());
        [s, s * (1.0 - s), s * (1.0 - s) * (1.0 - 2.0 * s)]
    };
    match activation {
        None => [x, 1.0, 0.0],
        Some(Activation::Relu) if x <= 0.0 => [0.0; 3],
        Some(Activation::Relu) => [x, 1.0, 0.0],
        Some(Activation::Square) => [x * x, 2.0 * x, 2.0],
        Some(Activation::Tanh) => {
            let (t, c) = (x.tanh(), x.cosh());
            [t, 1.0 / (c * c), -2.0 * t / (c * c)]
        }
        Some(Activation::Silu) => {
            let [s, first, second] = logistic(x);
            [x * s, s + x * first, 2.0 * first + x * second]
        }
        Some(Activation::Gelu) => {
            let scale = (8.0 / std::f64::consts::PI).sqrt();
            let u = [
                scale * (x + 0.044_715 * x.powi(3)),
                scale * (1.0 + 3.0 * 0.044_715 * x * x),
                scale * 6.0 * 0.044_715 * x,
            ];
            let [s, first, second] = logistic(u[0]);
            let curved = second * u[1] * u[1] + first * u[2];
            [x * s, s + x * first * u[1], 2.0 * first * u[1] + x * curved]
        }
    }
}

/// The size of the terms in any of the three at x.
fn size(x: f64) -> f64 {
    (1.0 + x.abs()).powi(3)
}

fn answer(rule: Entrywise, activation: Option<Activation>) -> Question {
    let launch = Launch::entrywise(rule, activation, COUNT);
    let mut inputs: Vec<_> =
        (0..launch.inputs().len()).map(|at| numbers(COUNT, 10 + at as u64)).collect();
    // The corner of the ReLU.
    inputs[0][0] = 0.0;
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
        let value = derivatives(activation, x)[order] * factor;
        Answer::sized(value, size(spread) * factor.abs().max(f64::MIN_POSITIVE))
    })
}

pub(super) fn answers() -> Vec<Question> {
    let activations = || std::iter::once(None).chain(Activation::ALL.map(Some));
    let rules = [
        Entrywise::Value,
        Entrywise::Derivative,
        Entrywise::Curvature,
        Entrywise::Sum,
        Entrywise::SumDerivative,
    ];
    let all = rules.into_iter().flat_map(|rule| activations().map(move |f| (rule, f)));
    all.map(|(rule, activation)| answer(rule, activation)).collect()
}
