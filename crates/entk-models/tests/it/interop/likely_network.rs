//! Weights of another network: the message says which published network has such names.

use entk_models::{
    Gpt2Config, LeNet5Config, MlpConfig, MobileNetV2Config, Model, ModelError, Network,
    ResNetConfig, Result, VggConfig, VitConfig,
};

/// What is said of weights whose names are all those of `network`, behind a prefix.
fn message(network: &Network) -> String {
    let unexpected = network.specs().into_iter().map(|s| format!("module.{}", s.name)).collect();
    ModelError::Names { missing: vec!["w".to_owned()], unexpected, misshaped: vec![] }.to_string()
}

#[test]
fn published_networks_are_recognised_by_their_names() -> Result<()> {
    for (network, expected) in [
        (ResNetConfig::default().network()?, "a resnet18"),
        (ResNetConfig::resnet34().network()?, "a resnet34"),
        (ResNetConfig::resnet50().torchvision().network()?, "torchvision's resnet50"),
        (MobileNetV2Config::default().network()?, "torchvision's mobilenet_v2"),
        (VggConfig::default().network()?, "torchvision's vgg"),
        (VitConfig::default().network()?, "timm's vit or deit"),
        (Gpt2Config::default().network()?, "GPT-2 of transformers"),
        (LeNet5Config::default().network()?, "LeNet5"),
        (MlpConfig::default().network()?, "an MLP"),
    ] {
        let text = message(&network);
        assert!(text.ends_with(&format!("these look like {expected}")), "{expected}: {text}");
    }
    Ok(())
}
