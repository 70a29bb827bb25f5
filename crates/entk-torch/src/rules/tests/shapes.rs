//! Shapes and orders of axes.

use super::{Arguments, Numbers, ints, refused, same};
use crate::trace::call::Bound::Int;

/// The result has the entries of x in order.
fn keeps(operation: &str, x: &Numbers, more: Arguments<'_>, shape: &[usize]) {
    let expected = Numbers::given(shape, &x.numbers);
    same(operation, &[&[("self", x.real())], more].concat(), &[expected]);
}

/// Axis k of the result is axis `order[k]` of x.
fn turned(x: &Numbers, order: &[usize]) -> Numbers {
    let shape: Vec<usize> = order.iter().map(|axis| x.shape[*axis]).collect();
    Numbers::of(&shape, |place| {
        let mut from = vec![0; order.len()];
        order.iter().zip(place).for_each(|(axis, index)| from[*axis] = *index);
        x.at(&from)
    })
}

fn turns(operation: &str, x: &Numbers, more: Arguments<'_>, order: &[usize]) {
    same(operation, &[&[("self", x.real())], more].concat(), &[turned(x, order)]);
}

#[test]
fn entries_keep_their_order_in_another_shape() {
    let x = Numbers::normal("x", &[2, 3, 4]);
    let like = Numbers::normal("like", &[4, 6]);
    keeps("view.default", &x, &[("size", ints(&[6, 4]))], &[6, 4]);
    keeps("_unsafe_view.default", &x, &[("size", ints(&[-1, 2]))], &[12, 2]);
    keeps("reshape.default", &x, &[("shape", ints(&[2, -1, 1]))], &[2, 12, 1]);
    keeps("view_as.default", &x, &[("other", like.whole())], &[4, 6]);
    keeps("reshape_as.default", &x, &[("other", like.whole())], &[4, 6]);
    keeps("flatten.using_ints", &x, &[], &[24]);
    keeps("flatten.using_ints", &x, &[("start_dim", Int(1))], &[2, 12]);
    keeps("flatten.using_ints", &x, &[("start_dim", Int(0)), ("end_dim", Int(-2))], &[6, 4]);
    keeps("flatten.using_ints", &x, &[("start_dim", Int(1)), ("end_dim", Int(1))], &[2, 3, 4]);
    keeps("unflatten.int", &x, &[("dim", Int(2)), ("sizes", ints(&[2, -1]))], &[2, 3, 2, 2]);
    keeps("unflatten.int", &x, &[("dim", Int(0)), ("sizes", ints(&[1, 2]))], &[1, 2, 3, 4]);
    keeps("unsqueeze.default", &x, &[("dim", Int(-1))], &[2, 3, 4, 1]);
    keeps("unsqueeze.default", &x, &[("dim", Int(1))], &[2, 1, 3, 4]);
    let of = |name, sizes: &[i64]| [("self", x.real()), (name, ints(sizes))];
    refused("view.default", &of("size", &[-1, -1]), "is no shape of 24 entries");
    refused("view.default", &of("size", &[-2, 12]), "is no shape of 24 entries");
    refused("view.default", &of("size", &[5, -1]), "is no shape of 24 entries");
    refused("reshape.default", &of("shape", &[4, 5]), "is no shape of 24 entries");
    let behind = [("self", x.real()), ("start_dim", Int(2)), ("end_dim", Int(1))];
    refused("flatten.using_ints", &behind, "start_dim 2 behind end_dim 1");
    let beyond = [("self", x.real()), ("start_dim", Int(0)), ("end_dim", Int(3))];
    refused("flatten.using_ints", &beyond, "axis 3 of a tensor of 3 axes");
}

#[test]
fn one_number_without_axes_is_a_vector_of_one() {
    keeps("flatten.using_ints", &Numbers::given(&[], &[2.5]), &[], &[1]);
}

#[test]
fn axes_of_length_one_alone_are_squeezed() {
    let x = Numbers::normal("x", &[1, 3, 1, 2]);
    keeps("squeeze.default", &x, &[], &[3, 2]);
    keeps("squeeze.dim", &x, &[("dim", Int(0))], &[3, 1, 2]);
    keeps("squeeze.dim", &x, &[("dim", Int(-2))], &[1, 3, 2]);
    keeps("squeeze.dim", &x, &[("dim", Int(1))], &[1, 3, 1, 2]);
    keeps("squeeze.dims", &x, &[("dim", ints(&[0, 2]))], &[3, 2]);
    keeps("squeeze.dims", &x, &[("dim", ints(&[1, 2]))], &[1, 3, 2]);
}

#[test]
fn axes_change_places() {
    let x = Numbers::normal("x", &[2, 3, 4]);
    turns("permute.default", &x, &[("dims", ints(&[2, 0, 1]))], &[2, 0, 1]);
    turns("permute.default", &x, &[("dims", ints(&[-2, -1, 0]))], &[1, 2, 0]);
    turns("transpose.int", &x, &[("dim0", Int(0)), ("dim1", Int(-1))], &[2, 1, 0]);
    turns("swapaxes.default", &x, &[("axis0", Int(1)), ("axis1", Int(2))], &[0, 2, 1]);
    turns("numpy_T.default", &x, &[], &[2, 1, 0]);
    let moved = |from: &[i64], to: &[i64]| [("source", ints(from)), ("destination", ints(to))];
    turns("movedim.int", &x, &moved(&[0], &[2]), &[1, 2, 0]);
    turns("movedim.int", &x, &moved(&[-1], &[0]), &[2, 0, 1]);
    turns("movedim.intlist", &x, &moved(&[0, 1], &[0, 2]), &[0, 2, 1]);
    turns("movedim.intlist", &x, &moved(&[0, 1], &[2, 0]), &[1, 2, 0]);
    let twice = [("self", x.real()), ("dims", ints(&[0, 0, 1]))];
    refused("permute.default", &twice, "is no order of 3 axes");
    let twice = [&[("self", x.real())], &moved(&[0, 1], &[2])[..]].concat();
    refused("movedim.intlist", &twice, "moved twice");
    let matrix = Numbers::normal("matrix", &[2, 3]);
    turns("t.default", &matrix, &[], &[1, 0]);
    turns("t.default", &Numbers::normal("vector", &[3]), &[], &[0]);
}

#[test]
fn axes_of_length_one_are_spread_and_all_are_repeated() {
    let x = Numbers::normal("x", &[3, 1]);
    let column = |shape: &[usize]| Numbers::of(shape, |p| x.at(&[p[p.len() - 2], 0]));
    let of = |name, sizes: &[i64]| [("self", x.real()), (name, ints(sizes))];
    same("expand.default", &of("size", &[2, 3, 4]), &[column(&[2, 3, 4])]);
    same("expand.default", &of("size", &[-1, 4]), &[column(&[3, 4])]);
    same("expand.default", &of("size", &[2, -1, -1]), &[column(&[2, 3, 1])]);
    refused("expand.default", &of("size", &[-1, 3, 4]), "expanded to [-1, 3, 4]");
    refused("expand.default", &of("size", &[3]), "expanded to [3]");
    let like = [("self", x.real()), ("other", Numbers::normal("like", &[3, 5]).whole())];
    same("expand_as.default", &like, &[column(&[3, 5])]);

    let y = Numbers::normal("y", &[2, 3]);
    let of = |sizes: &[i64]| [("self", y.real()), ("repeats", ints(sizes))];
    let repeated =
        |shape: &[usize]| Numbers::of(shape, |p| y.at(&[p[p.len() - 2] % 2, p[p.len() - 1] % 3]));
    same("repeat.default", &of(&[3, 2]), &[repeated(&[6, 6])]);
    same("repeat.default", &of(&[2, 1, 2]), &[repeated(&[2, 2, 6])]);
    refused("repeat.default", &of(&[2]), "repeated [2] times");
}
