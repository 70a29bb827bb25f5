use crate::{
    launch::{
        Launch,
        kernels::{ImageSizes, PatchSizes},
    },
    self_test::known_answers::{Answer, Question, numbers},
};

/// The pixel of the image that tap (di, dj) of output pixel (y, x) reads, if it is inside.
fn source(s: &PatchSizes, [y, x]: [usize; 2], [di, dj]: [usize; 2]) -> Option<[usize; 2]> {
    let row = (y * s.stride[0] + di).checked_sub(s.before[0])?;
    let column = (x * s.stride[1] + dj).checked_sub(s.before[1])?;
    (row < s.input[0] && column < s.input[1]).then_some([row, column])
}

/// Every pair (entry of the patches, entry of the images) that belongs together.
fn pairs(s: &PatchSizes) -> Vec<(usize, usize)> {
    let ([h, w], [oh, ow], [kh, kw]) = (s.input, s.output, s.kernel);
    let mut pairs = Vec::new();
    let mut entry = 0;
    for n in 0..s.batch {
        for pixel in 0..oh * ow {
            for channel in 0..s.channels {
                for tap in 0..kh * kw {
                    let at = source(s, [pixel / ow, pixel % ow], [tap / kw, tap % kw]);
                    if let Some([row, column]) = at {
                        pairs.push((entry, ((n * s.channels + channel) * h + row) * w + column));
                    }
                    entry += 1;
                }
            }
        }
    }
    pairs
}

fn patches(s: &PatchSizes) -> [Question; 2] {
    let pairs = pairs(s);
    let launch = Launch::patches(s);
    let images = numbers(launch.inputs()[0], 50);
    let mut rows = vec![0.0; launch.output()];
    pairs.iter().for_each(|(entry, pixel)| rows[*entry] = images[*pixel]);
    // A copy is exact.
    let there = Question::new(launch, vec![images], 0, |i, _| Answer::of(rows[i]));
    let launch = Launch::patches_transposed(s);
    let rows = numbers(launch.inputs()[0], 51);
    let mut sums = vec![Vec::new(); launch.output()];
    pairs.iter().for_each(|(entry, pixel)| sums[*pixel].push(rows[*entry]));
    let terms = s.kernel[0] * s.kernel[1];
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
    let same = PatchSizes {
        batch: 2,
        channels: 3,
        input: [5, 7],
        output: [5, 7],
        kernel: [3, 3],
        stride: [1, 1],
        before: [1, 1],
    };
    let strided = PatchSizes {
        batch: 3,
        channels: 2,
        input: [8, 6],
        output: [4, 2],
        kernel: [3, 5],
        stride: [2, 3],
        before: [0, 2],
    };
    // Windows that leave pixels out, and a kernel of one pixel.
    let point = PatchSizes {
        batch: 2,
        channels: 4,
        input: [7, 5],
        output: [4, 3],
        kernel: [1, 1],
        stride: [2, 2],
        before: [0, 0],
    };
    let mut answers: Vec<_> = [same, strided, point].iter().flat_map(patches).collect();
    answers.push(transpose(3, 4, 7));
    answers.push(add_bias(ImageSizes { batch: 2, channels: 5, pixels: 6 }));
    answers
}
