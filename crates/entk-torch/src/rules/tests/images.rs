//! Convolutions, pooling, interpolation and norms of images and volumes.

use super::{Arguments, Numbers, assert_same, in_a_graph, ints, refused, same, same_known, text};
use crate::trace::call::Bound::{self, Bool, Float, Int};

/// How windows lie on three axes.
#[derive(Clone, Copy)]
struct Windows {
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
}

const PLAIN: Windows = Windows { stride: [1; 3], padding: [0; 3], dilation: [1; 3] };

impl Windows {
    fn outputs(&self, axis: usize, length: usize, taps: usize) -> usize {
        let reach = self.dilation[axis] * (taps - 1) + 1;
        (length + 2 * self.padding[axis] - reach) / self.stride[axis] + 1
    }

    fn place(&self, axis: usize, output: usize, tap: usize) -> i64 {
        let at = output * self.stride[axis] + tap * self.dilation[axis];
        at as i64 - self.padding[axis] as i64
    }
}

/// A convolution over three axes by its sum: x (N, C, D, H, W), weight (F, C / groups, d, h, w).
fn convolved(x: &Numbers, weight: &Numbers, bias: &Numbers, w: Windows, groups: usize) -> Numbers {
    let of = |axis: usize| w.outputs(axis, x.shape[2 + axis], weight.shape[2 + axis]);
    let shape = [x.shape[0], weight.shape[0], of(0), of(1), of(2)];
    let each = weight.shape[0] / groups;
    let taps = &weight.shape[1..];
    Numbers::of(&shape, |p| {
        let terms = Numbers::of(taps, |tap| {
            let channel = p[1] / each * taps[0] + tap[0];
            let [d, h, v] = [0, 1, 2].map(|axis| w.place(axis, p[2 + axis], tap[1 + axis]));
            let entry = x.or_zero(&[p[0] as i64, channel as i64, d, h, v]);
            entry * weight.at(&[p[1], tap[0], tap[1], tap[2], tap[3]])
        });
        terms.numbers.iter().sum::<f64>() + bias.at(&[p[1]])
    })
}

/// Without the axes of length 1 that stand for missing ones behind the channels.
fn lowered(x: &Numbers, axes: usize) -> Numbers {
    let shape = [&x.shape[..2], &x.shape[5 - axes..]].concat();
    Numbers::given(&shape, &x.numbers)
}

fn last(numbers: [usize; 3], axes: usize) -> Bound {
    ints(&numbers[3 - axes..].iter().map(|number| *number as i64).collect::<Vec<_>>())
}

#[test]
fn convolutions_over_one_two_and_three_axes() {
    let wide = Windows { stride: [2, 1, 2], padding: [1, 2, 1], dilation: [2, 1, 2] };
    let tall = Windows { stride: [1, 2, 1], padding: [0, 1, 3], dilation: [1, 2, 1] };
    for windows in [PLAIN, wide, tall] {
        for (axes, groups) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)] {
            for batch in [1, 2] {
                let size = |sizes: [usize; 3]| {
                    [0, 1, 2].map(|axis| if axis < 3 - axes { 1 } else { sizes[axis] })
                };
                let (image, taps) = (size([5, 6, 7]), size([2, 3, 2]));
                let mut w = windows;
                (0..3 - axes).for_each(|axis| {
                    (w.stride[axis], w.padding[axis], w.dilation[axis]) = (1, 0, 1);
                });
                let x = Numbers::normal("x", &[&[batch, 4], &image[..]].concat());
                let weight = Numbers::normal("w", &[&[6, 4 / groups], &taps[..]].concat());
                let bias = Numbers::normal("bias", &[6]);
                let given = [
                    ("input", lowered(&x, axes).real()),
                    ("weight", lowered(&weight, axes).real()),
                    ("bias", bias.real()),
                    ("stride", last(w.stride, axes)),
                    ("padding", last(w.padding, axes)),
                    ("dilation", last(w.dilation, axes)),
                    ("groups", Int(groups as i64)),
                ];
                let expected = lowered(&convolved(&x, &weight, &bias, w, groups), axes);
                same(&format!("conv{axes}d.default"), &given, &[expected]);
            }
        }
    }
}

#[test]
fn volumes_that_no_kernel_fits_are_refused() {
    let (x, weight) =
        (Numbers::normal("x", &[1, 2, 2, 4, 4]), Numbers::normal("w", &[3, 2, 3, 2, 2]));
    let given =
        |more: Arguments<'_>| [&[("input", x.real()), ("weight", weight.real())], more].concat();
    refused("conv3d.default", &given(&[]), "a kernel of 3 frames on [1, 2, 2, 4, 4]");
    refused("conv3d.default", &given(&[("groups", Int(2))]), "groups over three axes");
    let stride = given(&[("padding", Int(1)), ("stride", ints(&[0, 1, 1]))]);
    refused("conv3d.default", &stride, "a kernel of 3 frames");
    let image = [("input", x.real()), ("weight", Numbers::normal("w", &[3, 2, 2, 2]).real())];
    refused("conv3d.default", &image, "a weight of shape [3, 2, 2, 2]");
}

#[test]
fn padding_by_name_puts_an_odd_zero_behind() {
    let (x, weight) =
        (Numbers::normal("x", &[1, 2, 1, 5, 6]), Numbers::normal("w", &[3, 2, 1, 2, 3]));
    let bias = Numbers::given(&[3], &[0.0; 3]);
    let given = |padding: &str, dilation: i64| {
        [
            ("input", lowered(&x, 2).real()),
            ("weight", lowered(&weight, 2).real()),
            ("padding", text(padding)),
            ("dilation", Int(dilation)),
        ]
    };
    let valid = lowered(&convolved(&x, &weight, &bias, PLAIN, 1), 2);
    same("conv2d.padding", &given("valid", 1), &[valid]);
    // Two taps down: one zero in all, behind. Three taps across: one on each side.
    let padded = Numbers::of(&[1, 2, 1, 6, 8], |p| {
        x.or_zero(&[0, p[1] as i64, 0, p[3] as i64, p[4] as i64 - 1])
    });
    same(
        "conv2d.padding",
        &given("same", 1),
        &[lowered(&convolved(&padded, &weight, &bias, PLAIN, 1), 2)],
    );
    let padded = Numbers::of(&[1, 2, 1, 7, 10], |p| {
        x.or_zero(&[0, p[1] as i64, 0, p[3] as i64 - 1, p[4] as i64 - 2])
    });
    let apart = Windows { dilation: [1, 2, 2], ..PLAIN };
    let expected = lowered(&convolved(&padded, &weight, &bias, apart, 1), 2);
    same("conv2d.padding", &given("same", 2), &[expected]);
    refused("conv2d.padding", &given("full", 1), "padding \"full\" is neither same nor valid");
}

#[test]
fn transposed_convolutions_spread_their_entries() {
    let (x, weight) = (Numbers::normal("x", &[2, 4, 3, 4]), Numbers::normal("w", &[4, 3, 2, 3]));
    let (stride, padding, dilation, more) = ([2, 3], [1, 0], [1, 2], [1, 2]);
    for groups in [1, 2] {
        let outputs = |axis: usize| {
            let reach = dilation[axis] * (weight.shape[2 + axis] - 1) + 1;
            (x.shape[2 + axis] - 1) * stride[axis] + reach + more[axis] - 2 * padding[axis]
        };
        let shape = [2, 3 * groups, outputs(0), outputs(1)];
        let expected = Numbers::of(&shape, |p| {
            let group = p[1] / 3;
            let all = Numbers::of(&[4 / groups, 3, 4, 2, 3], |q| {
                let lands = |axis: usize| {
                    q[1 + axis] * stride[axis] + q[3 + axis] * dilation[axis]
                        == p[2 + axis] + padding[axis]
                };
                let channel = group * (4 / groups) + q[0];
                match lands(0) && lands(1) {
                    true => {
                        x.at(&[p[0], channel, q[1], q[2]])
                            * weight.at(&[channel, p[1] % 3, q[3], q[4]])
                    }
                    false => 0.0,
                }
            });
            all.numbers.iter().sum()
        });
        let list = |numbers: [usize; 2]| ints(&numbers.map(|number| number as i64));
        let given = [
            ("input", x.real()),
            ("weight", weight.real()),
            ("stride", list(stride)),
            ("padding", list(padding)),
            ("output_padding", list(more)),
            ("dilation", list(dilation)),
            ("groups", Int(groups as i64)),
        ];
        same("conv_transpose2d.input", &given, &[expected]);
    }
}

/// A number of each window over the last axes, by its entries and how many places it has.
fn pooled(
    x: &Numbers,
    window: [usize; 3],
    w: Windows,
    number: fn(&[f64], usize) -> f64,
) -> Numbers {
    let first = x.shape.len() - 3;
    let of = |axis: usize| w.outputs(axis, x.shape[first + axis], window[axis]);
    let shape = [&x.shape[..first], &[of(0), of(1), of(2)]].concat();
    Numbers::of(&shape, |p| {
        let mut inside = Vec::new();
        Numbers::of(&window, |tap| {
            let at = [0, 1, 2].map(|axis| w.place(axis, p[first + axis], tap[axis]));
            let fits = (0..3).all(|axis| (0..x.shape[first + axis] as i64).contains(&at[axis]));
            if fits {
                inside.push(x.at(&[&p[..first], &at.map(|index| index as usize)].concat()));
            }
            0.0
        });
        number(&inside, window.iter().product())
    })
}

#[test]
fn pooling_over_windows_of_volumes() {
    let x = Numbers::normal("x", &[2, 2, 5, 6, 7]);
    let most = |all: &[f64], _| all.iter().fold(f64::NEG_INFINITY, |most, x| most.max(*x));
    let mean = |all: &[f64], places: usize| all.iter().sum::<f64>() / places as f64;
    let own = |all: &[f64], _| all.iter().sum::<f64>() / all.len() as f64;
    let given = |list: [[i64; 3]; 3], more: Arguments<'_>| {
        let [window, stride, padding] = list.map(|list| ints(&list));
        let all =
            [("self", x.real()), ("kernel_size", window), ("stride", stride), ("padding", padding)];
        [&all, more].concat()
    };
    let lists = [[2, 3, 2], [1, 2, 3], [1, 1, 0]];
    let windows = Windows { stride: [1, 2, 3], padding: [1, 1, 0], dilation: [1; 3] };
    same("avg_pool3d.default", &given(lists, &[]), &[pooled(&x, [2, 3, 2], windows, mean)]);
    let without = given(lists, &[("count_include_pad", Bool(false))]);
    same("avg_pool3d.default", &without, &[pooled(&x, [2, 3, 2], windows, own)]);
    same("max_pool3d.default", &given(lists, &[]), &[pooled(&x, [2, 3, 2], windows, most)]);
    let apart = Windows { dilation: [2, 1, 3], ..windows };
    let dilated = given(lists, &[("dilation", ints(&[2, 1, 3]))]);
    same("max_pool3d.default", &dilated, &[pooled(&x, [2, 3, 2], apart, most)]);
    // Without strides, windows stand side by side.
    let beside = Windows { stride: [2, 3, 2], ..PLAIN };
    let given = [("self", x.real()), ("kernel_size", ints(&[2, 3, 2]))];
    same("max_pool3d.default", &given, &[pooled(&x, [2, 3, 2], beside, most)]);
    let image = [("self", Numbers::normal("x", &[4, 4]).real()), ("kernel_size", Int(2))];
    refused("max_pool3d.default", &image, "takes (.., D, H, W), got [4, 4]");
}

#[test]
fn pooling_to_a_size_and_interpolation() {
    let x = Numbers::normal("x", &[2, 2, 5, 6]);
    let mean = |p: &[usize], rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
        let count = (rows.len() * columns.len()) as f64;
        let row = |i| columns.clone().map(move |j| (i, j));
        rows.flat_map(row).map(|(i, j)| x.at(&[p[0], p[1], i, j])).sum::<f64>() / count
    };
    let given = |size: &[i64]| [("self", x.real()), ("output_size", ints(size))];
    let all = Numbers::of(&[2, 2, 1, 1], |p| mean(p, 0..5, 0..6));
    same("adaptive_avg_pool2d.default", &given(&[1, 1]), &[all]);
    let range =
        |at: usize, of: usize, length: usize| at * length / of..((at + 1) * length).div_ceil(of);
    let parts = Numbers::of(&[2, 2, 2, 4], |p| mean(p, range(p[2], 2, 5), range(p[3], 4, 6)));
    same("adaptive_avg_pool2d.default", &given(&[2, 4]), &[parts]);

    let nearest = Numbers::of(&[2, 2, 10, 9], |p| x.at(&[p[0], p[1], p[2] / 2, p[3] * 6 / 9]));
    let to = [("input", x.real()), ("output_size", ints(&[10, 9]))];
    same("upsample_nearest2d.vec", &to, std::slice::from_ref(&nearest));
    let by = [("input", x.real()), ("scale_factors", Bound::Floats(vec![2.0, 1.5]))];
    same("upsample_nearest2d.vec", &by, &[nearest]);
    refused("upsample_nearest2d.vec", &to[..1], "needs sizes or factors");
    refused("upsample_nearest2d.vec", &[&to[..], &by[1..]].concat(), "needs sizes or factors");
    let few = [("input", x.real()), ("scale_factors", Bound::Floats(vec![2.0]))];
    refused("upsample_nearest2d.vec", &few, "is not one factor an axis");

    let line = Numbers::normal("line", &[1, 1, 3]);
    for (align, places) in
        [(true, [0.0_f64, 0.5, 1.0, 1.5, 2.0]), (false, [0.0, 0.4, 1.0, 1.6, 2.0])]
    {
        let linear = Numbers::of(&[1, 1, 5], |p| {
            let (low, rest) = (places[p[2]] as usize, places[p[2]].fract());
            let high = (low + 1).min(2);
            (1.0 - rest) * line.at(&[0, 0, low]) + rest * line.at(&[0, 0, high])
        });
        let given =
            [("input", line.real()), ("output_size", ints(&[5])), ("align_corners", Bool(align))];
        same("upsample_linear1d.vec", &given, &[linear]);
    }
}

#[test]
fn norms_by_their_definition() {
    let x = Numbers::normal("x", &[2, 4, 3]);
    let (weight, bias) = (Numbers::normal("w", &[4]), Numbers::normal("b", &[4]));
    let eps = 0.25;
    let standard = |p: &[usize], same: &dyn Fn(&[usize]) -> bool| {
        let mut met = Vec::new();
        Numbers::of(&x.shape, |q| {
            met.extend(same(q).then(|| x.at(q)));
            0.0
        });
        let mean = met.iter().sum::<f64>() / met.len() as f64;
        let variance = met.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / met.len() as f64;
        (x.at(p) - mean) / (variance + eps).sqrt()
    };
    let given = |more: Arguments<'_>| {
        let all = [
            ("input", x.real()),
            ("weight", weight.real()),
            ("bias", bias.real()),
            ("eps", Float(eps)),
        ];
        [&all, more].concat()
    };
    let groups = Numbers::of(&[2, 4, 3], |p| {
        let same = |q: &[usize]| q[0] == p[0] && q[1] / 2 == p[1] / 2;
        standard(p, &same) * weight.at(&p[1..2]) + bias.at(&p[1..2])
    });
    same("group_norm.default", &given(&[("num_groups", Int(2))]), &[groups]);
    let instances = Numbers::of(&[2, 4, 3], |p| {
        let same = |q: &[usize]| q[..2] == p[..2];
        standard(p, &same) * weight.at(&p[1..2]) + bias.at(&p[1..2])
    });
    same("instance_norm.default", &given(&[("use_input_stats", Bool(true))]), &[instances]);
    refused(
        "instance_norm.default",
        &given(&[("use_input_stats", Bool(false))]),
        "running statistics",
    );

    let (mean, variance) = (Numbers::normal("m", &[4]), Numbers::normal("v", &[4]).map(f64::exp));
    let running = [
        ("running_mean", mean.real()),
        ("running_var", variance.real()),
        ("training", Bool(false)),
    ];
    let of = |p: &[usize], eps: f64| {
        let c = &p[1..2];
        (x.at(p) - mean.at(c)) / (variance.at(c) + eps).sqrt() * weight.at(c) + bias.at(c)
    };
    same_known("batch_norm.default", &given(&running), &[Numbers::of(&[2, 4, 3], |p| of(p, eps))]);
    let usual = [&given(&running)[..3], &running, &[("eps", Float(1e-5))]].concat();
    let found = in_a_graph("batch_norm.default", &usual, 0).expect("a rule").expect("an input");
    assert_same("batch norm", &found, &[Numbers::of(&[2, 4, 3], |p| of(p, 1e-5))]);
    let training = [&running[..2], &[("training", Bool(true))]].concat();
    refused("batch_norm.default", &given(&training), "by the statistics of the batch");
    refused(
        "batch_norm.default",
        &given(&[("training", Bool(true))]),
        "by the statistics of the batch",
    );
}
