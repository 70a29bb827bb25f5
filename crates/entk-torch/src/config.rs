//! How archives are read: element type, device and which parameters are trained. Given by users to
//! the import.

use candle_core::{DType, Device};
use entk_models::Trainable;

/// How an archive becomes a network.
#[derive(Debug, Clone)]
pub struct Import {
    /// Element type of the parameters: f32 or f64. What is stored in another is converted.
    pub dtype: DType,
    /// Where the parameters are.
    pub device: Device,
    /// Which parameters are trained: those that required a gradient when the archive was written,
    /// if there is none.
    pub trainable: Option<Trainable>,
}

impl Default for Import {
    /// In f32, on the host.
    fn default() -> Self {
        Self { dtype: DType::F32, device: Device::Cpu, trainable: None }
    }
}
