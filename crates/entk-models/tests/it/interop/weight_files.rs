//! Weights from files of other programs: state dicts of PyTorch, half precision, several files with
//! an index, and files that are none of these.

use std::{collections::HashMap, path::PathBuf};

use candle_core::{DType, Device, Tensor};
use entk_models::{Initializer, ModelError, ParamSpec, Params, Result};

/// In another order than any file has.
fn specs() -> Vec<ParamSpec> {
    let trainable =
        |name: &str, shape: &[usize]| ParamSpec::trainable(name, shape, Initializer::Zeros);
    let statistic = |name: &str| ParamSpec::statistic(name, &[2], Initializer::Zeros);
    vec![
        statistic("norm.running_var"),
        trainable("fc.weight", &[2, 3]),
        trainable("norm.weight", &[2]),
        statistic("norm.running_mean"),
        trainable("norm.bias", &[2]),
        trainable("fc.bias", &[2]),
    ]
}

fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data", name].iter().collect()
}

fn load(path: impl AsRef<std::path::Path>, dtype: DType) -> Result<Params> {
    Params::load(&specs(), path, dtype, &Device::Cpu)
}

fn values(params: &Params, name: &str) -> Result<Vec<f64>> {
    Ok(params.get(name)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// The numbers of `tests/data/state_dict.pt`: f32 with a transposed weight, f16, bf16 and f64.
fn assert_is_state_dict(params: &Params, tolerance: f64) -> Result<()> {
    let names: Vec<&str> = params.iter().chain(params.statistics()).map(|(n, _)| n).collect();
    assert_eq!(
        names,
        [
            "fc.weight",
            "norm.weight",
            "norm.bias",
            "fc.bias",
            "norm.running_var",
            "norm.running_mean"
        ]
    );
    assert_eq!(values(params, "fc.weight")?, [0.0, 0.5, 1.0, 0.25, 0.75, 1.25]);
    assert_eq!(values(params, "fc.bias")?, [0.5, -1.25]);
    assert_eq!(values(params, "norm.weight")?, [1.5, 2.0]);
    assert_eq!(values(params, "norm.running_mean")?, [3.0, 4.0]);
    for (got, expected) in values(params, "norm.bias")?.into_iter().zip([0.1, 0.2]) {
        assert!((got - expected).abs() <= tolerance, "{got}");
    }
    Ok(())
}

#[test]
fn state_dicts_of_pytorch_are_read() -> Result<()> {
    for name in ["state_dict.pt", "checkpoint.pt"] {
        assert_is_state_dict(&load(data(name), DType::F64)?, 0.0)?;
        assert_is_state_dict(&load(data(name), DType::F32)?, f64::from(f32::EPSILON))?;
    }
    Ok(())
}

/// The tensors of the state dict in element types as they come.
fn tensors() -> Result<HashMap<String, Tensor>> {
    let params = load(data("state_dict.pt"), DType::F64)?;
    let dtype = |name: &str| match name {
        "fc.bias" => DType::F16,
        "norm.weight" => DType::BF16,
        "norm.bias" => DType::F64,
        _ => DType::F32,
    };
    let all = params.iter().chain(params.statistics());
    all.map(|(name, tensor)| Ok((name.to_owned(), tensor.to_dtype(dtype(name))?))).collect()
}

#[test]
fn half_precision_is_widened() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("half.safetensors");
    candle_core::safetensors::save(&tensors()?, &path)?;
    assert_is_state_dict(&load(&path, DType::F64)?, 0.0)?;
    assert_is_state_dict(&load(&path, DType::F32)?, f64::from(f32::EPSILON))
}

#[test]
fn an_index_names_several_files() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let all = tensors()?;
    let shard = |fc: bool| all.iter().filter(move |(name, _)| name.starts_with("fc") == fc);
    for (fc, file) in [(true, "a.safetensors"), (false, "b.safetensors")] {
        let shard: HashMap<_, _> = shard(fc).map(|(n, t)| (n.clone(), t.clone())).collect();
        candle_core::safetensors::save(&shard, folder.path().join(file))?;
    }
    let index = folder.path().join("model.safetensors.index.json");
    let write = |text: &str| std::fs::write(&index, text).expect("a file");
    let files = r#""fc.bias": "a.safetensors", "fc.weight": "a.safetensors""#;
    let rest = r#""norm.bias": "b.safetensors""#;
    write(&format!(r#"{{"metadata": {{}}, "weight_map": {{{files}, {rest}}}}}"#));
    assert_is_state_dict(&load(&index, DType::F64)?, 0.0)?;

    write(&format!(r#"{{"weight_map": {{{files}}}}}"#));
    let error = load(&index, DType::F64).expect_err("a misfit");
    assert!(matches!(&error, ModelError::Names { missing, .. } if missing.len() == 4), "{error}");
    for text in [r#"{"weight_map": {"a": "../a.safetensors"}}"#, "{}", "{"] {
        write(text);
        let error = load(&index, DType::F64).expect_err("no index");
        assert!(matches!(error, ModelError::WeightFile { .. }), "{error}");
    }
    Ok(())
}

#[test]
fn what_is_no_file_of_weights_is_refused_with_advice() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights");
    let old = [b"\x80\x02\x8a\x0a".as_slice(), &[0; 60]].concat();
    let pickle = std::fs::read(data("state_dict.pt")).expect("a file");
    for (bytes, expected) in [
        (b"<html>not found</html>".as_slice(), "is neither a safetensors file nor a state dict"),
        (b"".as_slice(), "is neither a safetensors file nor a state dict"),
        (&old, "is of a PyTorch before 1.6"),
        (&pickle[..pickle.len() / 2], "holds no state dict that can be read"),
    ] {
        std::fs::write(&path, bytes).expect("a file");
        let error = load(&path, DType::F32).expect_err("no weights").to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut with_ids = tensors()?;
    with_ids.insert("fc.bias".to_owned(), Tensor::new(&[1u8, 2], &Device::Cpu)?);
    candle_core::safetensors::save(&with_ids, &path)?;
    let error = load(&path, DType::F32).expect_err("integers").to_string();
    assert!(error.contains("fc.bias: element type U8; save it as F32 or F64"), "{error}");
    Ok(())
}
