//! Published networks by name: a name, the shape of an input and a number of outputs come in, a
//! network goes out. `Network.named` calls it.

use entk::models::{
    Activation, BertConfig, ConvNextConfig, Gpt2Config, LanguageHead, LeNet5Config, LlamaConfig,
    MlpConfig, MobileNetV2Config, Network, ResNetConfig, VggConfig, VitConfig, WideResNetConfig,
};
use pyo3::PyResult;

use crate::error::{InvalidInput, exception};

/// The names, as the programs of the library have them.
pub(crate) const NAMES: [&str; 16] = [
    "mlp",
    "lenet5",
    "resnet18",
    "resnet34",
    "resnet18-torchvision",
    "resnet34-torchvision",
    "resnet50-torchvision",
    "wide-resnet",
    "vgg",
    "mobilenet-v2",
    "convnext-tiny",
    "vit-tiny",
    "deit-tiny",
    "gpt2",
    "bert",
    "llama",
];
/// Most numbers of an input times outputs, so that sizes that follow from them can be counted.
const MOST: usize = 1 << 48;
/// Names of networks that read tokens.
const OF_TOKENS: [&str; 3] = ["gpt2", "bert", "llama"];
/// Names of networks whose activation can be chosen.
const WITH_ACTIVATION: [&str; 4] = ["mlp", "lenet5", "resnet18", "resnet34"];
/// Activations by name.
const ACTIVATIONS: [(&str, Activation); 5] = [
    ("relu", Activation::Relu),
    ("gelu-tanh", Activation::Gelu),
    ("gelu-erf", Activation::GeluErf),
    ("silu", Activation::Silu),
    ("tanh", Activation::Tanh),
];

/// The network of this name for inputs of this shape.
pub(crate) fn named(
    name: &str,
    input: &[usize],
    outputs: usize,
    activation: Option<&str>,
) -> PyResult<Network> {
    if !NAMES.contains(&name) {
        let known = NAMES.join(", ");
        return refused(format!("no network is named {name:?}; there are {known}"));
    }
    let numbers = input.iter().fold(1_usize, |count, size| count.saturating_mul(*size));
    if numbers.saturating_mul(outputs) > MOST {
        return refused(format!(
            "input_shape {input:?} and {outputs} outputs are more numbers than any machine holds"
        ));
    }
    let activation = activation.map(|chosen| of_name(name, chosen)).transpose()?;
    match *input {
        [tokens] if OF_TOKENS.contains(&name) => of_tokens(name, tokens, outputs),
        [channels, height, width] if !OF_TOKENS.contains(&name) => {
            let input = [channels, height, width];
            of_images(name, input, outputs, activation.unwrap_or_default())
        }
        _ => {
            let of_tokens = OF_TOKENS.contains(&name);
            let expected = if of_tokens { "(tokens,)" } else { "(channels, height, width)" };
            return refused(format!(
                "input_shape of {name:?} is {input:?}; expected {expected}, that of one example"
            ));
        }
    }
    .map_err(exception)
}

fn of_name(network: &str, activation: &str) -> PyResult<Activation> {
    if !WITH_ACTIVATION.contains(&network) {
        return refused(format!("{network:?} has an activation of its own; leave it out"));
    }
    match ACTIVATIONS.iter().find(|(name, _)| *name == activation) {
        Some((_, activation)) => Ok(*activation),
        None => {
            let known = ACTIVATIONS.map(|(name, _)| name).join(", ");
            refused(format!("no activation is named {activation:?}; there are {known}"))
        }
    }
}

fn of_images(
    name: &str,
    input: [usize; 3],
    outputs: usize,
    activation: Activation,
) -> entk::models::Result<Network> {
    let paper = |config| ResNetConfig { input, outputs, activation, ..config }.network();
    let torch =
        |config: ResNetConfig| ResNetConfig { input, outputs, ..config.torchvision() }.network();
    let vit = |distilled| VitConfig { input, outputs, distilled, ..VitConfig::tiny() }.network();
    match name {
        "lenet5" => LeNet5Config { input, outputs, activation, ..Default::default() }.network(),
        "resnet18" => paper(ResNetConfig::default()),
        "resnet34" => paper(ResNetConfig::resnet34()),
        "resnet18-torchvision" => torch(ResNetConfig::default()),
        "resnet34-torchvision" => torch(ResNetConfig::resnet34()),
        "resnet50-torchvision" => torch(ResNetConfig::resnet50()),
        "wide-resnet" => WideResNetConfig { input, outputs, ..Default::default() }.network(),
        "vgg" => VggConfig { input, outputs, ..Default::default() }.network(),
        "mobilenet-v2" => MobileNetV2Config { input, outputs, ..Default::default() }.network(),
        "convnext-tiny" => ConvNextConfig { input, outputs, ..Default::default() }.network(),
        "vit-tiny" => vit(false),
        "deit-tiny" => vit(true),
        _ => MlpConfig { input, outputs, activation, ..Default::default() }.network(),
    }
}

fn of_tokens(name: &str, tokens: usize, outputs: usize) -> entk::models::Result<Network> {
    let head = LanguageHead::Labels(outputs);
    match name {
        "bert" => BertConfig { tokens, outputs, ..Default::default() }.network(),
        "llama" => LlamaConfig { tokens, head, ..Default::default() }.network(),
        _ => Gpt2Config { tokens, head, ..Default::default() }.network(),
    }
}

fn refused<T>(words: String) -> PyResult<T> {
    Err(InvalidInput::new_err(words))
}
