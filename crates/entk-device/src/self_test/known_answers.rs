//! A question to a kernel and its known answer: what goes into a launch, what must come out, and
//! how far round-off allows it to be off.

use candle_core::DType;

use crate::launch::Launch;

/// What one known-answer test of a kernel found.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownAnswer {
    /// The kernel.
    pub kernel: String,
    /// The type of its entries.
    pub dtype: DType,
    /// The largest error of an entry, relative to the size of its terms; NaN where an entry is NaN
    /// or was not written.
    pub worst: f64,
    /// The largest error that round-off explains.
    pub tolerance: f64,
}

impl KnownAnswer {
    /// Whether all entries are right.
    pub fn passed(&self) -> bool {
        self.worst <= self.tolerance
    }
}

pub(crate) fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|x| *x as f32).collect()
}

/// A launch, its inputs (numbers that f32 holds), and the answers expected.
pub(crate) struct Question {
    pub(crate) launch: Launch,
    pub(crate) inputs: Vec<Vec<f64>>,
    pub(crate) expected: Vec<Answer>,
    /// Roundings that an entry may go through, each relative to its size.
    roundings: f64,
}

/// An entry of an output and the size of the terms that it is the sum of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) value: f64,
    pub(crate) size: f64,
}

impl Answer {
    /// A number that one expression gives.
    pub(crate) fn of(value: f64) -> Self {
        Self { value, size: value.abs() }
    }

    /// A number with intermediate results of this size.
    pub(crate) fn sized(value: f64, size: f64) -> Self {
        Self { value, size }
    }

    /// The sum of terms.
    pub(crate) fn sum(terms: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = Self { value: 0.0, size: 0.0 };
        for term in terms {
            sum.value += term;
            sum.size += term.abs();
        }
        sum
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, size: self.size * factor.abs() }
    }
}

impl Question {
    pub(crate) fn new(
        launch: Launch,
        inputs: Vec<Vec<f64>>,
        roundings: usize,
        entry: impl FnMut(usize, &[Vec<f64>]) -> Answer,
    ) -> Self {
        let mut entry = entry;
        let expected = (0..launch.output()).map(|at| entry(at, &inputs)).collect();
        Self { launch, inputs, expected, roundings: roundings as f64 }
    }

    pub(crate) fn check(&self, dtype: DType, found: impl Iterator<Item = f64>) -> KnownAnswer {
        let unit = if dtype == DType::F64 { 0.5f64.powi(53) } else { 0.5f64.powi(24) };
        let found: Vec<f64> = found.collect();
        let relative = |(found, expected): (&f64, &Answer)| {
            let error = (found - expected.value).abs();
            if error == 0.0 { 0.0 } else { error / expected.size }
        };
        let missing = if found.len() == self.expected.len() { 0.0 } else { f64::NAN };
        let errors = found.iter().zip(&self.expected).map(relative);
        let worst = largest(errors.chain([missing]));
        let kernel = self.launch.name().to_string();
        KnownAnswer { kernel, dtype, worst, tolerance: self.roundings * unit }
    }
}

/// The largest value; NaN if one is.
pub(crate) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    let larger = |worst: f64, x: f64| if worst.is_nan() || x <= worst { worst } else { x };
    values.into_iter().fold(0.0, larger)
}

/// Numbers in -2..2 that f32 holds, the same at every run.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(((state >> 33) as f64 / f64::from(1u32 << 29) - 2.0) as f32)
    };
    (0..count + 8).map(|_| next()).skip(8).collect()
}
