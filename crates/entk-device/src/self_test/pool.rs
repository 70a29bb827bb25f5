//! Known answers of means over windows, their transpose, and sums over planes.

use crate::{
    geometry::Windows,
    launch::Launch,
    self_test::known_answers::{Answer, Question, numbers},
};

fn average(pool: Windows) -> Question {
    let launch = Launch::average(pool);
    let ([oh, ow], [wh, ww]) = (pool.output, pool.window);
    let inputs = vec![numbers(launch.inputs()[0], 20)];
    Question::new(launch, inputs, wh * ww + 2, |i, inputs| {
        let (plane, y, x) = (i / (oh * ow), i / ow % oh, i % ow);
        let pixel = |row: usize, column: usize| {
            inputs[0][(plane * oh * wh + y * wh + row) * ow * ww + x * ww + column]
        };
        let window = (0..wh).flat_map(|row| (0..ww).map(move |column| (row, column)));
        Answer::sum(window.map(|(row, column)| pixel(row, column))).times(1.0 / (wh * ww) as f64)
    })
}

fn spread(pool: Windows) -> Question {
    let launch = Launch::spread(pool);
    let ([oh, ow], [wh, ww]) = (pool.output, pool.window);
    let inputs = vec![numbers(launch.inputs()[0], 21)];
    let (h, w) = (oh * wh, ow * ww);
    Question::new(launch, inputs, 2, |i, inputs| {
        let (plane, y, x) = (i / (h * w), i / w % h, i % w);
        let from = inputs[0][(plane * oh + y / wh) * ow + x / ww];
        Answer::of(from).times(1.0 / (wh * ww) as f64)
    })
}

fn plane_sum(planes: usize, pixels: usize, lanes: usize) -> Question {
    let launch = Launch::plane_sum(planes, pixels, lanes);
    let inputs = vec![numbers(planes * pixels, 22)];
    Question::new(launch, inputs, pixels.div_ceil(lanes), |i, inputs| {
        let plane = &inputs[0][i / lanes * pixels..(i / lanes + 1) * pixels];
        Answer::sum(plane.iter().skip(i % lanes).step_by(lanes).copied())
    })
}

pub(super) fn answers() -> Vec<Question> {
    let uneven = Windows { planes: [2, 3], output: [3, 5], window: [2, 4] };
    let whole = Windows { planes: [5, 2], output: [1, 1], window: [7, 3] };
    vec![
        average(uneven),
        average(whole),
        spread(uneven),
        spread(whole),
        plane_sum(5, 37, 1),
        plane_sum(7, 150, 32),
        // More lanes than pixels: some sums are empty.
        plane_sum(3, 5, 8),
    ]
}
