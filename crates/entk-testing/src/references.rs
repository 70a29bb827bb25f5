//! The deterministic numbers of the reference values: in come a seed or specifications, out go a
//! stream or a direction, equal to those of the programs that computed the values.

use candle_core::DType;
use entk_models::{ParamKind, ParamSpec, Params, Result};

use crate::device::test_device;

/// The counter-based stream of the references: n values in [-1, 1).
pub fn stream(n: usize, seed: u64) -> impl Iterator<Item = f64> {
    (0..n as u64).map(move |i| {
        let mut z = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .wrapping_add((i + 1).wrapping_mul(0xD134_2543_DE82_EF95));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

/// The references' direction in parameter space: one stream over the names of trainable parameters
/// in ascending order.
///
/// # Errors
/// Those of the tensor library.
pub fn direction(specs: &[ParamSpec]) -> Result<Params> {
    let mut sorted: Vec<&ParamSpec> =
        specs.iter().filter(|spec| spec.kind == ParamKind::Trainable).collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut values = stream(sorted.iter().map(|spec| spec.elem_count()).sum(), 1);
    let mut parts: Vec<(&str, Vec<f64>)> = (sorted.iter())
        .map(|spec| (spec.name.as_str(), values.by_ref().take(spec.elem_count()).collect()))
        .collect();
    Params::from_fn(specs, DType::F64, test_device(), |spec| {
        let part = parts.iter_mut().find(|(name, _)| *name == spec.name);
        part.map_or_else(|| vec![0.0; spec.elem_count()], |(_, v)| std::mem::take(v))
    })
}
