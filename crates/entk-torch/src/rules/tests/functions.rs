//! Functions of one number, of two tensors, and those made of others.

use super::{
    Arguments, Numbers, ints, known, known_numbers, refused, same, same_for, same_known, text,
};
use crate::{
    archive::Elements,
    trace::call::Bound::{self, Bool, Float, Int},
};

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Numbers on both sides of 0, 1 and of kinks; positive ones for roots and logarithms.
const ANY: [f64; 8] = [-4.5, -2.0, -0.7, -0.3, 0.2, 0.8, 2.5, 7.0];
const POSITIVE: [f64; 4] = [0.3, 0.9, 1.7, 5.0];

type Entry = fn(f64) -> f64;

fn all(numbers: &[f64]) -> Numbers {
    Numbers::given(&[2, numbers.len() / 2], numbers)
}

#[test]
fn functions_without_arguments() {
    let any: [(&str, Entry); 24] = [
        ("relu", |x| x.max(0.0)),
        ("relu6", |x| x.clamp(0.0, 6.0)),
        ("silu", |x| x * sigmoid(x)),
        ("mish", |x| x * softplus(x).tanh()),
        ("sigmoid", sigmoid),
        ("log_sigmoid", |x| -softplus(-x)),
        ("tanh", f64::tanh),
        ("hardtanh", |x| x.clamp(-1.0, 1.0)),
        ("hardswish", |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        ("hardsigmoid", |x| (x + 3.0).clamp(0.0, 6.0) / 6.0),
        ("exp", f64::exp),
        ("exp2", f64::exp2),
        ("expm1", f64::exp_m1),
        ("sin", f64::sin),
        ("cos", f64::cos),
        ("tan", f64::tan),
        ("sinh", f64::sinh),
        ("cosh", f64::cosh),
        ("abs", f64::abs),
        ("neg", |x| -x),
        ("square", |x| x * x),
        ("reciprocal", f64::recip),
        ("hardshrink", |x| if x.abs() > 0.5 { x } else { 0.0 }),
        ("softshrink", |x| x.signum() * (x.abs() - 0.5).max(0.0)),
    ];
    let positive: [(&str, Entry); 6] = [
        ("log", f64::ln),
        ("log1p", f64::ln_1p),
        ("log2", f64::log2),
        ("log10", f64::log10),
        ("sqrt", f64::sqrt),
        ("rsqrt", |x| x.sqrt().recip()),
    ];
    let any = any.map(|(name, function)| (name, function, all(&ANY)));
    let positive = positive.map(|(name, function)| (name, function, all(&POSITIVE)));
    for (name, function, x) in any.into_iter().chain(positive) {
        same(&format!("{name}.default"), &[("self", x.real())], &[x.map(function)]);
    }
}

fn of(x: &Numbers, more: Arguments<'_>) -> Vec<(&'static str, Bound)> {
    [&[("self", x.real())], more].concat()
}

#[test]
fn functions_with_arguments() {
    let x = all(&ANY);
    let elu = |x: f64, alpha: f64| if x > 0.0 { x } else { alpha * x.exp_m1() };
    type Case<'a> = (&'static str, Arguments<'a>, &'a dyn Fn(f64) -> f64);
    let expected: [Case<'_>; 17] = [
        ("elu.default", &[], &|x| elu(x, 1.0)),
        ("elu.default", &[("alpha", Float(0.5)), ("scale", Int(1))], &|x| elu(x, 0.5)),
        ("celu.default", &[("alpha", Float(2.0))], &|x| 2.0 * elu(x / 2.0, 1.0)),
        ("leaky_relu.default", &[], &|x| x.max(0.01 * x)),
        ("leaky_relu.default", &[("negative_slope", Float(0.3))], &|x| x.max(0.3 * x)),
        ("softplus.default", &[("beta", Float(2.0))], &|x| softplus(2.0 * x) / 2.0),
        ("hardtanh.default", &[("min_val", Int(0)), ("max_val", Int(6))], &|x| x.clamp(0.0, 6.0)),
        ("hardtanh.default", &[("min_val", Int(-2))], &|x| x.clamp(-2.0, 1.0)),
        ("clamp.default", &[("min", Float(-0.5)), ("max", Int(2))], &|x| x.clamp(-0.5, 2.0)),
        ("clamp_min.default", &[("min", Int(0))], &|x| x.max(0.0)),
        ("clamp_max.default", &[("max", Int(1))], &|x| x.min(1.0)),
        ("hardshrink.default", &[("lambd", Float(2.2))], &|x| if x.abs() > 2.2 { x } else { 0.0 }),
        ("softshrink.default", &[("lambd", Float(2.2))], &|x| x - x.clamp(-2.2, 2.2)),
        ("threshold.default", &[("threshold", Float(0.5)), ("value", Int(-3))], &|x| {
            if x > 0.5 { x } else { -3.0 }
        }),
        ("add.Scalar", &[("other", Int(2)), ("alpha", Float(0.5))], &|x| x + 1.0),
        ("rsub.Scalar", &[("other", Int(2)), ("alpha", Int(3))], &|x| 2.0 - 3.0 * x),
        ("pow.Tensor_Scalar", &[("exponent", Int(3))], &|x| x.powi(3)),
    ];
    for (operation, more, function) in expected {
        same(operation, &of(&x, more), &[x.map(function)]);
    }
    for (argument, why) in
        [(("scale", Float(1.5)), "must be 1"), (("input_scale", Float(0.5)), "must be 1")]
    {
        refused("elu.default", &of(&x, &[argument]), why);
    }
    refused("softplus.default", &of(&x, &[("threshold", Int(19))]), "is below 20");
    refused("clamp.default", &of(&x, &[("min", Int(2)), ("max", Int(1))]), "between 2 and 1");
    refused("relu.default", &of(&x, &[("mystery", Int(2))]), "is not understood here");
    refused("gelu.default", &of(&x, &[("approximate", text("erf"))]), "neither none nor tanh");
}

#[test]
fn powers_of_tensors_and_to_tensors() {
    let x = all(&POSITIVE);
    for exponent in [1.0, 2.0, 0.5, -0.5, -1.0, 1.5, -3.0] {
        let given = of(&x, &[("exponent", Float(exponent))]);
        same("pow.Tensor_Scalar", &given, &[x.map(|x| x.powf(exponent))]);
    }
    let y = all(&[-1.5, 0.5, 2.0, 3.0]);
    let base = [("exponent", y.real()), ("self", Float(2.5))];
    same("pow.Scalar", &base, &[y.map(|y| 2.5f64.powf(y))]);
    for wrong in [0.0, -1.0, f64::NAN] {
        let given = [("exponent", y.real()), ("self", Float(wrong))];
        refused("pow.Scalar", &given, "to the power of a tensor");
    }
    let both = Numbers::of(&[2, 2], |p| x.at(p).powf(y.at(p)));
    same_known("pow.Tensor_Tensor", &of(&x, &[("exponent", y.real())]), &[both]);
    let one = Numbers::given(&[], &[2.5]);
    same_known(
        "pow.Tensor_Tensor",
        &of(&one, &[("exponent", y.real())]),
        &[y.map(|y| 2.5f64.powf(y))],
    );
    let (two, whole) = (Numbers::given(&[], &[-2.0]), all(&[1.0, 2.0, 3.0, -1.0]));
    let powers = [whole.map(|y| (-2f64).powf(y))];
    same_known("pow.Tensor_Tensor", &of(&two, &[("exponent", whole.real())]), &powers);
    let cube = Numbers::given(&[], &[3.0]);
    let cubes = [x.map(|x| x.powi(3))];
    same_known("pow.Tensor_Tensor", &of(&x, &[("exponent", cube.whole())]), &cubes);
    // In a graph: of a known positive base, or to one known power.
    let found = super::in_a_graph("pow.Tensor_Tensor", &of(&x, &[("exponent", cube.whole())]), 0);
    super::assert_same("powers", &found.expect("a rule").expect("an input"), &cubes);
    let bases = Numbers::given(&[2, 2], &[2.0, 3.0, 4.0, 5.0]);
    let given = [("self", bases.whole()), ("exponent", y.real())];
    let found = super::in_a_graph("pow.Tensor_Tensor", &given, 0);
    let powers = [Numbers::of(&[2, 2], |p| bases.at(p).powf(y.at(p)))];
    super::assert_same("powers", &found.expect("a rule").expect("an input"), &powers);
    let negative = Numbers::given(&[2, 2], &[2.0, -3.0, 4.0, 5.0]);
    for base in [negative.whole(), x.real()] {
        let given = [("exponent", y.real()), ("self", base)];
        let refusal = super::in_a_graph("pow.Tensor_Tensor", &given, 0).map(|_| ());
        let why = refusal.map_err(super::reason).expect_err("refused");
        assert!(why.contains("where one of them is known"), "{why}");
    }
}

#[test]
fn two_tensors_meet_entry_by_entry() {
    let (a, b) = (Numbers::normal("a", &[3, 2]), Numbers::normal("b", &[2]));
    type Pair = fn(f64, f64) -> f64;
    let all: [(&str, Pair); 8] = [
        ("add.Tensor", |a, b| a + b),
        ("sub.Tensor", |a, b| a - b),
        ("mul.Tensor", |a, b| a * b),
        ("div.Tensor", |a, b| a / b),
        ("maximum.default", f64::max),
        ("minimum.default", f64::min),
        ("max.other", f64::max),
        ("min.other", f64::min),
    ];
    for (operation, pair) in all {
        let expected = Numbers::of(&[3, 2], |p| pair(a.at(p), b.at(&p[1..])));
        same_for(operation, &of(&a, &[("other", b.real())]), &[expected], 2);
        // One number of a tensor with more axes than the other adds axes.
        let one = Numbers::given(&[1, 1, 1], &[0.75]);
        let spread = Numbers::of(&[1, 3, 2], |p| pair(a.at(&p[1..]), 0.75));
        same_for(operation, &of(&a, &[("other", one.real())]), &[spread], 2);
        let number = Numbers::given(&[], &[-0.25]);
        let by_number = Numbers::of(&[3, 2], |p| pair(-0.25, a.at(p)));
        same_known(operation, &of(&number, &[("other", a.real())]), &[by_number]);
    }
    let sum = Numbers::of(&[3, 2], |p| a.at(p) - 2.0 * b.at(&p[1..]));
    same_for(
        "add.Tensor",
        &of(&a, &[("other", b.real()), ("alpha", Int(-2))]),
        std::slice::from_ref(&sum),
        2,
    );
    same_for("sub.Tensor", &of(&a, &[("other", b.real()), ("alpha", Int(2))]), &[sum], 2);
    let middle = Numbers::of(&[3, 2], |p| a.at(p) + 0.25 * (b.at(&p[1..]) - a.at(p)));
    same_for("lerp.Scalar", &of(&a, &[("end", b.real()), ("weight", Float(0.25))]), &[middle], 2);
    let (c, d) = (Numbers::normal("c", &[3, 2]), Numbers::normal("d", &[3, 2]));
    let three = of(&a, &[("tensor1", c.real()), ("tensor2", d.real()), ("value", Float(0.5))]);
    let product = Numbers::of(&[3, 2], |p| a.at(p) + 0.5 * c.at(p) * d.at(p));
    same_for("addcmul.default", &three, &[product], 3);
    let quotient = Numbers::of(&[3, 2], |p| a.at(p) + 0.5 * c.at(p) / d.at(p));
    same_for("addcdiv.default", &three, &[quotient], 3);
    let outer = Numbers::of(&[2, 2], |p| b.at(&p[..1]) * b.at(&p[1..]));
    same_known("outer.default", &of(&b, &[("vec2", b.real())]), &[outer]);
}

#[test]
fn infinite_numbers_of_a_mask_replace_what_they_meet() {
    let x = Numbers::normal("x", &[2, 3]);
    let mask = Numbers::given(&[3], &[f64::NEG_INFINITY, 0.5, f64::INFINITY]);
    let Bound::Tensor(mask) = mask.real() else { panic!("a tensor") };
    // As a table of whole numbers it stays known in a graph.
    let given = of(&x, &[("other", Bound::Tensor(mask.with_elements(Elements::Whole)))]);
    let sum = |p: &[usize]| match p[1] {
        0 => f64::NEG_INFINITY,
        1 => x.at(p) + 0.5,
        _ => f64::INFINITY,
    };
    same("add.Tensor", &given, &[Numbers::of(&[2, 3], sum)]);
}

#[test]
fn a_condition_chooses() {
    let (a, b) = (Numbers::normal("a", &[3, 2]), Numbers::normal("b", &[2]));
    let truth = Numbers::of(&[3, 1], |p| if p[0] == 1 { 1.0 } else { 0.0 });
    let given = |a: Bound, b: Bound| [("self", a), ("other", b), ("condition", truth.truth())];
    let chosen = |a: &dyn Fn(&[usize]) -> f64, b: &dyn Fn(&[usize]) -> f64| {
        [Numbers::of(&[3, 2], |p| if p[0] == 1 { a(p) } else { b(p) })]
    };
    let (of_a, of_b) = (|p: &[usize]| a.at(p), |p: &[usize]| b.at(&p[1..]));
    same_for("where.self", &given(a.real(), b.real()), &chosen(&of_a, &of_b), 2);
    same("where.ScalarOther", &given(a.real(), Float(2.5)), &chosen(&of_a, &|_| 2.5));
    same("where.ScalarSelf", &given(Int(-1), a.real()), &chosen(&|_| -1.0, &of_a));
    let mask = [("self", a.real()), ("mask", truth.truth()), ("value", Float(9.0))];
    same("masked_fill.Scalar", &mask, &chosen(&|_| 9.0, &of_a));
    let whole = [("self", a.whole()), ("mask", truth.truth()), ("value", Float(9.0))];
    let kept = known("masked_fill.Scalar", &whole).expect("numbers");
    assert_eq!(kept[0].elements, Elements::Whole);
}

#[test]
fn gates_products_and_logarithms_of_sums() {
    let x = Numbers::normal("x", &[3, 4]);
    let gated = Numbers::of(&[3, 2], |p| x.at(p) * sigmoid(x.at(&[p[0], p[1] + 2])));
    same("glu.default", &of(&x, &[]), &[gated]);
    let y = Numbers::normal("y", &[4, 3]);
    let gated = Numbers::of(&[2, 3], |p| y.at(p) * sigmoid(y.at(&[p[0] + 2, p[1]])));
    same("glu.default", &of(&y, &[("dim", Int(0))]), &[gated]);
    let rows = Numbers::of(&[3], |p| (0..4).map(|at| x.at(&[p[0], at])).product());
    same("prod.dim_int", &of(&x, &[("dim", Int(-1))]), std::slice::from_ref(&rows));
    let kept = of(&x, &[("dim", Int(1)), ("keepdim", Bool(true))]);
    same("prod.dim_int", &kept, &[Numbers::given(&[3, 1], &rows.numbers)]);
    let sum = |row: usize| (0..4).map(|at| x.at(&[row, at]).exp()).sum::<f64>().ln();
    let given = of(&x, &[("dim", ints(&[1]))]);
    same("logsumexp.default", &given, &[Numbers::of(&[3], |p| sum(p[0]))]);
    let kept = [&given[..], &[("keepdim", Bool(true))]].concat();
    same("logsumexp.default", &kept, &[Numbers::of(&[3, 1], |p| sum(p[0]))]);
    let large = x.map(|x| 1000.0 + x);
    let found = known_numbers("logsumexp.default", &of(&large, &[("dim", ints(&[1]))]));
    super::assert_same("large", &found, &[Numbers::of(&[3], |p| 1000.0 + sum(p[0]))]);
    let soft = Numbers::of(&[3, 4], |p| x.at(p).exp() / sum(p[0]).exp());
    same("softmax.int", &of(&x, &[("dim", Int(-1))]), std::slice::from_ref(&soft));
    same("log_softmax.int", &of(&x, &[("dim", Int(1))]), &[soft.map(f64::ln)]);
    let slope = Numbers::given(&[4], &[0.1, 0.2, 0.3, 0.4]);
    let bent = Numbers::of(&[3, 4], |p| x.at(p).max(slope.at(&p[1..]) * x.at(p)));
    same_for("prelu.default", &of(&x, &[("weight", slope.real())]), &[bent], 2);
}
