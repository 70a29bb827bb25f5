//! The published networks at the small sizes of their reference values: a name goes in, a network
//! comes out.

use entk_models::{
    BertConfig, ConvNextConfig, Gpt2Config, InvertedStage, LanguageHead, LlamaConfig, Lora,
    LstmConfig, MobileNetV2Config, ModelError, Network, ResNetConfig, Result, UNetConfig,
    UNetOutput, VggConfig, VitConfig, WideResNetConfig,
};

/// Names of the networks that reference values exist for.
pub const PUBLISHED: &[&str] = &[
    "resnet18",
    "resnet_bottleneck",
    "wide_resnet",
    "vgg",
    "vgg_bn",
    "mobilenet_v2",
    "convnext",
    "unet",
    "unet_bilinear",
    "vit",
    "deit",
    "gpt2",
    "gpt2_labels",
    "gpt2_lora",
    "gpt2_lora_qv",
    "bert",
    "llama",
    "lstm",
    "lstm_bidirectional",
];

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
        "mobilenet_v2" => mobilenet_v2(),
        "convnext" => convnext(),
        "unet" => unet(3, false),
        "unet_bilinear" => unet(4, true),
        "vit" => vit(false),
        "deit" => vit(true),
        "gpt2" => gpt2(first_tokens()),
        "gpt2_labels" => gpt2(LanguageHead::Labels(3)),
        "gpt2_lora" => Lora::new(2, 6.0).on("*.c_attn").apply(&gpt2(first_tokens())?),
        "gpt2_lora_qv" => {
            let lora = Lora::new(2, 6.0).on_part("*.c_attn", "q", 0, 3);
            lora.on_part("*.c_attn", "v", 2, 3).apply(&gpt2(first_tokens())?)
        }
        "bert" => bert(),
        "llama" => llama(),
        "lstm" => lstm(6, false),
        "lstm_bidirectional" => lstm(5, true),
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

fn mobilenet_v2() -> Result<Network> {
    let stages = [(1, 32, 1, 1), (4, 32, 2, 2), (3, 48, 1, 2)];
    let stages = stages.map(|(t, c, n, s)| InvertedStage::new(t, c, n, s)).to_vec();
    let (input, last, outputs) = ([3, 24, 24], 24, 3);
    MobileNetV2Config { input, factor: 0.25, stages, last, outputs, ..Default::default() }.network()
}

fn convnext() -> Result<Network> {
    let (input, stages, outputs) = ([3, 32, 32], vec![[6, 2], [12, 1]], 3);
    ConvNextConfig { input, stages, outputs, ..Default::default() }.network()
}

fn unet(width: usize, bilinear: bool) -> Result<Network> {
    let (input, classes, output) = ([3, 14, 14], 3, UNetOutput::Means);
    UNetConfig { input, width, depth: 2, classes, bilinear, output }.network()
}

fn vit(distilled: bool) -> Result<Network> {
    let (input, patch, hidden, outputs) = ([3, 16, 16], 4, 48, 3);
    VitConfig { input, patch, width: 12, layers: 2, heads: 3, hidden, outputs, distilled }.network()
}

fn first_tokens() -> LanguageHead {
    LanguageHead::Tokens(vec![0, 1, 2])
}

fn gpt2(head: LanguageHead) -> Result<Network> {
    let (tokens, vocabulary, positions) = (7, 20, 8);
    Gpt2Config { tokens, vocabulary, positions, width: 12, layers: 2, heads: 3, head }.network()
}

fn bert() -> Result<Network> {
    let (vocabulary, positions, width, layers, heads) = (20, 8, 12, 2, 3);
    let (hidden, outputs) = (20, 3);
    BertConfig {
        tokens: 7,
        vocabulary,
        positions,
        width,
        layers,
        heads,
        hidden,
        outputs,
        segments: 2,
    }
    .network()
}

fn llama() -> Result<Network> {
    LlamaConfig {
        tokens: 7,
        vocabulary: 20,
        width: 12,
        layers: 2,
        heads: 4,
        groups: 2,
        head_width: 4,
        hidden: 20,
        eps: 1e-6,
        head: first_tokens(),
        ..Default::default()
    }
    .network()
}

fn lstm(steps: usize, bidirectional: bool) -> Result<Network> {
    LstmConfig { steps, inputs: 4, hidden: 10, layers: 2, bidirectional, outputs: 3 }.network()
}
