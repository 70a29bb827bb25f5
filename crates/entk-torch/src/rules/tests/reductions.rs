//! Sums, means, maxima, variances and norms over axes, and running sums.

use super::{Arguments, Numbers, ints, known, refused, same, same_known};
use crate::{
    archive::Elements,
    trace::call::Bound::{self, Bool, ElementType, Float, Int},
};

fn of(x: &Numbers, more: Arguments<'_>) -> Vec<(&'static str, Bound)> {
    [&[("self", x.real())], more].concat()
}

/// A number of all entries along these axes, which are kept or not.
fn over(x: &Numbers, axes: &[usize], keep: bool, number: impl Fn(&[f64]) -> f64) -> Numbers {
    let stays = |axis: &usize| !axes.contains(axis);
    let size = |axis: usize| if stays(&axis) { Some(x.shape[axis]) } else { keep.then_some(1) };
    let shape: Vec<usize> = (0..x.shape.len()).filter_map(size).collect();
    Numbers::of(&shape, |place| {
        let kept: Vec<usize> = match keep {
            true => (0..x.shape.len()).filter(stays).map(|axis| place[axis]).collect(),
            false => place.to_vec(),
        };
        let mut met = Vec::new();
        Numbers::of(&x.shape, |from| {
            let here = (0..from.len()).filter(stays).map(|axis| from[axis]).eq(kept.clone());
            met.extend(here.then(|| x.at(from)));
            0.0
        });
        number(&met)
    })
}

fn sum(x: &[f64]) -> f64 {
    x.iter().sum()
}

fn mean(x: &[f64]) -> f64 {
    sum(x) / x.len() as f64
}

fn most(x: &[f64]) -> f64 {
    x.iter().fold(f64::NEG_INFINITY, |most, x| most.max(*x))
}

fn least(x: &[f64]) -> f64 {
    x.iter().fold(f64::INFINITY, |least, x| least.min(*x))
}

fn variance(x: &[f64], correction: f64) -> f64 {
    let mean = mean(x);
    x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (x.len() as f64 - correction)
}

fn length(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn numbers_over_axes_of_all_kinds() {
    let x = Numbers::normal("x", &[2, 3, 4]);
    type Number = fn(&[f64]) -> f64;
    let all: [(&str, Number); 8] = [
        ("sum.dim_IntList", sum),
        ("mean.dim", mean),
        ("amax.default", most),
        ("amin.default", least),
        ("var.dim", |x| variance(x, 1.0)),
        ("std.dim", |x| variance(x, 1.0).sqrt()),
        ("linalg_vector_norm.default", length),
        ("norm.ScalarOpt_dim", length),
    ];
    for (operation, number) in all {
        for (given, axes) in [
            (ints(&[1]), vec![1]),
            (ints(&[-1, 0]), vec![0, 2]),
            (Int(2), vec![2]),
            (ints(&[]), vec![0, 1, 2]),
            (Bound::None, vec![0, 1, 2]),
        ] {
            for keep in [false, true] {
                let given = of(&x, &[("dim", given.clone()), ("keepdim", Bool(keep))]);
                same(operation, &given, &[over(&x, &axes, keep, number)]);
            }
        }
    }
    same("sum.default", &of(&x, &[]), &[over(&x, &[0, 1, 2], false, sum)]);
    same("mean.default", &of(&x, &[]), &[over(&x, &[0, 1, 2], false, mean)]);
    same("sum.default", &of(&Numbers::given(&[], &[2.0]), &[]), &[Numbers::given(&[], &[2.0])]);
    refused("sum.dim_IntList", &of(&x, &[("dim", ints(&[3]))]), "axis 3 of a tensor of 3 axes");
}

#[test]
fn variances_have_the_correction_that_is_asked_for() {
    let x = Numbers::normal("x", &[3, 4]);
    let rows = |correction: f64| over(&x, &[1], false, |x| variance(x, correction));
    let by = |correction| of(&x, &[("dim", ints(&[1])), ("correction", correction)]);
    same("var.correction", &by(Int(0)), &[rows(0.0)]);
    same("var.correction", &by(Float(1.0)), &[rows(1.0)]);
    same("var.correction", &by(Bound::None), &[rows(1.0)]);
    same("std.correction", &by(Int(0)), &[rows(0.0).map(f64::sqrt)]);
    let biased = of(&x, &[("dim", ints(&[1])), ("unbiased", Bool(false))]);
    same("var.dim", &biased, &[rows(0.0)]);
    for correction in [Int(2), Int(-1), Float(0.5)] {
        refused("var.correction", &by(correction), "a correction of");
    }
}

#[test]
fn norms_are_of_order_two() {
    let x = Numbers::normal("x", &[3, 4]);
    let rows = [over(&x, &[1], false, length)];
    let order = |name, order| of(&x, &[(name, order), ("dim", ints(&[1]))]);
    same("linalg_vector_norm.default", &order("ord", Int(2)), &rows);
    same("norm.ScalarOpt_dim", &order("p", Float(2.0)), &rows);
    refused("linalg_vector_norm.default", &order("ord", Int(1)), "a norm of order 1");
    refused("norm.ScalarOpt_dim", &order("p", Float(f64::INFINITY)), "a norm of order inf");
}

#[test]
fn the_place_of_the_largest_is_the_first_of_equal_ones() {
    let x = Numbers::given(&[2, 4], &[1.0, 3.0, 3.0, -2.0, 0.0, -5.0, 2.0, -5.0]);
    let places = |numbers: &[f64]| Numbers::given(&[2], numbers);
    let along = |keep| of(&x, &[("dim", Int(-1)), ("keepdim", Bool(keep))]);
    same_known("max.dim", &along(false), &[places(&[3.0, 2.0]), places(&[1.0, 2.0])]);
    same_known("min.dim", &along(false), &[places(&[-2.0, -5.0]), places(&[3.0, 1.0])]);
    let kept = |numbers: &[f64]| Numbers::given(&[2, 1], numbers);
    same_known("max.dim", &along(true), &[kept(&[3.0, 2.0]), kept(&[1.0, 2.0])]);
    same_known("argmax.default", &along(false), &[places(&[1.0, 2.0])]);
    same_known("argmin.default", &along(true), &[kept(&[3.0, 1.0])]);
    let columns = Numbers::given(&[4], &[0.0, 0.0, 0.0, 0.0]);
    same_known("argmax.default", &of(&x, &[("dim", Int(0))]), &[columns]);
    same_known("argmax.default", &of(&x, &[]), &[Numbers::given(&[], &[1.0])]);
    same_known("argmin.default", &of(&x, &[]), &[Numbers::given(&[], &[5.0])]);
}

#[test]
fn one_truth_of_an_axis_is_enough() {
    let x = Numbers::given(&[2, 3], &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    let given = [("self", x.truth()), ("dim", Int(1))];
    same_known("any.dim", &given, &[Numbers::given(&[2], &[1.0, 0.0])]);
    let numbers = [("self", x.real()), ("dim", Int(1))];
    refused("any.dim", &numbers, "compares no numbers with zero");
}

#[test]
fn running_sums_and_differences() {
    let x = Numbers::normal("x", &[3, 4]);
    let up_to = |place: &[usize]| (0..=place[1]).map(|at| x.at(&[place[0], at])).sum();
    same("cumsum.default", &of(&x, &[("dim", Int(1))]), &[Numbers::of(&[3, 4], up_to)]);
    let up_to = |place: &[usize]| (0..=place[0]).map(|at| x.at(&[at, place[1]])).sum();
    same("cumsum.default", &of(&x, &[("dim", Int(-2))]), &[Numbers::of(&[3, 4], up_to)]);
    let differences = Numbers::of(&[3, 3], |p| x.at(&[p[0], p[1] + 1]) - x.at(&[p[0], p[1]]));
    same("diff.default", &of(&x, &[]), &[differences]);
    let one = Numbers::normal("one", &[1, 4]);
    let entry = |row: usize, column| match row {
        0 => one.at(&[0, column]),
        4 => 2.0 * one.at(&[0, column]),
        row => x.at(&[row - 1, column]),
    };
    let differences = Numbers::of(&[4, 4], |p| entry(p[0] + 1, p[1]) - entry(p[0], p[1]));
    let ends = [("prepend", one.real()), ("append", one.map(|x| 2.0 * x).real())];
    let ends = of(&x, &[&[("dim", Int(0))], &ends[..]].concat());
    same("diff.default", &ends, &[differences]);
    refused("diff.default", &of(&x, &[("n", Int(2))]), "differences of higher order");
    refused("diff.default", &of(&one, &[("dim", Int(0))]), "differences of a single entry");
    let changes = [("self", Numbers::given(&[4], &[0.0, 1.0, 1.0, 0.0]).truth())];
    same_known("diff.default", &changes, &[Numbers::given(&[3], &[1.0, 0.0, 1.0])]);
}

#[test]
fn sums_of_truths_are_whole_and_a_kind_can_be_asked_for() {
    let x = Numbers::given(&[3], &[1.0, 0.0, 1.0]);
    let kind = |operation: &str, given: &[(&'static str, Bound)]| match known(operation, given) {
        Ok(found) => found[0].elements,
        Err(error) => panic!("{operation}: {error:?}"),
    };
    let truths = [("self", x.truth()), ("dim", Int(0))];
    assert_eq!(kind("sum.default", &truths[..1]), Elements::Whole);
    assert_eq!(kind("cumsum.default", &truths), Elements::Whole);
    let asked = [("self", x.truth()), ("dim", Int(0)), ("dtype", ElementType(7))];
    assert_eq!(kind("sum.dim_IntList", &asked), Elements::Real);
    assert_eq!(kind("cumsum.default", &asked), Elements::Real);
    assert_eq!(kind("mean.dim", &asked), Elements::Real);
    refused(
        "sum.dim_IntList",
        &[("self", x.truth()), ("dim", Int(0)), ("dtype", ElementType(9))],
        "element type of code 9",
    );
}
