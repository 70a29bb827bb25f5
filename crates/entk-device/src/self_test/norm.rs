//! Known answers of the kernels of batch normalisation, channel by channel in f64.

use crate::{
    activation::Activation,
    launch::{
        Launch,
        kernels::{ImageSizes, MaskPlace},
    },
    self_test::known_answers::{Answer, Question, numbers},
};

const SIZES: ImageSizes = ImageSizes { batch: 3, channels: 5, pixels: 42 };
const LANES: usize = 8;

fn channel(entry: usize) -> usize {
    entry / SIZES.pixels % SIZES.channels
}

/// Rows mean, slope, bias and inverse of [`SIZES`]' channels, slopes and inverses positive, and
/// three factors.
fn maps() -> Vec<f64> {
    let mut maps = numbers(7 * SIZES.channels, 30);
    for (at, number) in maps.iter_mut().enumerate() {
        if matches!(at / SIZES.channels, 1 | 3) {
            *number = f64::from((number.abs() + 0.25) as f32);
        }
    }
    maps
}

/// Mean, slope, bias and inverse of one channel.
fn map(maps: &[f64], channel: usize) -> [f64; 4] {
    [0, 1, 2, 3].map(|row| maps[row * SIZES.channels + channel])
}

/// The terms of z = (x - mean) slope + bias.
fn z(x: f64, maps: &[f64], channel: usize) -> Answer {
    let [mean, slope, bias, _] = map(maps, channel);
    Answer::sum([x * slope, -mean * slope, bias])
}

/// f(z), for functions without a jump that are no steeper than 4 where numbers are below 40.
fn through(f: impl Fn(f64) -> f64, z: Answer) -> Answer {
    Answer::sized(f(z.value), 1.0 + 4.0 * z.size)
}

fn moments() -> [Question; 2] {
    let (planes, pixels) = (SIZES.planes(), SIZES.pixels);
    let x = numbers(SIZES.len(), 31);
    let sums: Vec<f64> =
        x.chunks(pixels).map(|p| f64::from(p.iter().sum::<f64>() as f32)).collect();
    let launch = Launch::norm_squares(planes, pixels, LANES);
    let squares = Question::new(launch, vec![x, sums], pixels + 8, |i, inputs| {
        let plane = i / LANES;
        let mean = inputs[1][plane] / pixels as f64;
        let plane = &inputs[0][plane * pixels..(plane + 1) * pixels];
        let lane = plane.iter().skip(i % LANES).step_by(LANES);
        let sum = Answer::sum(lane.map(|x| (x - mean).powi(2)));
        // The error of a deviation is relative to the size of the numbers, not of their difference.
        Answer::sized(sum.value, sum.value + 4.0 * pixels.div_ceil(LANES) as f64)
    });
    let inputs = vec![numbers(planes, 32), numbers(planes, 33).iter().map(|x| x.abs()).collect()];
    let launch = Launch::norm_moments(SIZES);
    let merged = Question::new(launch, inputs, 8 * SIZES.batch, |i, inputs| {
        let channel = i % SIZES.channels;
        let of = |input: usize| inputs[input].iter().skip(channel).step_by(SIZES.channels);
        let count = (SIZES.batch * pixels) as f64;
        let mean = Answer::sum(of(0).copied()).times(1.0 / count);
        if i < SIZES.channels {
            return mean;
        }
        let between = of(0).map(|sum| (sum / pixels as f64 - mean.value).powi(2) * pixels as f64);
        Answer::sum(between.chain(of(1).copied())).times(1.0 / count)
    });
    [squares, merged]
}

fn channel_numbers() -> [Question; 4] {
    let c = SIZES.channels;
    let variances = numbers(c, 34).iter().map(|variance| variance.abs()).collect();
    let inputs = vec![numbers(c, 33), variances, numbers(c, 35), numbers(c, 36)];
    let maps_answer = Question::new(Launch::norm_maps(c), inputs, 8, |i, inputs| {
        let [mean, variance, weight, bias] = [0, 1, 2, 3].map(|input| inputs[input][i % c]);
        let inverse = 1.0 / (variance + 1e-5).sqrt();
        let slope = inverse * weight;
        Answer::of([mean, slope, bias, inverse, slope, 0.0, 0.0][i / c])
    });
    let factors = |with_u: bool, moves: bool| {
        let mut inputs = vec![maps(), numbers(2 * c, 36), numbers(c, 37), numbers(c, 38)];
        inputs.truncate(if moves { 4 } else { 2 });
        Question::new(Launch::norm_factors(c, with_u, moves), inputs, 8, |i, inputs| {
            let (channel, means) = (i % c, &inputs[1]);
            let [_, slope, _, inverse] = map(&inputs[0], channel);
            let [weight, bias] = [2, 3].map(|at| inputs.get(at).map_or(0.0, |of| of[channel]));
            match i / c {
                4 => Answer::of(if with_u { slope } else { 0.0 }),
                5 => Answer::sum([weight, -slope * means[c + channel]]).times(inverse),
                6 => Answer::sum([bias, -slope * means[channel]]),
                _ => Answer::of(inputs[0][i]),
            }
        })
    };
    [maps_answer, factors(true, true), factors(false, true), factors(true, false)]
}

fn normalize(activation: Option<Activation>, f: fn(f64) -> f64) -> Question {
    let inputs = vec![numbers(SIZES.len(), 38), maps()];
    let launch = Launch::normalize(SIZES, activation);
    Question::new(launch, inputs, 32, |i, inputs| {
        through(f, z(inputs[0][i], &inputs[1], channel(i)))
    })
}

/// The derivative of tanh, and 1 for the identity.
fn slope_of(activation: Option<Activation>, z: f64) -> f64 {
    if activation == Some(Activation::Tanh) { 1.0 / z.cosh().powi(2) } else { 1.0 }
}

fn gradients(activation: Option<Activation>, lanes: usize) -> Question {
    let inputs = vec![numbers(SIZES.len(), 39), numbers(SIZES.len(), 40), maps()];
    let launch = Launch::norm_gradients(SIZES, activation, lanes);
    let roundings = 64 + SIZES.pixels;
    Question::new(launch, inputs, roundings, |i, inputs| {
        let (which, plane, lane) =
            (i / (SIZES.planes() * lanes), i / lanes % SIZES.planes(), i % lanes);
        let [mean, _, _, inverse] = map(&inputs[2], plane % SIZES.channels);
        let pixels = (lane..SIZES.pixels).step_by(lanes).map(|p| plane * SIZES.pixels + p);
        let mut size = 0.0;
        let terms: Vec<f64> = pixels
            .map(|at| {
                let z = z(inputs[1][at], &inputs[2], plane % SIZES.channels);
                let along = if which == 0 { 1.0 } else { (inputs[1][at] - mean) * inverse };
                // Terms of size 4, an activation no steeper than 1 in z.
                size += (1.0 + z.size) * inputs[0][at].abs() * (1.0 + 4.0 * inverse);
                slope_of(activation, z.value) * inputs[0][at] * along
            })
            .collect();
        Answer::sized(Answer::sum(terms).value, size)
    })
}

fn combine(activation: Option<Activation>, place: MaskPlace) -> Question {
    let inputs = vec![numbers(SIZES.len(), 42), numbers(SIZES.len(), 43), maps()];
    let launch = Launch::norm_combine(SIZES, activation, place);
    Question::new(launch, inputs, 64, |i, inputs| {
        let (u, x, rows) = (inputs[0][i], inputs[1][i], &inputs[2]);
        let channel = channel(i);
        let [first, second, third] = [4, 5, 6].map(|row| rows[row * SIZES.channels + channel]);
        let z = z(x, rows, channel);
        let mask = slope_of(activation, z.value);
        let u = if place == MaskPlace::Input { mask * u } else { u };
        let terms = [first * u, second * x, -second * map(rows, channel)[0], third];
        let all = Answer::sum(terms);
        let value = if place == MaskPlace::Output { mask * all.value } else { all.value };
        Answer::sized(value, (1.0 + z.size) * (all.size + first.abs() * 2.0))
    })
}

pub(super) fn answers() -> Vec<Question> {
    let [squares, merged] = moments();
    let mut answers = vec![squares, merged];
    answers.extend(channel_numbers());
    answers.extend([
        normalize(None, |z| z),
        normalize(Some(Activation::Tanh), f64::tanh),
        normalize(Some(Activation::Relu), |z| z.max(0.0)),
        gradients(None, 1),
        gradients(Some(Activation::Tanh), LANES),
        combine(None, MaskPlace::Nowhere),
        combine(Some(Activation::Tanh), MaskPlace::Input),
        combine(Some(Activation::Tanh), MaskPlace::Output),
    ]);
    answers
}
