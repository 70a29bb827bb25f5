//! Comparisons, truth values, whole numbers, tensors made of nothing, and conversions of kinds.

use super::{Arguments, Numbers, for_one, ints, known, refused, same, same_known, text};
use crate::{
    archive::Elements,
    trace::call::Bound::{self, Bool, ElementType, Float, Int},
};

fn kind(operation: &str, arguments: Arguments<'_>) -> Elements {
    known(operation, arguments).unwrap_or_else(|error| panic!("{operation}: {error:?}"))[0].elements
}

#[test]
fn comparisons_are_truths() {
    let (a, b) = (Numbers::given(&[3], &[1.0, 2.0, 3.0]), Numbers::given(&[3], &[2.0, 2.0, 2.0]));
    for (name, expected) in [
        ("eq", [0.0, 1.0, 0.0]),
        ("ne", [1.0, 0.0, 1.0]),
        ("lt", [1.0, 0.0, 0.0]),
        ("le", [1.0, 1.0, 0.0]),
        ("gt", [0.0, 0.0, 1.0]),
        ("ge", [0.0, 1.0, 1.0]),
    ] {
        let expected = [Numbers::given(&[3], &expected)];
        let tensors = [("self", a.real()), ("other", b.real())];
        same_known(&format!("{name}.Tensor"), &tensors, &expected);
        same_known(&format!("{name}.Scalar"), &[("self", a.real()), ("other", Int(2))], &expected);
        assert_eq!(kind(&format!("{name}.Tensor"), &tensors), Elements::Truth);
    }
}

#[test]
fn truths_are_joined_and_turned_and_numbers_are_refused() {
    let a = Numbers::given(&[4], &[0.0, 0.0, 1.0, 1.0]);
    let b = Numbers::given(&[4], &[0.0, 1.0, 0.0, 1.0]);
    let both = [("self", a.truth()), ("other", b.truth())];
    for name in ["__and__.Tensor", "logical_and.default", "bitwise_and.Tensor"] {
        same_known(name, &both, &[Numbers::given(&[4], &[0.0, 0.0, 0.0, 1.0])]);
        for numbers in [
            [("self", a.whole()), ("other", b.truth())],
            [("self", a.truth()), ("other", b.whole())],
        ] {
            refused(name, &numbers, "takes truth values alone");
        }
    }
    for name in ["__or__.Tensor", "logical_or.default", "bitwise_or.Tensor"] {
        same_known(name, &both, &[Numbers::given(&[4], &[0.0, 1.0, 1.0, 1.0])]);
    }
    for name in ["logical_not.default", "bitwise_not.default"] {
        same_known(name, &both[..1], &[Numbers::given(&[4], &[1.0, 1.0, 0.0, 0.0])]);
        refused(name, &[("self", a.whole())], "takes truth values alone");
    }
}

#[test]
fn quotients_are_rounded_as_their_operation_says() {
    let x = Numbers::given(&[4], &[7.0, -7.0, 7.5, -7.5]);
    for (operation, mode, expected) in [
        ("floor_divide.default", None, [2.0, -3.0, 2.0, -3.0]),
        ("div.Scalar_mode", Some("floor"), [2.0, -3.0, 2.0, -3.0]),
        ("div.Scalar_mode", Some("trunc"), [2.0, -2.0, 2.0, -2.0]),
        ("div.Tensor_mode", None, [7.0 / 3.0, -7.0 / 3.0, 2.5, -2.5]),
        ("remainder.Scalar", None, [1.0, 2.0, 1.5, 1.5]),
        ("fmod.Scalar", None, [1.0, -1.0, 1.5, -1.5]),
    ] {
        let mode = mode.map(|mode| ("rounding_mode", text(mode)));
        let given = [&[("self", x.real()), ("other", Int(3))], mode.as_slice()].concat();
        same(operation, &given, &[Numbers::given(&[4], &expected)]);
    }
    let by = Numbers::given(&[4], &[2.0, 2.0, -2.0, -2.0]);
    let both = [("self", x.real()), ("other", by.real())];
    same("remainder.Tensor", &both, &[Numbers::given(&[4], &[1.0, 1.0, -0.5, -1.5])]);
    assert_eq!(
        kind("floor_divide.default", &[("self", x.whole()), ("other", Int(3))]),
        Elements::Whole
    );
}

#[test]
fn numbers_in_steps() {
    let three = |start, end, step| [("start", start), ("end", end), ("step", step)];
    for (given, expected) in [
        (three(Int(2), Int(11), Int(3)), vec![2.0, 5.0, 8.0]),
        (three(Int(2), Int(12), Int(3)), vec![2.0, 5.0, 8.0, 11.0]),
        (three(Int(5), Int(-1), Int(-2)), vec![5.0, 3.0, 1.0]),
        (three(Float(0.5), Int(2), Float(0.5)), vec![0.5, 1.0, 1.5]),
    ] {
        let expected = Numbers::given(&[expected.len()], &expected);
        same_known("arange.start_step", &given, &[expected]);
    }
    same_known(
        "arange.start",
        &[("start", Int(3)), ("end", Int(5))],
        &[Numbers::given(&[2], &[3.0, 4.0])],
    );
    same_known("arange.default", &[("end", Int(2))], &[Numbers::given(&[2], &[0.0, 1.0])]);
    assert_eq!(kind("arange.default", &[("end", Int(2))]), Elements::Whole);
    assert_eq!(kind("arange.default", &[("end", Float(2.5))]), Elements::Real);
    assert_eq!(
        kind("arange.default", &[("end", Int(2)), ("dtype", ElementType(8))]),
        Elements::Real
    );
    refused("arange.start", &[("start", Int(3)), ("end", Int(3))], "numbers from 3 to 3");
    refused("arange.start_step", &three(Int(0), Int(3), Int(-1)), "in steps of -1");
    refused("arange.start_step", &three(Int(0), Int(3), Int(0)), "");
    let given = |steps| [("start", Float(1.0)), ("end", Float(2.0)), ("steps", Int(steps))];
    let numbers = Numbers::given(&[5], &[1.0, 1.25, 1.5, 1.75, 2.0]);
    same_known("linspace.default", &given(5), &[numbers]);
    same_known("linspace.default", &given(1), &[Numbers::given(&[1], &[1.0])]);
}

#[test]
fn tensors_made_of_nothing() {
    let size = ("size", ints(&[2, 3]));
    let filled = |number: f64| [Numbers::given(&[2, 3], &[number; 6])];
    same_known("zeros.default", std::slice::from_ref(&size), &filled(0.0));
    same_known("ones.default", std::slice::from_ref(&size), &filled(1.0));
    let with = |number| [size.clone(), ("fill_value", number)];
    same_known("full.default", &with(Float(2.5)), &filled(2.5));
    let like = Numbers::normal("like", &[2, 3]);
    for (operation, more, number) in [
        ("new_zeros.default", vec![size.clone()], 0.0),
        ("new_ones.default", vec![size.clone()], 1.0),
        ("new_full.default", with(Int(7)).to_vec(), 7.0),
        ("zeros_like.default", vec![], 0.0),
        ("ones_like.default", vec![], 1.0),
        ("full_like.default", vec![("fill_value", Float(-3.0))], -3.0),
    ] {
        let given = |like: Bound| [&[("self", like)], more.as_slice()].concat();
        same_known(operation, &given(like.real()), &filled(number));
        assert_eq!(kind(operation, &given(like.whole())), Elements::Whole, "{operation}");
    }
    assert_eq!(kind("full.default", &with(Int(1))), Elements::Whole);
    assert_eq!(kind("full.default", &with(Bool(true))), Elements::Truth);
    same_known("scalar_tensor.default", &[("s", Float(1.5))], &[Numbers::given(&[], &[1.5])]);
    let nothing = [size.clone(), ("fill_value", Numbers::given(&[0], &[]).real())];
    refused("full.default", &nothing, "fills with nothing");
    refused("zeros.default", &[("size", ints(&[-2, 3]))], "no sizes from 0 on");
    refused("zeros.default", &[("size", ints(&[1 << 14, 1 << 14]))], "of at most");
    let undefined = known("empty.memory_format", &[size]).expect("numbers");
    assert!(undefined[0].known("").expect("numbers").iter().all(|number| number.is_nan()));
}

#[test]
fn diagonals_and_triangles_of_matrices_that_are_not_square() {
    let diagonal =
        |rows, columns| [Numbers::of(&[rows, columns], |p| if p[0] == p[1] { 1.0 } else { 0.0 })];
    same_known("eye.default", &[("n", Int(3))], &diagonal(3, 3));
    same_known("eye.m", &[("n", Int(2)), ("m", Int(4))], &diagonal(2, 4));
    let x = Numbers::normal("x", &[2, 3, 5]);
    for shift in [-2, -1, 0, 1, 3] {
        for (operation, keeps) in [
            ("tril.default", (|beside: i64, shift: i64| beside <= shift) as fn(i64, i64) -> bool),
            ("triu.default", |beside, shift| beside >= shift),
        ] {
            let expected = Numbers::of(&[2, 3, 5], |p| {
                if keeps(p[2] as i64 - p[1] as i64, shift) { x.at(p) } else { 0.0 }
            });
            same(operation, &[("self", x.real()), ("diagonal", Int(shift))], &[expected]);
        }
    }
    refused("tril.default", &[("self", Numbers::normal("x", &[3]).real())], "a triangle of [3]");
}

#[test]
fn numbers_of_another_kind() {
    let x = Numbers::given(&[5], &[-1.5, -0.5, 0.0, 0.5, 2.5]);
    let to = |code| [("self", x.real()), ("dtype", ElementType(code))];
    same_known("to.dtype", &to(5), &[Numbers::given(&[5], &[-1.0, 0.0, 0.0, 0.0, 2.0])]);
    same_known("_to_copy.default", &to(12), &[Numbers::given(&[5], &[1.0, 1.0, 0.0, 1.0, 1.0])]);
    assert_eq!(kind("to.dtype", &to(5)), Elements::Whole);
    assert_eq!(kind("to.dtype", &to(12)), Elements::Truth);
    same_known("to.device", &[("self", x.real())], std::slice::from_ref(&x));
    let whole = Numbers::given(&[3], &[0.0, 2.0, 3.0]);
    let truths = [Numbers::given(&[3], &[0.0, 1.0, 1.0])];
    same_known("to.dtype", &[("self", whole.whole()), ("dtype", ElementType(12))], &truths);
    let like = [("self", whole.whole()), ("other", x.real())];
    same_known("type_as.default", &like, &[whole]);
    assert_eq!(kind("type_as.default", &like), Elements::Real);
    refused("to.dtype", &to(10), "element type of code 10 is not known");
}

#[test]
fn a_batch_that_is_written_into_shapes_becomes_one() {
    assert_eq!(for_one("zeros.default", &[("size", ints(&[4, 3]))], None), [1, 3]);
    assert_eq!(for_one("zeros.default", &[("size", ints(&[3, 4, 4]))], None), [3, 1, 4]);
    assert_eq!(for_one("zeros.default", &[("size", ints(&[2, 3]))], None), [2, 3]);
    let x = Numbers::normal("x", &[1, 6]);
    let of = |sizes: &[i64]| [("self", x.real()), ("size", ints(sizes))];
    assert_eq!(for_one("expand.default", &of(&[4, 6]), None), [1, 6]);
    assert_eq!(for_one("expand.default", &of(&[4, 4, 6]), None), [1, 4, 6]);
    assert_eq!(for_one("view.default", &of(&[8, 3]), Some(&[8, 3])), [2, 3]);
    assert_eq!(for_one("view.default", &of(&[3, 8]), Some(&[3, 8])), [3, 2]);
    // What does not have the entries of the whole batch is left as it is.
    assert_eq!(for_one("view.default", &of(&[3, 2]), Some(&[3, 2])), [3, 2]);
}
