//! Files of weights, and archives of PyTorch.

use candle_core::{DType, Device};
use entk::{
    models::{FlaxTable, Initializer, ParamSpec, Params},
    torch::{Import, import_bytes},
};

use crate::parsers::inputs::with_file;

fn specs() -> [ParamSpec; 4] {
    [
        ParamSpec::trainable("a.weight", &[2, 1, 1, 1], Initializer::Zeros),
        ParamSpec::trainable("a.bias", &[2], Initializer::Zeros),
        ParamSpec::trainable("h.weight", &[1, 2], Initializer::Zeros),
        ParamSpec::statistic("n.running_var", &[2], Initializer::Zeros),
    ]
}

fn load(file: &[u8]) {
    with_file(file, |path| {
        let _ = Params::shapes_in(path);
        for dtype in [DType::F32, DType::F64] {
            if let Ok(params) = Params::load(&specs(), path, dtype, &Device::Cpu) {
                assert_eq!(params.count(), 6);
                assert!(params.iter().all(|(_, tensor)| tensor.dtype() == dtype));
            }
            let table = FlaxTable::new().conv("a", "a").dense("h", "h");
            if let Ok(params) = table.load(&specs()[..3], path, dtype, &Device::Cpu) {
                assert_eq!(params.count(), 6);
            }
        }
    });
}

/// A safetensors file: a byte, then the file. Where the byte is odd the file is its JSON, up to the
/// first zero, and its tensors; the length of the JSON is made right.
pub fn safetensors(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    if mode & 1 == 0 {
        return load(rest);
    }
    let at = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let (json, tensors) = (&rest[..at], rest.get(at + 1..).unwrap_or(&[]));
    load(&[&(json.len() as u64).to_le_bytes(), json, tensors].concat());
}

/// A state dict of PyTorch, as it is saved.
pub fn pickle(data: &[u8]) {
    load(data);
}

/// An archive of `torch.export.save`.
pub fn archive(data: &[u8]) {
    if let Ok(imported) = import_bytes(data, &Import::default()) {
        assert!(imported.params.iter().all(|(_, tensor)| tensor.dtype() == DType::F32));
    }
}
