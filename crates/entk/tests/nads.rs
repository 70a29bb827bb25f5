//! Neural anisotropy directions against float64 reference values of an independent
//! implementation (`golden/README.md`).

use std::path::PathBuf;

use candle_core::{DType, Device};
use entk::{
    linearize::MixedDerivative,
    models::{Activation, Model, Params},
    spectral::{Gram, eigh},
};
use entk_testing::networks;
use safetensors::SafeTensors;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Two independent f64 implementations, relative to the largest entry: sums of 1e4 terms.
const DOUBLE: f64 = 1e-12;

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn array(name: &str) -> Result<Vec<f64>> {
    let bytes = std::fs::read(path("expected.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let words = file.tensor(name)?.data().chunks_exact(8).map(<[u8; 8]>::try_from);
    Ok(words.map(|b| b.map(f64::from_le_bytes)).collect::<std::result::Result<_, _>>()?)
}

#[test]
fn directions_of_a_small_lenet_match_the_reference() -> Result<()> {
    let network = networks::lenet5([1, 8, 8], [12, 8], Activation::Gelu)?;
    let file = path("lenet5_tiny_gelu.safetensors");
    let theta = Params::load(&network.specs(), file, DType::F64, &Device::Cpu)?;
    let gram = MixedDerivative::at_zero(&network, &theta)?.gram()?;

    let expected = array("lenet5_tiny_gelu/nads_mtm")?;
    let largest = expected.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
    assert_eq!(gram.len(), expected.len());
    for (found, expected) in gram.iter().zip(&expected) {
        assert!((found - expected).abs() <= DOUBLE * largest, "{found:e} {expected:e}");
    }

    let pairs = eigh(&Gram::from_lower_f64(64, gram)?)?;
    let singular = array("lenet5_tiny_gelu/nads_singular_values")?;
    for (value, expected) in pairs.values().iter().zip(&singular) {
        // Squares: the predicted alignments.
        let bound = DOUBLE * singular[0] * singular[0];
        assert!((value - expected * expected).abs() <= bound, "{value:e} {expected:e}");
    }
    Ok(())
}
