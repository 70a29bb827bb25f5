//! Known answers of the kernels around the products of a convolution: patches, their transpose,
//! transposes of matrices, the bias.

use crate::{
    geometry::Geometry,
    launch::{Launch, kernels::ImageSizes},
    self_test::known_answers::{Answer, Question, numbers},
};

/// Every pair of a patch entry and the image entry that it is a copy of.
fn pairs(g: &Geometry, batch: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for pixel in 0..batch * g.output_pixels() {
        let (n, at) = (pixel / g.output_pixels(), pixel % g.output_pixels());
        for entry in 0..g.patch() {
            let plane = n * g.channels + entry / g.taps();
            if let Some(from) = g.input_pixel(at, entry % g.taps()) {
                pairs.push((pixel * g.patch() + entry, plane * g.input_pixels() + from));
            }
        }
    }
    pairs
}

fn patches((g, batch): &(Geometry, usize)) -> [Question; 2] {
    let pairs = pairs(g, *batch);
    let launch = Launch::patches(g, *batch);
    let images = numbers(launch.inputs()[0], 50);
    let mut rows = vec![0.0; launch.output()];
    pairs.iter().for_each(|(entry, pixel)| rows[*entry] = images[*pixel]);
    // A copy is exact.
    let there = Question::new(launch, vec![images], 0, |i, _| Answer::of(rows[i]));
    let launch = Launch::patches_transposed(g, *batch);
    let rows = numbers(launch.inputs()[0], 51);
    let mut sums = vec![Vec::new(); launch.output()];
    pairs.iter().for_each(|(entry, pixel)| sums[*pixel].push(rows[*entry]));
    let terms = g.taps();
    let back =
        Question::new(launch, vec![rows], terms, |i, _| Answer::sum(sums[i].iter().copied()));
    [there, back]
}

fn transpose(batch: usize, rows: usize, columns: usize) -> Question {
    let launch = Launch::transpose(batch, rows, columns);
    let inputs = vec![numbers(launch.output(), 52)];
    Question::new(launch, inputs, 0, |i, inputs| {
        let (n, column, row) = (i / (rows * columns), i / rows % columns, i % rows);
        Answer::of(inputs[0][(n * rows + row) * columns + column])
    })
}

fn add_bias(sizes: ImageSizes) -> Question {
    let inputs = vec![numbers(sizes.len(), 53), numbers(sizes.channels, 54)];
    Question::new(Launch::add_bias(sizes), inputs, 1, |i, inputs| {
        Answer::sum([inputs[0][i], inputs[1][i / sizes.pixels % sizes.channels]])
    })
}

pub(super) fn answers() -> Vec<Question> {
    let same = (
        Geometry {
            filters: 1,
            channels: 3,
            input: [5, 7],
            output: [5, 7],
            kernel: [3, 3],
            stride: [1, 1],
            before: [1, 1],
            dilation: [1, 1],
        },
        2,
    );
    let strided = (
        Geometry {
            filters: 1,
            channels: 2,
            input: [8, 6],
            output: [4, 2],
            kernel: [3, 5],
            stride: [2, 3],
            before: [0, 2],
            dilation: [1, 1],
        },
        3,
    );
    // Windows that leave pixels out, and a kernel of one pixel.
    let point = (
        Geometry {
            filters: 1,
            channels: 4,
            input: [7, 5],
            output: [4, 3],
            kernel: [1, 1],
            stride: [2, 2],
            before: [0, 0],
            dilation: [1, 1],
        },
        2,
    );
    let dilated = (
        Geometry {
            filters: 1,
            channels: 2,
            input: [8, 7],
            output: [3, 5],
            kernel: [3, 2],
            stride: [2, 1],
            before: [2, 0],
            dilation: [3, 2],
        },
        2,
    );
    let mut answers: Vec<_> = [same, strided, point, dilated].iter().flat_map(patches).collect();
    answers.push(transpose(3, 4, 7));
    answers.push(add_bias(ImageSizes { batch: 2, channels: 5, pixels: 6 }));
    answers
}
