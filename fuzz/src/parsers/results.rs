//! Files of results: eigenpairs.

use entk::{Save, spectral::Eigenpairs};

use crate::parsers::inputs::with_file;

/// A safetensors file of eigenpairs; what is read comes back from a file of its own.
pub fn pairs(file: &[u8]) {
    with_file(file, |path| {
        if let Ok(pairs) = Eigenpairs::load(path) {
            assert!(pairs.len() <= pairs.dim() && pairs.values().is_sorted_by(|a, b| a >= b));
            pairs.save(path).expect("a file");
            assert_eq!(Eigenpairs::load(path).expect("what was saved"), pairs);
        }
    });
}
