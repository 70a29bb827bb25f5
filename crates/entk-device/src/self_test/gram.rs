//! Known answers of the kernels that follow the products of a tile of a Gram.

use crate::{
    geometry::Geometry,
    launch::Launch,
    self_test::known_answers::{Answer, Question, numbers},
};

fn dense_tile(count: usize, bias: bool) -> Question {
    let inputs = (70..73).map(|seed| numbers(count, seed)).collect();
    Question::new(Launch::dense_tile(count, bias), inputs, 3, |i, inputs| {
        let [a, b, tile] = [0, 1, 2].map(|k| inputs[k][i]);
        let bias = f64::from(u8::from(bias));
        Answer::sized((a + bias) * b + tile, (a.abs() + bias) * b.abs() + tile.abs())
    })
}

fn pixel_tile((g, examples): (Geometry, [usize; 2])) -> Question {
    let launch = Launch::pixel_tile(&g, examples);
    let inputs = [80, 81].map(|seed| numbers(launch.inputs()[seed as usize - 80], seed)).to_vec();
    let ([n, m], pixels) = (examples, g.input_pixels());
    let (outputs, taps) = (g.output_pixels(), g.taps());
    Question::new(launch, inputs, taps + outputs * outputs + 1, |i, inputs| {
        let (row, column) = (i / m, i % m);
        let entry = |of: &[f64], size: usize, p: usize, q: usize| {
            of[(p * n + row) * size * m + q * m + column]
        };
        let (mut value, mut size) = (0.0, 0.0);
        for (p, q) in (0..outputs).flat_map(|p| (0..outputs).map(move |q| (p, q))) {
            let pairs =
                (0..taps).filter_map(|tap| Some((g.input_pixel(p, tap)?, g.input_pixel(q, tap)?)));
            let inner = Answer::sum(pairs.map(|(a, b)| entry(&inputs[0], pixels, a, b)));
            let outer = inner.times(entry(&inputs[1], outputs, p, q));
            (value, size) = (value + outer.value, size + outer.size);
        }
        Answer::sized(value, size)
    })
}

pub(super) fn answers() -> Vec<Question> {
    let square = Geometry {
        channels: 1,
        filters: 1,
        input: [4, 4],
        output: [4, 4],
        kernel: [3, 3],
        stride: [1, 1],
        before: [1, 1],
        dilation: [1, 1],
    };
    let strided =
        Geometry { input: [5, 3], output: [3, 2], stride: [2, 2], before: [1, 0], ..square };
    let uneven =
        Geometry { input: [2, 6], output: [2, 4], kernel: [1, 3], before: [0, 0], ..square };
    let dilated = Geometry {
        input: [5, 4],
        output: [2, 3],
        stride: [2, 1],
        dilation: [1, 2],
        before: [0, 1],
        kernel: [3, 2],
        ..square
    };
    let tiles = [(1, true), (257, true), (300, false)];
    tiles
        .into_iter()
        .map(|(count, bias)| dense_tile(count, bias))
        .chain(
            [(square, [3, 5]), (strided, [3, 5]), (uneven, [4, 1]), (dilated, [2, 3])]
                .map(pixel_tile),
        )
        .collect()
}
