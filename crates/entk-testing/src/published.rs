//! The published networks at the small sizes of their reference values: a name goes in, a network
//! comes out.

use entk_models::{ModelError, Network, ResNetConfig, Result, VggConfig, WideResNetConfig};

/// Names of the networks that reference values exist for.
pub const PUBLISHED: &[&str] = &["resnet18", "resnet_bottleneck", "wide_resnet", "vgg", "vgg_bn"];

/// The network of this name; all have three outputs.
///
/// # Errors
/// A name that is not in the list.
pub fn published(name: &str) -> Result<Network> {
    match name {
        "resnet18" => resnet(ResNetConfig { width: 2, ..Default::default() }),
        "resnet_bottleneck" => {
            resnet(ResNetConfig { width: 3, blocks: vec![1, 2, 1], ..ResNetConfig::resnet50() })
        }
        "wide_resnet" => wide_resnet(),
        "vgg" => vgg(false),
        "vgg_bn" => vgg(true),
        other => Err(ModelError::UnknownName {
            name: other.to_owned(),
            known: PUBLISHED.iter().map(|name| (*name).to_owned()).collect(),
        }),
    }
}

fn resnet(config: ResNetConfig) -> Result<Network> {
    ResNetConfig { input: [3, 32, 32], outputs: 3, ..config.torchvision() }.network()
}

fn wide_resnet() -> Result<Network> {
    let (input, outputs) = ([3, 16, 16], 3);
    WideResNetConfig { input, blocks: 2, width: 2, factor: 2, outputs, ..Default::default() }
        .network()
}

fn vgg(batch_norm: bool) -> Result<Network> {
    let stages = vec![vec![4], vec![8], vec![8, 12]];
    let (input, pooled, hidden, outputs) = ([3, 40, 40], 3, 16, 3);
    VggConfig { input, stages, batch_norm, pooled, hidden, outputs, ..Default::default() }.network()
}
