//! The device that tests of tensors run on: in comes the variable `ENTK_TEST_DEVICE`, out goes a
//! device that is opened once a process. Called wherever a test makes a tensor.

use std::sync::OnceLock;

use candle_core::Device;
use entk_device::{DeviceChoice, device_count};

/// Names the device of tests, as the flag `--device` of programs does.
const VARIABLE: &str = "ENTK_TEST_DEVICE";

/// The CPU, or what `ENTK_TEST_DEVICE` names: `cuda`, `cuda:1`.
///
/// # Panics
/// Where there is no such device.
pub fn test_device() -> &'static Device {
    static OPENED: OnceLock<Device> = OnceLock::new();
    OPENED.get_or_init(|| {
        let name = std::env::var(VARIABLE).unwrap_or_else(|_| "cpu".into());
        let choice = name.parse::<DeviceChoice>();
        let opened = choice.and_then(|choice| choice.open());
        opened.map(|opened| opened.device).unwrap_or_else(|e| panic!("{VARIABLE}={name}: {e}"))
    })
}

/// Whether a test has to be left out, and says so, because it is about what only the CPU does.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn needs_cpu(what: &str) -> bool {
    let is_gpu = !test_device().is_cpu();
    if is_gpu {
        eprintln!("SKIPPED on a GPU: {what}");
    }
    is_gpu
}

/// `count` devices beside [`test_device`]: the other GPUs in turn, or where there are none itself.
///
/// # Panics
/// Where a GPU that the driver counts cannot be opened.
pub fn more_test_devices(count: usize) -> Vec<Device> {
    static OTHERS: OnceLock<Vec<Device>> = OnceLock::new();
    let others = OTHERS.get_or_init(|| {
        let gpus = if test_device().is_cuda() { device_count() } else { 0 };
        let open = |ordinal| DeviceChoice::Cuda(ordinal).open();
        let others = (1..gpus).map(|ordinal| open(ordinal).map(|opened| opened.device));
        others.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{e}"))
    });
    let own = std::slice::from_ref(test_device());
    let of = if others.is_empty() { own } else { others };
    of.iter().cycle().take(count).cloned().collect()
}
