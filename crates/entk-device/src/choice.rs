//! Which device a run uses: in comes a flag as text, out goes the opened device with a note for the
//! user. Called by the programs.

use std::{fmt, str::FromStr};

use candle_core::Device;

use crate::{
    device,
    error::{DeviceError, Result},
};

/// Which device a run uses; `auto`, `cpu`, `cuda` or `cuda:N` as text.
///
/// ```
/// use entk_device::DeviceChoice;
///
/// assert_eq!("cuda:1".parse::<DeviceChoice>()?, DeviceChoice::Cuda(1));
/// let opened = DeviceChoice::Cpu.open()?;
/// assert!(opened.device.is_cpu());
/// assert_eq!(opened.note, "cpu: asked for");
/// # Ok::<(), entk_device::DeviceError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// The first GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// This GPU, counted from 0; its absence is an error.
    Cuda(usize),
}

/// A device that a run uses.
#[derive(Debug, Clone)]
pub struct OpenedDevice {
    /// The device.
    pub device: Device,
    /// Which one it is and why, for the user.
    pub note: String,
}

impl DeviceChoice {
    /// Opens the device. A GPU has one stream for all threads of the program, so that work is
    /// ordered as it was asked for.
    ///
    /// # Errors
    /// [`DeviceError::NotCompiled`] or [`DeviceError::Absent`] where a GPU was asked for; never for
    /// [`Auto`](Self::Auto), whose note says why it is the CPU.
    pub fn open(self) -> Result<OpenedDevice> {
        match self {
            Self::Cpu => Ok(cpu("asked for")),
            Self::Cuda(ordinal) => gpu(ordinal),
            Self::Auto => Ok(match gpu(0) {
                Ok(opened) => opened,
                Err(DeviceError::NotCompiled { .. }) => cpu("this program was built without CUDA"),
                Err(DeviceError::Absent { reason, .. }) => cpu(&format!("no usable GPU, {reason}")),
                Err(other) => cpu(&other.to_string()),
            }),
        }
    }
}

fn cpu(why: &str) -> OpenedDevice {
    OpenedDevice { device: Device::Cpu, note: format!("cpu: {why}") }
}

fn gpu(ordinal: usize) -> Result<OpenedDevice> {
    let device = device::open(ordinal)?;
    Ok(OpenedDevice { device, note: format!("cuda:{ordinal}") })
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || DeviceError::UnknownDevice { found: text.to_string() };
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let ordinal = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                let digits = !ordinal.is_empty() && ordinal.bytes().all(|b| b.is_ascii_digit());
                let ordinal = digits.then(|| ordinal.parse().ok()).flatten();
                ordinal.map(Self::Cuda).ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_read_back_from_its_text() {
        for choice in
            [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(0), DeviceChoice::Cuda(17)]
        {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().ok(), Some(choice));
        }
        for text in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda:1a", "cuda: 1"] {
            assert!(
                matches!(text.parse::<DeviceChoice>(), Err(DeviceError::UnknownDevice { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn auto_never_fails_and_says_which_device_it_took() -> Result<()> {
        let opened = DeviceChoice::Auto.open()?;
        let kind = if opened.device.is_cuda() { "cuda:0" } else { "cpu: " };
        assert!(opened.note.starts_with(kind), "{}", opened.note);
        Ok(())
    }

    #[test]
    fn an_absent_gpu_is_an_error_that_says_what_to_do() {
        // No machine has so many.
        let error = DeviceChoice::Cuda(1 << 20).open().expect_err("no such GPU");
        assert!(error.to_string().contains("device `cpu`"), "{error}");
    }
}
