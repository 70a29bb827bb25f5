//! Every kernel and product on random data against plain loops in f64: what `entk verify` runs on a
//! GPU before anything else, and the tests of this crate on the host's C compiler.

mod conv;
mod entrywise;
mod gram;
mod jet;
pub(crate) mod known_answers;
mod norm;
mod pool;
mod products;

use candle_core::{DType, Device};

use crate::{
    device,
    error::Result,
    self_test::known_answers::{KnownAnswer, Question, narrow},
};

/// Runs every kernel and every product on a GPU, in f32 and f64, on random data and on outputs full
/// of NaN, and compares with loops in f64 on the host. Empty for the CPU, which has none of them.
///
/// Takes seconds, most of them for compiling the kernels.
///
/// # Errors
/// Those of the device and of the compiler; wrong numbers are no error but a check that has not
/// [passed](KnownAnswer::passed).
pub fn self_test(device: &Device) -> Result<Vec<KnownAnswer>> {
    if !device.is_cuda() {
        return Ok(Vec::new());
    }
    let mut checks = Vec::new();
    for question in questions() {
        let (launch, inputs) = (&question.launch, &question.inputs);
        let single: Vec<Vec<f32>> = inputs.iter().map(|input| narrow(input)).collect();
        let single = device::answer::<f32>(device, launch, &single)?;
        checks.push(question.check(DType::F32, single.into_iter().map(f64::from)));
        let double = device::answer::<f64>(device, launch, inputs)?;
        checks.push(question.check(DType::F64, double.into_iter()));
    }
    checks.extend(products::checks(device)?);
    Ok(checks)
}

/// At least one for every kernel.
fn questions() -> Vec<Question> {
    [entrywise::answers(), pool::answers(), norm::answers(), conv::answers(), gram::answers()]
        .into_iter()
        .flatten()
        .chain([products::rounding()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{host::HostCompiler, sources::Source};

    #[test]
    fn every_kernel_has_a_known_answer() {
        let questions = questions();
        for kernel in Source::ALL.into_iter().flat_map(Source::kernels) {
            assert!(questions.iter().any(|question| question.launch.name() == kernel), "{kernel}");
        }
    }

    #[test]
    fn an_entry_that_is_wrong_missing_or_no_number_fails() {
        let question = &pool::answers()[0];
        let right = || question.expected.iter().map(|answer| answer.value);
        assert!(question.check(DType::F64, right()).passed());
        assert!(!question.check(DType::F64, right().skip(1)).passed());
        let with = |bad: f64| question.check(DType::F32, [bad].into_iter().chain(right().skip(1)));
        assert!(!with(f64::NAN).passed() && !with(f64::INFINITY).passed());
        let off = question.check(DType::F32, right().map(|x| x * (1.0 + 1e-4)));
        assert!(!off.passed() && off.worst > 1e-5);
    }

    #[test]
    fn kernels_on_the_host_give_the_questions() {
        let Some(compiler) = HostCompiler::find() else {
            eprintln!("skipped: no C compiler `cc`");
            return;
        };
        let mut failed = Vec::new();
        for question in questions() {
            let (launch, inputs) = (&question.launch, &question.inputs);
            let single: Vec<_> = inputs.iter().map(|input| narrow(input)).collect();
            let slices: Vec<_> = single.iter().map(Vec::as_slice).collect();
            let single = compiler.run(launch, &slices).expect("no address outside");
            let slices: Vec<_> = inputs.iter().map(Vec::as_slice).collect();
            let double = compiler.run(launch, &slices).expect("no address outside");
            let checks = [
                question.check(DType::F32, single.into_iter().map(f64::from)),
                question.check(DType::F64, double.into_iter()),
            ];
            failed.extend(checks.into_iter().filter(|check| !check.passed()));
        }
        assert!(failed.is_empty(), "{failed:#?}");
    }
}
