//! Known answers: every kernel on random data against a plain loop in f64.

mod conv;
mod entrywise;
mod gram;
mod norm;
mod pool;
mod products;

use candle_core::{DType, Device};

use crate::{device, error::Result, launch::Launch};

/// What one known-answer test of a kernel found.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelCheck {
    /// The kernel.
    pub kernel: String,
    /// The type of its entries.
    pub dtype: DType,
    /// The largest error of an entry, relative to the size of its terms; NaN for an entry that was
    /// not written or is none.
    pub worst: f64,
    /// What round-off allows.
    pub tolerance: f64,
}

impl KernelCheck {
    /// Whether all entries are right.
    pub fn passed(&self) -> bool {
        self.worst <= self.tolerance
    }
}

/// Runs every kernel and every product on a GPU, in f32 and f64, on random data and on outputs full
/// of NaN, and compares with loops in f64 on the host. Empty for the CPU, which has none of them.
///
/// Takes seconds, most of them for compiling the kernels.
///
/// # Errors
/// Those of the device and of the compiler; wrong numbers are no error but a check that has not
/// [passed](KernelCheck::passed).
pub fn self_test(device: &Device) -> Result<Vec<KernelCheck>> {
    if !device.is_cuda() {
        return Ok(Vec::new());
    }
    let mut checks = Vec::new();
    for known in known_answers() {
        let (launch, inputs) = (&known.launch, &known.inputs);
        let single: Vec<Vec<f32>> = inputs.iter().map(|input| narrow(input)).collect();
        let single = device::answer::<f32>(device, launch, &single)?;
        checks.push(known.check(DType::F32, single.into_iter().map(f64::from)));
        let double = device::answer::<f64>(device, launch, inputs)?;
        checks.push(known.check(DType::F64, double.into_iter()));
    }
    checks.extend(products::checks(device)?);
    Ok(checks)
}

pub(crate) fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|x| *x as f32).collect()
}

/// A launch, its inputs (numbers that f32 holds), and what comes out.
pub(crate) struct KnownAnswer {
    pub(crate) launch: Launch,
    pub(crate) inputs: Vec<Vec<f64>>,
    expected: Vec<Answer>,
    /// Roundings that an entry may go through, each relative to its size.
    roundings: f64,
}

/// An entry of an output and the size of the terms that it is the sum of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    value: f64,
    size: f64,
}

impl Answer {
    /// A number that one expression gives.
    fn of(value: f64) -> Self {
        Self { value, size: value.abs() }
    }

    /// A number with intermediate results of this size.
    fn sized(value: f64, size: f64) -> Self {
        Self { value, size }
    }

    /// The sum of terms.
    fn sum(terms: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = Self { value: 0.0, size: 0.0 };
        for term in terms {
            sum.value += term;
            sum.size += term.abs();
        }
        sum
    }

    fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, size: self.size * factor.abs() }
    }
}

impl KnownAnswer {
    fn new(
        launch: Launch,
        inputs: Vec<Vec<f64>>,
        roundings: usize,
        entry: impl FnMut(usize, &[Vec<f64>]) -> Answer,
    ) -> Self {
        let mut entry = entry;
        let expected = (0..launch.output()).map(|at| entry(at, &inputs)).collect();
        Self { launch, inputs, expected, roundings: roundings as f64 }
    }

    pub(crate) fn check(&self, dtype: DType, found: impl Iterator<Item = f64>) -> KernelCheck {
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
        KernelCheck { kernel, dtype, worst, tolerance: self.roundings * unit }
    }
}

/// NaN where there is one.
fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    let larger = |worst: f64, x: f64| if worst.is_nan() || x <= worst { worst } else { x };
    values.into_iter().fold(0.0, larger)
}

/// All of them: at least one for every kernel.
pub(crate) fn known_answers() -> Vec<KnownAnswer> {
    [entrywise::answers(), pool::answers(), norm::answers(), conv::answers(), gram::answers()]
        .into_iter()
        .flatten()
        .chain([products::rounding()])
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::HostCompiler, sources::Source};

    #[test]
    fn every_kernel_has_a_known_answer() {
        let known = known_answers();
        for kernel in Source::ALL.into_iter().flat_map(Source::kernels) {
            assert!(known.iter().any(|known| known.launch.name() == kernel), "{kernel}");
        }
    }

    #[test]
    fn an_entry_that_is_wrong_missing_or_no_number_fails() {
        let known = &pool::answers()[0];
        let right = || known.expected.iter().map(|answer| answer.value);
        assert!(known.check(DType::F64, right()).passed());
        assert!(!known.check(DType::F64, right().skip(1)).passed());
        let with = |bad: f64| known.check(DType::F32, [bad].into_iter().chain(right().skip(1)));
        assert!(!with(f64::NAN).passed() && !with(f64::INFINITY).passed());
        let off = known.check(DType::F32, right().map(|x| x * (1.0 + 1e-4)));
        assert!(!off.passed() && off.worst > 1e-5);
    }

    #[test]
    fn kernels_on_the_host_give_the_known_answers() {
        let Some(compiler) = HostCompiler::find() else {
            eprintln!("skipped: no C compiler `cc`");
            return;
        };
        let mut failed = Vec::new();
        for known in known_answers() {
            let (launch, inputs) = (&known.launch, &known.inputs);
            let single: Vec<_> = inputs.iter().map(|input| narrow(input)).collect();
            let slices: Vec<_> = single.iter().map(Vec::as_slice).collect();
            let single = compiler.run(launch, &slices).expect("no address outside");
            let slices: Vec<_> = inputs.iter().map(Vec::as_slice).collect();
            let double = compiler.run(launch, &slices).expect("no address outside");
            let checks = [
                known.check(DType::F32, single.into_iter().map(f64::from)),
                known.check(DType::F64, double.into_iter()),
            ];
            failed.extend(checks.into_iter().filter(|check| !check.passed()));
        }
        assert!(failed.is_empty(), "{failed:#?}");
    }
}
