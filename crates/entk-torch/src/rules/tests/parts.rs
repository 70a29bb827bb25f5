//! Parts of tensors, tensors side by side, and entries beside them.

use super::{Arguments, Numbers, ints, reals, refused, same, text};
use crate::trace::call::Bound::{Float, Int};

fn of(x: &Numbers, more: Arguments<'_>) -> Vec<(&'static str, crate::trace::call::Bound)> {
    [&[("self", x.real())], more].concat()
}

#[test]
fn one_entry_of_an_axis_is_counted_from_either_end() {
    let x = Numbers::normal("x", &[2, 3, 4]);
    let at = |dim, index| of(&x, &[("dim", Int(dim)), ("index", Int(index))]);
    same("select.int", &at(1, -1), &[Numbers::of(&[2, 4], |p| x.at(&[p[0], 2, p[1]]))]);
    same("select.int", &at(-1, 1), &[Numbers::of(&[2, 3], |p| x.at(&[p[0], p[1], 1]))]);
    refused("select.int", &at(1, 3), "axis 3 of a tensor of 3 axes");
}

#[test]
fn a_range_of_an_axis_is_cut_at_its_ends() {
    let x = Numbers::normal("x", &[2, 7]);
    let from = |start: usize, count: usize, step: usize| {
        [Numbers::of(&[2, count], |p| x.at(&[p[0], start + p[1] * step]))]
    };
    let range = |numbers: [i64; 3]| {
        let [start, end, step] = numbers.map(Int);
        of(&x, &[("dim", Int(1)), ("start", start), ("end", end), ("step", step)])
    };
    for (numbers, expected) in [
        ([1, 6, 1], from(1, 5, 1)),
        ([-3, i64::MAX, 1], from(4, 3, 1)),
        ([-9, -5, 1], from(0, 2, 1)),
        ([0, 100, 2], from(0, 4, 2)),
        ([1, 7, 3], from(1, 2, 3)),
    ] {
        same("slice.Tensor", &range(numbers), &expected);
    }
    same("slice.Tensor", &of(&x, &[("dim", Int(1))]), &from(0, 7, 1));
    refused("slice.Tensor", &range([3, 3, 1]), "no entries from 3 to 3");
    refused("slice.Tensor", &range([9, 12, 1]), "no entries from 7 to 7");
    refused("slice.Tensor", &range([0, 3, 0]), "in steps of 0");
    let narrow =
        |start, length| of(&x, &[("dim", Int(1)), ("start", Int(start)), ("length", Int(length))]);
    same("narrow.default", &narrow(2, 4), &from(2, 4, 1));
    refused("narrow.default", &narrow(8, 1), "axis 8 of a tensor of 8 axes");
}

#[test]
fn an_axis_in_parts_of_all_lengths() {
    let x = Numbers::normal("x", &[7, 2]);
    let parts = |lengths: &[usize]| -> Vec<Numbers> {
        let starts = lengths.iter().scan(0, |next, length| {
            *next += length;
            Some((*next - length, *length))
        });
        let part =
            |(start, length)| Numbers::of(&[length, 2], |p: &[usize]| x.at(&[start + p[0], p[1]]));
        starts.map(part).collect()
    };
    same("split.Tensor", &of(&x, &[("split_size", Int(3))]), &parts(&[3, 3, 1]));
    same("split.Tensor", &of(&x, &[("split_size", Int(9))]), &parts(&[7]));
    let sizes = |list: &[i64]| of(&x, &[("split_sizes", ints(list))]);
    same("split_with_sizes.default", &sizes(&[2, 1, 4]), &parts(&[2, 1, 4]));
    refused("split_with_sizes.default", &sizes(&[2, 4]), "an axis of 7 in parts of [2, 4]");
    refused("split_with_sizes.default", &sizes(&[2, -1]), "no sizes from 0 on");
    refused("split.Tensor", &of(&x, &[("split_size", Int(0))]), "parts without entries");
    same("chunk.default", &of(&x, &[("chunks", Int(3))]), &parts(&[3, 3, 1]));
    same("chunk.default", &of(&x, &[("chunks", Int(4))]), &parts(&[2, 2, 2, 1]));
    let rows = (0..7).map(|row| Numbers::of(&[2], |p| x.at(&[row, p[0]]))).collect::<Vec<_>>();
    same("unbind.int", &of(&x, &[]), &rows);
    let columns = (0..2).map(|at| Numbers::of(&[7], |p| x.at(&[p[0], at]))).collect::<Vec<_>>();
    same("unbind.int", &of(&x, &[("dim", Int(-1))]), &columns);
}

#[test]
fn tensors_stand_side_by_side() {
    let (a, b) = (Numbers::normal("a", &[2, 3]), Numbers::normal("b", &[2, 2]));
    let both = Numbers::of(&[2, 5], |p| match p[1] {
        at @ 0..3 => a.at(&[p[0], at]),
        at => b.at(&[p[0], at - 3]),
    });
    let empty = Numbers::given(&[0], &[]);
    let along = |all: &[&Numbers], axis| [("tensors", reals(all)), ("dim", Int(axis))];
    same("cat.default", &along(&[&a, &b], -1), std::slice::from_ref(&both));
    super::same_known("cat.default", &along(&[&empty, &a, &b], 1), &[both]);
    let c = Numbers::normal("c", &[2, 3]);
    let pick = |which: usize, place: &[usize]| if which == 0 { a.at(place) } else { c.at(place) };
    let last = Numbers::of(&[2, 3, 2], |p| pick(p[2], &p[..2]));
    let middle = Numbers::of(&[2, 2, 3], |p| pick(p[1], &[p[0], p[2]]));
    same("stack.default", &along(&[&a, &c], -1), &[last]);
    same("stack.default", &along(&[&a, &c], 1), &[middle]);
}

#[test]
fn entries_beside_a_tensor() {
    let x = Numbers::normal("x", &[2, 5]);
    let pad = |name, pairs: &[i64], mode: &str, value| {
        let more = [("pad", ints(pairs)), ("mode", text(mode)), ("value", Float(value))];
        (name, of(&x, &more))
    };
    let shifted = |shape: &[usize], [down, right]: [i64; 2], value: f64| {
        [Numbers::of(shape, |p| {
            let (i, j) = (p[0] as i64 - down, p[1] as i64 - right);
            let inside = (0..2).contains(&i) && (0..5).contains(&j);
            if inside { x.at(&[i as usize, j as usize]) } else { value }
        })]
    };
    let (name, given) = pad("pad.default", &[1, 2, 0, 1], "constant", 0.5);
    same(name, &given, &shifted(&[3, 8], [0, 1], 0.5));
    let (name, given) = pad("constant_pad_nd.default", &[2, -1], "constant", -1.0);
    same(name, &given, &shifted(&[2, 6], [0, 2], -1.0));
    let (name, given) = pad("pad.default", &[-2, 0, 1, -1], "constant", 3.0);
    same(name, &given, &shifted(&[2, 3], [1, -2], 3.0));
    let (name, given) = pad("pad.default", &[-1, -3], "constant", 3.0);
    same(name, &given, &shifted(&[2, 1], [0, -1], 3.0));
    for (mode, inside) in [
        (
            "reflect",
            (|j: i64| {
                if j < 0 {
                    -j
                } else if j > 4 {
                    8 - j
                } else {
                    j
                }
            }) as fn(i64) -> i64,
        ),
        ("replicate", |j: i64| j.clamp(0, 4)),
    ] {
        let expected = Numbers::of(&[2, 9], |p| x.at(&[p[0], inside(p[1] as i64 - 3) as usize]));
        let (name, given) = pad("pad.default", &[3, 1], mode, 0.0);
        same(name, &given, &[expected]);
    }
    let refusal = |pairs: &[i64], mode, why| {
        let (name, given) = pad("pad.default", pairs, mode, 0.0);
        refused(name, &given, why);
    };
    refusal(&[1, 2, 3], "constant", "pad = [1, 2, 3] of 2 axes");
    refusal(&[1, 1, 1, 1, 1, 1], "constant", "of 2 axes");
    refusal(&[-2, -3], "constant", "nothing is left of axis 1");
    refusal(&[1, 1], "circular", "mode \"circular\" has no rule");
}

#[test]
fn entries_move_round_and_turn_round() {
    let x = Numbers::normal("x", &[3, 4]);
    let roll =
        |shifts: &[i64], axes: &[i64]| of(&x, &[("shifts", ints(shifts)), ("dims", ints(axes))]);
    let rolled = Numbers::of(&[3, 4], |p| x.at(&[(p[0] + 1) % 3, (p[1] + 1) % 4]));
    same("roll.default", &roll(&[2, -1], &[0, 1]), &[rolled]);
    let rolled = Numbers::of(&[3, 4], |p| x.at(&[p[0], (p[1] + 3) % 4]));
    same("roll.default", &roll(&[1], &[-1]), &[rolled]);
    let flat = Numbers::of(&[3, 4], |p| x.numbers[(4 * p[0] + p[1] + 12 - 5) % 12]);
    same("roll.default", &of(&x, &[("shifts", ints(&[5]))]), &[flat]);
    let turned = Numbers::of(&[3, 4], |p| x.at(&[2 - p[0], 3 - p[1]]));
    same("flip.default", &of(&x, &[("dims", ints(&[0, -1]))]), &[turned]);
}
