//! Imported networks compared with numbers of PyTorch: the right ones are taken, and each silent
//! mistake is refused.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use entk::{
    models::{Model, Params, ResNetConfig, StridePadding},
    torch::{Import, TorchError, import, import_bytes, verify, verify_network},
};
use entk_testing::{TestResult, archives::changed};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch").join(name)
}

/// The archive with a text of its program replaced, which it has to hold.
fn rewritten(path: &Path, from: &str, to: &str) -> TestResult<Vec<u8>> {
    let replaced = |text: Vec<u8>| String::from_utf8_lossy(&text).replace(from, to).into_bytes();
    Ok(changed(&std::fs::read(path)?, "models/model.json", replaced)?)
}

/// The refusal of numbers that differ.
fn differs(result: entk::torch::Result<entk::torch::Verified>) -> String {
    match result {
        Err(error @ TorchError::Differs { .. }) => error.to_string(),
        other => panic!("taken, or refused for another reason: {other:?}"),
    }
}

#[test]
fn networks_are_those_of_pytorch() -> TestResult {
    for name in ["vit", "gpt2", "lora_gpt2", "tied_embedding", "lstm", "swin", "mlp_bf16"] {
        let imported = import(golden(&format!("{name}.pt2")), &Import::default())?;
        let verified = verify(&imported, golden(&format!("{name}.safetensors")))?;
        assert_eq!(verified.examples, 8, "{name}");
        assert!(verified.outputs <= 1e-12, "{name}: {verified:?}");
        assert!(verified.jvp.is_some_and(|error| error <= 1e-10), "{name}: {verified:?}");
    }
    Ok(())
}

#[test]
fn a_resnet_with_other_padding_is_refused() -> TestResult {
    let path = golden("resnet18.safetensors");
    let imported = import(golden("resnet18.pt2"), &Import::default())?;
    let config = ResNetConfig { width: 4, input: [3, 32, 32], outputs: 3, ..Default::default() };
    let symmetric = ResNetConfig { input: [3, 32, 32], outputs: 3, ..config.torchvision() };
    let of = |config: ResNetConfig| -> TestResult<_> {
        let network = config.network()?;
        let tensors = imported.params.iter().chain(imported.params.statistics());
        let tensors = tensors.map(|(name, tensor)| (name, tensor.clone()));
        let params = Params::from_named(&network.specs(), tensors)?;
        Ok(verify_network(&network, &params, &path))
    };
    of(symmetric.clone())??;
    let message = differs(of(ResNetConfig { padding: StridePadding::Same, ..symmetric })?);
    assert!(message.contains("outputs of example"), "{message}");
    Ok(())
}

#[test]
fn another_gelu_is_refused_and_its_operation_named() -> TestResult {
    let bytes = rewritten(&golden("unet_bilinear.pt2"), "\"tanh\"", "\"none\"")?;
    let imported = import_bytes(bytes, &Import::default())?;
    let message = differs(verify(&imported, golden("unet_bilinear.safetensors")));
    assert!(message.contains("NAME"), "{message}");
    let message = differs(verify(&imported, golden("unet_bilinear.nodes.safetensors")));
    assert!(message.contains("first value that differs is gelu, of aten.gelu"), "{message}");
    Ok(())
}

#[test]
fn weights_of_another_checkpoint_are_refused() -> TestResult {
    let mut imported = import(golden("resnet18.pt2"), &Import::default())?;
    imported.params = imported.params.add_scaled(0.01, &imported.params)?;
    differs(verify(&imported, golden("resnet18.safetensors")));
    Ok(())
}

#[test]
fn inputs_with_channels_last_are_refused() -> TestResult {
    let imported = import(golden("vit.pt2"), &Import::default())?;
    let mut tensors = safetensors::load(golden("vit.safetensors"), &Device::Cpu)?;
    let last = tensors["inputs"].permute((0, 2, 3, 1))?.contiguous()?;
    tensors.insert("inputs".to_owned(), last);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("values.safetensors");
    safetensors::save(&tensors, &path)?;
    let error = verify(&imported, &path).map(|_| ()).expect_err("refused").to_string();
    assert!(error.contains("[3, 16, 16]") && error.contains("[8, 16, 16, 3]"), "{error}");
    // Of the right shape, but with rows and columns exchanged.
    let turned = tensors["inputs"].permute((0, 3, 2, 1))?.contiguous()?;
    tensors.insert("inputs".to_owned(), turned);
    safetensors::save(&tensors, &path)?;
    differs(verify(&imported, &path));
    Ok(())
}

#[test]
fn numbers_that_are_nan_are_refused() -> TestResult {
    let imported = import(golden("mlp.pt2"), &Import::default())?;
    let mut tensors = safetensors::load(golden("mlp.safetensors"), &Device::Cpu)?;
    let nan = Tensor::full(f64::NAN, tensors["outputs"].dims(), &Device::Cpu)?;
    assert_eq!(nan.dtype(), DType::F64);
    tensors.insert("outputs".to_owned(), nan);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("values.safetensors");
    safetensors::save(&tensors, &path)?;
    differs(verify(&imported, &path));
    Ok(())
}
