//! Where a program computes: `--device` comes in, an open device goes out. Flattened into the flags
//! of all programs that compute.

use anyhow::Result;
use candle_core::Device;
use clap::Args;
use entk::device::{DeviceChoice, DeviceError, OpenedDevice};
use serde::{Serialize, Serializer};

use crate::run::stderr::say;

/// The flag to be flattened into those of a program that computes.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceFlags {
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse_device)]
    #[serde(serialize_with = "by_name")]
    pub device: DeviceChoice,
}

impl DeviceFlags {
    /// Opens the device; says which one `auto` has taken, and why.
    ///
    /// # Errors
    /// A GPU that was asked for and is absent.
    pub fn open(&self) -> Result<Device> {
        let OpenedDevice { device, note } = self.device.open()?;
        if self.device == DeviceChoice::Auto {
            say(format_args!("device: {note}"));
        }
        Ok(device)
    }
}

/// Parses the name of a device, for a flag of this type with another default.
///
/// # Errors
/// Text that names no device.
pub fn parse_device(text: &str) -> Result<DeviceChoice, String> {
    text.parse().map_err(|error: DeviceError| error.to_string())
}

/// Writes a setting as its flag takes it.
///
/// # Errors
/// When the serializer fails.
pub fn by_name<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}
