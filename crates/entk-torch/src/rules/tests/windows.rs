//! Windows side by side, pixels as channels, channels in another order, and entries repeated.

use super::{Numbers, ints, reals, refused, same, text};
use crate::trace::call::Bound::Int;

#[test]
fn windows_of_an_axis_have_one_of_their_own() {
    let x = Numbers::normal("x", &[2, 7, 2]);
    let unfold = |size, step| {
        let of = [("dimension", Int(1)), ("size", Int(size)), ("step", Int(step))];
        [&[("self", x.real())], &of[..]].concat()
    };
    let windows = |count, size, step| {
        Numbers::of(&[2, count, 2, size], |p| x.at(&[p[0], p[1] * step + p[3], p[2]]))
    };
    same("unfold.default", &unfold(3, 2), &[windows(3, 3, 2)]);
    same("unfold.default", &unfold(2, 4), &[windows(2, 2, 4)]);
    same("unfold.default", &unfold(7, 1), &[windows(1, 7, 1)]);
    refused("unfold.default", &unfold(8, 1), "windows of 8 in steps of 1 of 7");
    refused("unfold.default", &unfold(0, 1), "windows of 0");
    refused("unfold.default", &unfold(2, 0), "in steps of 0");
}

#[test]
fn windows_of_images_are_columns() {
    let x = Numbers::normal("x", &[2, 2, 5, 6]);
    // Rows from -1 in steps of 2, two taps side by side; columns in steps of 1, three taps two
    // apart.
    let (rows, columns) = (3, 2);
    let columns_of = Numbers::of(&[2, 12, rows * columns], |p| {
        let (channel, tap) = (p[1] / 6, p[1] % 6);
        let row = (p[2] / columns * 2 + tap / 3) as i64 - 1;
        let column = (p[2] % columns + tap % 3 * 2) as i64;
        x.or_zero(&[p[0] as i64, channel as i64, row, column])
    });
    let given = [
        ("self", x.real()),
        ("kernel_size", ints(&[2, 3])),
        ("stride", ints(&[2, 1])),
        ("padding", ints(&[1, 0])),
        ("dilation", ints(&[1, 2])),
    ];
    same("im2col.default", &given, &[columns_of]);
    let flat = [("self", Numbers::normal("x", &[5, 6]).real()), ("kernel_size", ints(&[2, 2]))];
    refused("im2col.default", &flat, "takes (.., C, H, W), got [5, 6]");
}

#[test]
fn pixels_of_blocks_are_channels_and_channels_are_pixels() {
    let x = Numbers::normal("x", &[2, 3, 4, 6]);
    let channels = Numbers::of(&[2, 12, 2, 3], |p| {
        let (channel, down, right) = (p[1] / 4, p[1] / 2 % 2, p[1] % 2);
        x.at(&[p[0], channel, 2 * p[2] + down, 2 * p[3] + right])
    });
    let of = |x: &Numbers, name, factor| [("self", x.real()), (name, Int(factor))];
    same(
        "pixel_unshuffle.default",
        &of(&x, "downscale_factor", 2),
        std::slice::from_ref(&channels),
    );
    same("pixel_shuffle.default", &of(&channels, "upscale_factor", 2), &[x]);
    let flat = Numbers::normal("x", &[4, 6]);
    refused("pixel_unshuffle.default", &of(&flat, "downscale_factor", 2), "takes (.., C, H, W)");
    refused("pixel_shuffle.default", &of(&flat, "upscale_factor", 2), "takes (.., C, H, W)");
}

#[test]
fn channels_of_groups_come_one_by_one() {
    let x = Numbers::normal("x", &[2, 6, 2, 2]);
    let groups = 2;
    let expected = Numbers::of(&[2, 6, 2, 2], |p| {
        x.at(&[p[0], p[1] % groups * (6 / groups) + p[1] / groups, p[2], p[3]])
    });
    let given = [("self", x.real()), ("groups", Int(groups as i64))];
    same("channel_shuffle.default", &given, std::slice::from_ref(&expected));
    same("native_channel_shuffle.default", &given, &[expected]);
    let vector = [("self", Numbers::normal("x", &[6]).real()), ("groups", Int(2))];
    refused("channel_shuffle.default", &vector, "takes (N, C, ..), got [6]");
}

#[test]
fn entries_are_repeated_one_by_one_and_whole() {
    let x = Numbers::normal("x", &[2, 3]);
    let given = |axis: &[i64]| [("self", x.real()), ("repeats", Int(3)), ("dim", ints(axis))];
    let columns = Numbers::of(&[2, 9], |p| x.at(&[p[0], p[1] / 3]));
    same(
        "repeat_interleave.self_int",
        &[("self", x.real()), ("repeats", Int(3)), ("dim", Int(1))],
        &[columns],
    );
    let rows = Numbers::of(&[6, 3], |p| x.at(&[p[0] / 3, p[1]]));
    let by_row = [("self", x.real()), ("repeats", Int(3)), ("dim", Int(0))];
    same("repeat_interleave.self_int", &by_row, &[rows]);
    let flat = Numbers::of(&[18], |p| x.numbers[p[0] / 3]);
    same("repeat_interleave.self_int", &given(&[])[..2], &[flat]);
    let tiled =
        |shape: &[usize]| Numbers::of(shape, |p| x.at(&[p[p.len() - 2] % 2, p[p.len() - 1] % 3]));
    let times = |dims: &[i64]| [("self", x.real()), ("dims", ints(dims))];
    same("tile.default", &times(&[2, 1, 3]), &[tiled(&[2, 2, 9])]);
    same("tile.default", &times(&[2]), &[tiled(&[2, 6])]);
}

#[test]
fn vectors_are_spread_along_axes_of_their_own() {
    let all = [("a", 2), ("b", 3), ("c", 4)].map(|(name, size)| Numbers::normal(name, &[size]));
    let [a, b, c] = &all;
    let given = [("tensors", reals(&[a, b, c]))];
    let along = |vector: &Numbers, shape: &[usize], axis: usize| {
        Numbers::of(shape, |p| vector.at(&[p[axis]]))
    };
    let by = |shape: [usize; 3], axes: [usize; 3]| {
        [along(a, &shape, axes[0]), along(b, &shape, axes[1]), along(c, &shape, axes[2])]
    };
    same("meshgrid.default", &given, &by([2, 3, 4], [0, 1, 2]));
    let with = |indexing| [given[0].clone(), ("indexing", text(indexing))];
    same("meshgrid.indexing", &with("ij"), &by([2, 3, 4], [0, 1, 2]));
    same("meshgrid.indexing", &with("xy"), &by([3, 2, 4], [1, 0, 2]));
    let alone = [("tensors", reals(&[a])), ("indexing", text("xy"))];
    same("meshgrid.indexing", &alone, std::slice::from_ref(a));
}
