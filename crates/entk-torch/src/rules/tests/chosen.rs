//! Entries chosen by whole numbers, and products by letters of axes.

use candle_core::{Device, Tensor};
use entk_models::ParamKind;

use super::{Numbers, known_numbers, reals, refused, same, same_for, same_known, text};
use crate::trace::{
    Tracer,
    call::Bound::{self, Float, Int},
};

fn whole(numbers: &[f64]) -> Bound {
    Numbers::given(&[numbers.len()], numbers).whole()
}

/// A list of indices of which some are left out.
fn indices(list: &[Option<&Numbers>]) -> Bound {
    let traced = |index: &Option<&Numbers>| match index.map(Numbers::whole) {
        Some(Bound::Tensor(traced)) => Some(traced),
        _ => None,
    };
    Bound::OptionalTensors(list.iter().map(traced).collect())
}

#[test]
fn rows_of_a_table() {
    let table = Numbers::normal("table", &[5, 3]);
    let ids = Numbers::given(&[2, 2], &[4.0, 0.0, 1.0, 4.0]);
    let rows = [Numbers::of(&[2, 2, 3], |p| table.at(&[ids.at(&p[..2]) as usize, p[2]]))];
    let given =
        |padding| [("weight", table.real()), ("indices", ids.whole()), ("padding_idx", padding)];
    // The gradient of a row of padding is none, which known rows of a parameter have no rule for.
    for (padding, taken) in [(1, false), (0, false), (2, true), (-1, true)] {
        same_known("embedding.default", &given(Int(padding)), &rows);
        let mut t = Tracer::default();
        let numbers = Tensor::from_vec(table.numbers.clone(), (5, 3), &Device::Cpu);
        let numbers = numbers.expect("a tensor");
        let parameter = t.parameter("table", &numbers, ParamKind::Trainable).expect("a value");
        let mut given = given(Int(padding));
        given[0].1 = Bound::Tensor(parameter);
        let found = super::results(&mut t, "embedding.default", given.to_vec());
        let why = found.map(|_| ()).map_err(super::reason);
        assert_eq!(why.is_ok(), taken, "{padding}: {why:?}");
        let named = |why: &String| why.contains("known ids with the padding id");
        assert!(why.as_ref().err().is_none_or(named), "{why:?}");
    }
    let vector = [("weight", Numbers::normal("x", &[4]).real()), ("indices", ids.whole())];
    refused("embedding.default", &vector, "a table of shape [4]");
}

#[test]
fn entries_by_lists_of_numbers() {
    let x = Numbers::normal("x", &[3, 4, 5]);
    let a = Numbers::given(&[2], &[2.0, -1.0]);
    let b = Numbers::given(&[2], &[-4.0, 3.0]);
    let at = |index: &Numbers, place: usize, length: usize| {
        (index.numbers[place] as i64).rem_euclid(length as i64) as usize
    };
    let given = |list: &[Option<&Numbers>]| [("self", x.real()), ("indices", indices(list))];
    let first = Numbers::of(&[2, 4, 5], |p| x.at(&[at(&a, p[0], 3), p[1], p[2]]));
    same("index.Tensor", &given(&[Some(&a)]), &[first]);
    let second = Numbers::of(&[3, 2, 5], |p| x.at(&[p[0], at(&a, p[1], 4), p[2]]));
    same("index.Tensor", &given(&[None, Some(&a)]), &[second]);
    // Neighbours stay where they are; others go in front.
    let neighbours = Numbers::of(&[3, 2], |p| x.at(&[p[0], at(&a, p[1], 4), at(&b, p[1], 5)]));
    same("index.Tensor", &given(&[None, Some(&a), Some(&b)]), &[neighbours]);
    let apart = Numbers::of(&[2, 4], |p| x.at(&[at(&a, p[0], 3), p[1], at(&b, p[0], 5)]));
    same("index.Tensor", &given(&[Some(&a), None, Some(&b)]), &[apart]);
    let both = Numbers::of(&[2, 5], |p| x.at(&[at(&a, p[0], 3), at(&b, p[0], 4), p[1]]));
    same("index.Tensor", &given(&[Some(&a), Some(&b)]), &[both]);
    let column = Numbers::given(&[2, 1], &[0.0, 2.0]);
    let spread =
        Numbers::of(&[2, 2, 5], |p| x.at(&[column.numbers[p[0]] as usize, at(&b, p[1], 4), p[2]]));
    same("index.Tensor", &given(&[Some(&column), Some(&b)]), &[spread]);
}

#[test]
fn lists_that_choose_nothing_known_are_refused() {
    let x = Numbers::normal("x", &[3, 4]);
    let a = Numbers::given(&[2], &[0.0, 1.0]);
    let given = |list: &[Option<&Numbers>]| [("self", x.real()), ("indices", indices(list))];
    refused("index.Tensor", &given(&[]), "chooses by truth values");
    refused("index.Tensor", &given(&[None, None]), "chooses by truth values");
    refused("index.Tensor", &given(&[None, None, Some(&a)]), "3 indices of [3, 4]");
    let truths = Bound::Tensors(vec![a.traced(crate::archive::Elements::Truth)]);
    let truths = [("self", x.real()), ("indices", truths)];
    refused("index.Tensor", &truths, "chooses by truth values");
    let beyond = Numbers::given(&[1], &[3.0]);
    refused("index.Tensor", &given(&[Some(&beyond)]), "axis 3 of a tensor of 3 axes");
}

#[test]
fn slices_and_entries_by_numbers_along_an_axis() {
    let x = Numbers::normal("x", &[3, 4]);
    let given = [("self", x.real()), ("dim", Int(1)), ("index", whole(&[3.0, 0.0, 3.0]))];
    let slices = Numbers::of(&[3, 3], |p| x.at(&[p[0], [3, 0, 3][p[1]]]));
    same("index_select.default", &given, &[slices]);
    // A smaller shape of numbers: the rows beyond are not chosen from.
    let numbers = Numbers::given(&[2, 3], &[3.0, 0.0, 1.0, 2.0, 2.0, 0.0]);
    let entries = Numbers::of(&[2, 3], |p| x.at(&[p[0], numbers.at(p) as usize]));
    let given = |index: Bound| [("self", x.real()), ("dim", Int(-1)), ("index", index)];
    same("gather.default", &given(numbers.whole()), &[entries]);
    refused("gather.default", &given(whole(&[1.0])), "numbers [1] beside [3, 4]");
}

#[test]
fn entries_are_added_where_numbers_say() {
    let (x, source) = (Numbers::normal("x", &[2, 3]), Numbers::normal("source", &[2, 5]));
    let numbers = Numbers::given(&[2, 4], &[0.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
    let sums = Numbers::of(&[2, 3], |p| {
        let met = (0..4).filter(|at| numbers.at(&[p[0], *at]) as usize == p[1]);
        x.at(p) + met.map(|at| source.at(&[p[0], at])).sum::<f64>()
    });
    let given = |index: Bound| {
        [("self", x.real()), ("dim", Int(1)), ("index", index), ("src", source.real())]
    };
    same_for("scatter_add.default", &given(numbers.whole()), &[sums], 2);
    refused("scatter_add.default", &given(whole(&[0.0])), "numbers [1] for [2, 5]");

    let source = Numbers::normal("slices", &[2, 4]);
    let (index, alpha) = ([0, 2, 2, 1], -0.5);
    let sums = Numbers::of(&[2, 3], |p| {
        let met = (0..4).filter(|at| index[*at] == p[1]);
        x.at(p) + alpha * met.map(|at| source.at(&[p[0], at])).sum::<f64>()
    });
    let given = |source: &Numbers| {
        let index = whole(&index.map(|at| at as f64));
        let alpha = Float(alpha);
        [
            ("self", x.real()),
            ("dim", Int(1)),
            ("index", index),
            ("source", source.real()),
            ("alpha", alpha),
        ]
    };
    same_for("index_add.default", &given(&source), &[sums], 2);
    refused("index_add.default", &given(&Numbers::normal("x", &[4])), "[4] added to [2, 3]");
}

#[test]
fn one_at_the_place_that_a_number_says() {
    let ids = whole(&[2.0, 0.0]);
    let given = [("self", ids.clone()), ("num_classes", Int(3))];
    let rows = Numbers::given(&[2, 3], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    same_known("one_hot.default", &given, &[rows]);
    refused("one_hot.default", &[("self", ids.clone())], "give `num_classes`");
    refused("one_hot.default", &[("self", ids), ("num_classes", Int(-1))], "give `num_classes`");
}

/// The sum over all letters of the products, entry by entry.
fn by_letters(equation: &str, tensors: &[&Numbers]) -> Numbers {
    let (left, right) = equation.split_once("->").expect("a result");
    let groups: Vec<Vec<char>> = left.split(',').map(|group| group.chars().collect()).collect();
    let mut letters: Vec<char> = right.chars().collect();
    let outer = letters.len();
    for letter in groups.iter().flatten() {
        if !letters.contains(letter) {
            letters.push(*letter);
        }
    }
    let size = |letter: &char| {
        let found = groups.iter().zip(tensors).find_map(|(group, tensor)| {
            group.iter().position(|other| other == letter).map(|axis| tensor.shape[axis])
        });
        found.expect("a letter of a tensor")
    };
    let sizes: Vec<usize> = letters.iter().map(size).collect();
    let product = |place: &[usize]| -> f64 {
        let index = |letter: &char| place[letters.iter().position(|x| x == letter).unwrap_or(0)];
        let entry = |(group, tensor): (&Vec<char>, &&Numbers)| {
            tensor.at(&group.iter().map(index).collect::<Vec<_>>())
        };
        groups.iter().zip(tensors).map(entry).product()
    };
    Numbers::of(&sizes[..outer], |place| {
        let inner = Numbers::of(&sizes[outer..], |rest| product(&[place, rest].concat()));
        inner.numbers.iter().sum()
    })
}

#[test]
fn products_by_letters() {
    let tensor = |name: &str, shape: &[usize]| Numbers::normal(name, shape);
    for (equation, shapes) in [
        ("ij->ji", vec![vec![2, 3]]),
        ("ij->j", vec![vec![2, 3]]),
        ("ij->", vec![vec![2, 3]]),
        ("ij,jk->ik", vec![vec![2, 3], vec![3, 4]]),
        ("ij,jk->ki", vec![vec![2, 3], vec![3, 4]]),
        ("ij,kj->ik", vec![vec![2, 3], vec![4, 3]]),
        ("bij,bjk->bik", vec![vec![2, 3, 4], vec![2, 4, 2]]),
        ("bhid,bhjd->bhij", vec![vec![2, 2, 3, 4], vec![2, 2, 5, 4]]),
        ("i,j->ij", vec![vec![2], vec![3]]),
        ("ij,k->i", vec![vec![2, 3], vec![4]]),
        ("ij,ij->ij", vec![vec![2, 3], vec![2, 3]]),
        ("ij,jk,kl->il", vec![vec![2, 3], vec![3, 4], vec![4, 2]]),
        ("ij,jk,ik->ik", vec![vec![2, 3], vec![3, 4], vec![2, 4]]),
    ] {
        let tensors: Vec<Numbers> =
            ["a", "b", "c"].iter().zip(&shapes).map(|(name, shape)| tensor(name, shape)).collect();
        let tensors: Vec<&Numbers> = tensors.iter().collect();
        let given = [("equation", text(equation)), ("tensors", reals(&tensors))];
        same_for("einsum.default", &given, &[by_letters(equation, &tensors)], tensors.len());
    }
    let (a, b) = (tensor("a", &[3, 3]), tensor("b", &[3, 3]));
    for (equation, why) in [
        ("ij,jk", "write every axis as a letter"),
        ("...j,jk->...k", "write every axis as a letter"),
        ("ii,jk->k", "none twice in a tensor"),
        ("ijk,jk->k", "one letter for each axis"),
        ("ij->j", "another number of tensors"),
        ("ij,jk,kl->il", "another number of tensors"),
        ("ij,jk->iz", "a letter of the result that no tensor has"),
    ] {
        let given = [("equation", text(equation)), ("tensors", reals(&[&a, &b]))];
        refused("einsum.default", &given, why);
    }
}

#[test]
fn a_map_of_two_tensors_by_a_weight() {
    let (a, b) = (Numbers::normal("a", &[2, 3]), Numbers::normal("b", &[2, 4]));
    let (weight, bias) = (Numbers::normal("w", &[5, 3, 4]), Numbers::normal("bias", &[5]));
    let product = |p: &[usize]| -> f64 {
        let pair = |at: usize| {
            let (i, j) = (at / 4, at % 4);
            a.at(&[p[0], i]) * weight.at(&[p[1], i, j]) * b.at(&[p[0], j])
        };
        (0..12).map(pair).sum()
    };
    let given = [("input1", a.real()), ("input2", b.real()), ("weight", weight.real())];
    same_for("bilinear.default", &given, &[Numbers::of(&[2, 5], product)], 2);
    let with = [&given[..], &[("bias", bias.real())]].concat();
    let expected = Numbers::of(&[2, 5], |p| product(p) + bias.at(&p[1..]));
    same_for("bilinear.default", &with, &[expected], 2);
    let flat = [&given[..2], &[("weight", a.real())]].concat();
    refused("bilinear.default", &flat, "a weight of shape [2, 3]");
    assert_eq!(known_numbers("bilinear.default", &given)[0].shape, [2, 5]);
}
