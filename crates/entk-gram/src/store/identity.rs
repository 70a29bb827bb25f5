//! What the bits of a stored Gram depend on: stores resume by it.

use candle_core::DType;
use entk_device::hash;
use serde::{Deserialize, Serialize};

use crate::{
    error::{GramError, Result},
    ntk::Ntk,
};

/// Layout of stores and order of their sums; changes whenever old stores can no longer be read, or
/// resumed with equal bits.
const FORMAT: u32 = 3;

/// Everything that the bits of a stored Gram depend on. Equal identities give equal bits, whatever
/// the number of threads, parts and interruptions; a store is resumed only by its own identity. On
/// a GPU the versions of its libraries matter too, which are not in it: other versions agree to
/// round-off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Layout of the store and order of the sums.
    pub format: u32,
    /// Version of this crate.
    pub version: String,
    /// Rows of the kernel: the number of examples N, or N C for full blocks of C outputs.
    pub n: usize,
    /// Edge of a tile, in rows.
    pub edge: usize,
    /// Element type of the kernel, `float32` or `float64`.
    pub dtype: String,
    /// Element type of parameters, gradients and products.
    pub compute: String,
    /// What computes the products, and in which precision: `cpu`, or
    /// `tensors on CUDA (NVIDIA H200), tf32`.
    /// Not written for the CPU's engine, so that the hashes of stores from before it had a name
    /// still fit.
    #[serde(default = "cpu", skip_serializing_if = "is_cpu")]
    pub engine: String,
    /// Name of the strategy.
    pub strategy: String,
    /// Which kernel of a model with several outputs.
    pub outputs: String,
    /// Weights of the layers that are contracted; empty for all.
    pub layers: Vec<String>,
    /// Examples per sweep.
    pub micro_batch: usize,
    /// BLAKE3 of the architecture.
    pub model: String,
    /// BLAKE3 of the names, shapes and values of all parameters and statistics.
    pub weights: String,
    /// BLAKE3 of the shape and values of the inputs, in order.
    pub inputs: String,
}

impl Identity {
    pub(crate) fn new(ntk: &Ntk<'_>, engine: String, edge: usize) -> Result<Self> {
        let (config, n) = (&ntk.config, ntk.rows()?);
        Ok(Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            n,
            edge: edge.clamp(1, n.max(1)),
            dtype: zarr_name(ntk.dtype())?.to_owned(),
            compute: zarr_name(ntk.params.dtype())?.to_owned(),
            engine,
            strategy: format!("{:?}", config.strategy),
            outputs: format!("{:?}", config.outputs),
            layers: config.layers.clone(),
            micro_batch: ntk.micro_batch(ntk.inputs.dim(0)?),
            model: blake3::hash(format!("{:?}", ntk.model).as_bytes()).to_string(),
            weights: hash::named(ntk.params.iter().chain(ntk.params.statistics()))?,
            inputs: hash::examples(&ntk.inputs)?,
        })
    }

    /// The fields in which another identity differs: `field: this -> other`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (Ok(a), Ok(b)) = (serde_json::to_value(self), serde_json::to_value(other)) else {
            return vec!["one of the two has no JSON form".to_owned()];
        };
        let fields = a.as_object().into_iter().flatten();
        fields
            .filter(|(field, value)| b.get(field.as_str()) != Some(value))
            .map(|(field, value)| {
                format!("{field}: {value} -> {}", b.get(field).unwrap_or(&serde_json::Value::Null))
            })
            .collect()
    }

    /// Bytes of one entry.
    pub(crate) fn item(&self) -> usize {
        if self.dtype == "float64" { 8 } else { 4 }
    }
}

/// The engine of stores that do not name it.
pub(crate) const CPU: &str = "cpu";

fn cpu() -> String {
    CPU.into()
}

fn is_cpu(engine: &str) -> bool {
    engine == CPU
}

/// Zarr's name of an element type.
fn zarr_name(dtype: DType) -> Result<&'static str> {
    match dtype {
        DType::F32 => Ok("float32"),
        DType::F64 => Ok("float64"),
        other => Err(GramError::DType(other)),
    }
}
