//! Files of weights that are not those of the network: names, shapes, types, damage.

use std::collections::HashMap;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use entk::models::{MlpConfig, Model, ResNetConfig};

use super::{DONE, FILES, INPUT, Place};

type Tensors = HashMap<String, Tensor>;

fn mlp() -> Result<Tensors> {
    let network = MlpConfig { input: [3, 4, 4], ..MlpConfig::default() }.network()?;
    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    Ok(theta.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect())
}

fn save(place: &Place, name: &str, tensors: &Tensors) -> Result<()> {
    Ok(candle_core::safetensors::save(tensors, place.path(name))?)
}

fn renamed(prefix: &str) -> Result<Tensors> {
    Ok(mlp()?.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect())
}

fn each(change: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Tensors> {
    let changed = |(name, tensor): (String, Tensor)| Ok((name, change(&tensor)?));
    mlp()?.into_iter().map(changed).collect()
}

#[test]
fn weights_that_do_not_fit_are_refused_with_the_likely_cause() -> Result<()> {
    let place = Place::new()?;
    place.images("x.npy");
    save(&place, "w", &mlp()?)?;
    save(&place, "parallel", &renamed("module.")?)?;
    save(&place, "compiled", &renamed("_orig_mod.")?)?;
    save(&place, "half", &each(|t| t.to_dtype(DType::F16))?)?;
    save(&place, "whole", &each(|t| t.to_dtype(DType::I64))?)?;
    save(
        &place,
        "turned",
        &each(|t| if t.rank() == 2 { t.t()?.contiguous() } else { Ok(t.clone()) })?,
    )?;
    let whole = std::fs::read(place.path("w"))?;
    std::fs::write(place.path("cut"), &whole[..whole.len() - 9])?;
    std::fs::write(place.path("long"), [&whole[..], b"more"].concat())?;
    std::fs::write(place.path("empty"), "")?;
    std::fs::write(place.path("page"), "<html>404</html>")?;
    std::fs::write(place.path("old"), b"\x80\x02\x8a\x0a and the rest of a pickle")?;
    for (file, code, texts) in [
        ("w", DONE, &[][..]),
        ("half", DONE, &[]),
        ("parallel", INPUT, &["remove \"module.\"", "DataParallel", "6 missing: fc1.weight"]),
        ("compiled", INPUT, &["remove \"_orig_mod.\"", "torch.compile"]),
        ("whole", INPUT, &["whole", "element type I64"]),
        ("turned", INPUT, &["axes reversed"]),
        ("cut", INPUT, &["cut", "is no whole safetensors file"]),
        ("long", INPUT, &["is no whole safetensors file"]),
        ("empty", INPUT, &["is neither a safetensors file"]),
        ("page", INPUT, &["is neither a safetensors file"]),
        ("old", INPUT, &["PyTorch before 1.6"]),
        ("absent", FILES, &["absent", "No such file"]),
        (".", FILES, &["Is a directory"]),
        ("/dev/null", INPUT, &["a pipe or a device"]),
    ] {
        let line: &'static str =
            format!("gram --model mlp --no-eigen --inputs x.npy --weights {file}").leak();
        place.check(&[(line, code, texts)])?;
    }
    Ok(())
}

/// A ResNet18 of two filters at its initial weights.
fn small_resnet() -> Result<Tensors> {
    let network =
        ResNetConfig { input: [3, 4, 4], width: 2, ..ResNetConfig::default() }.network()?;
    let theta = network.init(0, DType::F32, &Device::Cpu)?;
    let all = theta.iter().chain(theta.statistics());
    Ok(all.map(|(name, t)| (name.to_owned(), t.clone())).collect())
}

#[test]
fn a_negative_variance_is_named_with_file_and_channel() -> Result<()> {
    let place = Place::new()?;
    place.images("x.npy");
    let mut tensors = small_resnet()?;
    let variance = Tensor::new(&[1f32, -1.0], &Device::Cpu)?;
    tensors.insert("layer1.0.bn1.running_var".into(), variance);
    save(&place, "w", &tensors)?;
    place.check(&[(
        "gram --model resnet18 --width 2 --no-eigen --inputs x.npy --weights w",
        INPUT,
        &["--weights w", "layer1.0.bn1.running_var", "channel 1", "negative variance -1"],
    )])
}

#[test]
fn what_no_weight_shows_is_noted_and_can_be_chosen() -> Result<()> {
    let place = Place::new()?;
    place.images("x.npy");
    save(&place, "w", &small_resnet()?)?;
    let gram = |flags: &str, said: &'static [&'static str]| -> Result<Vec<u8>> {
        let line: &'static str = format!("gram --no-eigen --inputs x.npy {flags}").leak();
        place.check(&[(line, DONE, said)])?;
        let record = std::fs::read_to_string(place.path("out/record.json"))?;
        for text in said {
            assert!(record.contains(text), "{record}");
        }
        Ok(std::fs::read(place.path("out/gram.npy"))?)
    };
    let resnet = "--model resnet18 --width 2 --weights w";
    let same = gram(resnet, &["pad as --padding same"])?;
    let symmetric =
        gram(&format!("{resnet} --padding symmetric"), &["pad as --padding symmetric"])?;
    assert!(same != symmetric);
    let tanh = gram("--model mlp --activation gelu-tanh", &[])?;
    assert!(tanh == gram("--model mlp --activation gelu", &["the tanh form"])?);
    assert!(tanh != gram("--model mlp --activation gelu-erf", &[])?);
    place.check(&[
        ("gram --model mlp --padding same", INPUT, &["--padding", "leave it out"]),
        (
            "fig02 --model lenet5 --train 60 --test 20 --batch 16 --padding same",
            INPUT,
            &["--padding"],
        ),
    ])
}
