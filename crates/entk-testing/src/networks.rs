//! The networks under test, by name: every layer, activation, stride, padding and form of a factor
//! occurs in one of them. Tests of derivatives, kernels, training and reference values take theirs
//! from here.

use entk_models::{
    Activation, AvgPool2d, BatchNorm1d, BatchNorm2d, Conv2d, Dense, Flatten, GlobalMean, GroupNorm,
    InstanceNorm, LayerNorm, LeNet5Config, MlpConfig, ModelError, MultiHeadAttention, Network,
    Padding, ResNetConfig, Residual, Result, RmsNorm, Sequential, StridePadding,
};

use crate::{
    conv_networks::{dilated, grouped, signals, transposed},
    token_networks::{embedding, few_tokens, recurrent, tied_table, tokens},
};

/// Names of those whose derivatives are tested, and examples for it.
pub const DERIVATIVES: &[(&str, usize)] = &[
    ("mlp relu", 5),
    ("mlp gelu, three outputs", 4),
    ("mlp silu", 5),
    ("mlp tanh", 70),
    ("mlp square", 5),
    ("lenet5 relu", 6),
    ("lenet5 gelu", 6),
    ("strided convolutions", 3),
    ("large filters", 3),
    ("resnet relu", 5),
    ("resnet gelu, two blocks, symmetric", 4),
    ("resnet, zero branches", 5),
    ("norms and activations apart", 4),
    ("norms of each example", 4),
    ("batch norm of sequences", 5),
    ("attention", 4),
    ("dilated convolutions", 4),
    ("grouped convolutions", 4),
    ("convolutions of signals", 4),
    ("transposed convolutions", 4),
];

/// Names of those whose kernels are tested: each form of a factor occurs.
pub const KERNELS: &[&str] = &[
    "mlp",
    "mlp, three outputs",
    "lenet5",
    "no bias",
    "convolutions on few pixels",
    "long convolutions",
    "resnet",
    "tokens",
    "few tokens, two outputs",
    "embedding",
    "embedding of few rows",
    "tied table",
    "recurrent",
    "dilated convolutions",
    "grouped convolutions",
    "convolutions of signals",
    "transposed convolutions",
];

/// Names of those whose inputs are ids, and how many there are.
pub const IDS: &[(&str, usize)] =
    &[("embedding", 40), ("embedding of few rows", 9), ("tied table", 11)];

/// Names of the sets of weights that reference values exist for, and of their networks.
pub const REFERENCES: &[(&str, &str)] = &[
    ("mlp", "paper's mlp"),
    ("mlp_moved", "paper's mlp"),
    ("lenet5", "paper's lenet5"),
    ("lenet5_moved", "paper's lenet5"),
    ("lenet5_gelu_moved", "paper's lenet5, gelu"),
    ("resnet18_w8", "paper's resnet18, width 8"),
    ("resnet18_w8_moved", "paper's resnet18, width 8"),
];

/// The network of this name.
///
/// # Errors
/// A name that is not in the lists.
pub fn named(name: &str) -> Result<Network> {
    use Activation::{Gelu, Relu, Silu, Square, Tanh};
    match name {
        "mlp relu" => mlp([1, 3, 4], &[9, 7], 1, Relu),
        "mlp gelu, three outputs" => mlp([1, 3, 4], &[9, 7], 3, Gelu),
        "mlp silu" => mlp([1, 3, 4], &[9, 7], 1, Silu),
        "mlp tanh" => mlp([1, 3, 4], &[9, 7], 1, Tanh),
        "mlp square" => mlp([1, 3, 4], &[9, 7], 1, Square),
        "lenet5 relu" => lenet5([2, 8, 12], [7, 5], Relu),
        "lenet5 gelu" => lenet5([2, 8, 12], [7, 5], Gelu),
        "strided convolutions" => strided(),
        "large filters" => large_filters(),
        "resnet relu" => two_stages(Relu).network(),
        "resnet gelu, two blocks, symmetric" => symmetric().network(),
        "resnet, zero branches" => two_stages(Gelu).network(),
        "norms and activations apart" => apart(),
        "norms of each example" => norms(),
        "batch norm of sequences" => sequences(),
        "attention" => attention(),
        "mlp" => mlp([1, 4, 5], &[30, 20], 1, Relu),
        "mlp, three outputs" => mlp([1, 4, 5], &[30], 3, Relu),
        "lenet5" => lenet5([2, 8, 8], [12, 8], Gelu),
        "no bias" => without_bias(),
        "convolutions on few pixels" => on_few_pixels(),
        "long convolutions" => long_convolutions(),
        "resnet" => resnet18([2, 8, 8], 6, 2),
        "tokens" => tokens(),
        "few tokens, two outputs" => few_tokens(),
        "embedding" => embedding(5, 40, 9),
        "embedding of few rows" => embedding(6, 9, 8),
        "tied table" => tied_table(4, 11, 7),
        "dilated convolutions" => dilated(),
        "grouped convolutions" => grouped(),
        "convolutions of signals" => signals(),
        "transposed convolutions" => transposed(),
        "recurrent" => recurrent(13),
        "paper's mlp" => MlpConfig::default().network(),
        "paper's lenet5" => LeNet5Config::default().network(),
        "paper's lenet5, gelu" => LeNet5Config { activation: Gelu, ..Default::default() }.network(),
        "paper's resnet18, width 8" => ResNetConfig { width: 8, ..Default::default() }.network(),
        other => Err(ModelError::UnknownName { name: other.to_owned(), known: Vec::new() }),
    }
}

/// Dense layers.
///
/// # Errors
/// Those of [`MlpConfig::network`].
pub fn mlp(
    input: [usize; 3],
    hidden: &[usize],
    outputs: usize,
    activation: Activation,
) -> Result<Network> {
    let hidden = hidden.to_vec();
    MlpConfig { input, hidden, outputs, activation, ..Default::default() }.network()
}

/// A LeNet5 of 3 and 4 filters with one output.
///
/// # Errors
/// Those of [`LeNet5Config::network`].
pub fn lenet5(input: [usize; 3], hidden: [usize; 2], activation: Activation) -> Result<Network> {
    LeNet5Config { input, filters: [3, 4], hidden, outputs: 1, activation }.network()
}

/// A narrow ResNet18 with ReLU.
///
/// # Errors
/// Those of [`ResNetConfig::network`].
pub fn resnet18(input: [usize; 3], width: usize, outputs: usize) -> Result<Network> {
    ResNetConfig { input, width, outputs, ..Default::default() }.network()
}

/// `z = w . x + b`, with parameters `line.weight` and `line.bias`.
///
/// # Errors
/// An input without pixels.
pub fn line(input: [usize; 3]) -> Result<Network> {
    let dense = Dense::new("line", input.iter().product(), 1);
    Network::new(&input, Sequential::new().then(Flatten).then(dense))
}

/// A ResNet of two stages of one block on 8 x 8 pixels.
pub fn two_stages(activation: Activation) -> ResNetConfig {
    ResNetConfig {
        input: [2, 8, 8],
        blocks: vec![1, 1],
        width: 3,
        activation,
        ..Default::default()
    }
}

/// Odd sides, two outputs, two blocks a stage, padding as in torchvision.
fn symmetric() -> ResNetConfig {
    ResNetConfig {
        input: [1, 7, 5],
        blocks: vec![2, 2],
        width: 2,
        outputs: 2,
        activation: Activation::Gelu,
        padding: StridePadding::Symmetric,
        zero_init_residual: false,
        ..Default::default()
    }
}

/// A residual without activation whose shortcut ends in a norm, and layers that could be fused.
fn apart() -> Result<Network> {
    let branch = Sequential::new()
        .then(BatchNorm2d::new("n1", 3).with_activation(Activation::Tanh))
        .then(Conv2d::new("c1", 3, 4, 3));
    let shortcut =
        Sequential::new().then(Conv2d::new("s", 3, 4, 1)).then(BatchNorm2d::new("n2", 4));
    let layers = Sequential::new()
        .then(Conv2d::new("a", 2, 3, 3))
        .then(BatchNorm2d::new("n0", 3))
        .then(Activation::Silu)
        .then(Residual::new(branch).with_shortcut(shortcut))
        .then(GlobalMean)
        .then(Dense::new("head", 4, 1));
    Network::new(&[2, 5, 3], layers)
}

/// Each norm that lets examples alone.
fn norms() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("a", 2, 4, 3))
        .then(GroupNorm::new("n1", 2, 4))
        .then(Activation::Tanh)
        .then(Conv2d::new("b", 4, 3, 3))
        .then(InstanceNorm::new("n2", 3))
        .then(Activation::Gelu)
        .then(LayerNorm::over_channels("n3", 3).with_eps(0.1))
        .then(Flatten)
        .then(RmsNorm::new("n4", 60))
        .then(Dense::new("head", 60, 2));
    Network::new(&[2, 5, 4], layers)
}

/// Batch norms with pixels along one axis and without.
fn sequences() -> Result<Network> {
    let layers = Sequential::new()
        .then(BatchNorm1d::new("n1", 3))
        .then(Flatten)
        .then(Dense::new("fc", 12, 5))
        .then(BatchNorm1d::new("n2", 5).with_activation(Activation::Gelu))
        .then(Dense::new("head", 5, 1));
    Network::new(&[3, 4], layers)
}

/// A block of a transformer, norms first.
fn attention() -> Result<Network> {
    let attention = Sequential::new()
        .then(LayerNorm::new("norm1", &[6]))
        .then(MultiHeadAttention::new("attn", 6, 2).causal());
    let dense = Sequential::new()
        .then(LayerNorm::new("norm2", &[6]).without_bias())
        .then(Dense::new("fc1", 6, 8))
        .then(Activation::Gelu)
        .then(Dense::new("fc2", 8, 6));
    let layers = Sequential::new()
        .then(Residual::new(attention))
        .then(Residual::new(dense))
        .then(Flatten)
        .then(Dense::new("head", 30, 2));
    Network::new(&[5, 6], layers)
}

/// Odd sizes, stride 2, no bias, asymmetric and absent padding.
fn strided() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("a", 2, 3, 3).with_stride(2).without_bias())
        .then(Activation::Tanh)
        .then(Conv2d::new("b", 3, 4, 3).with_padding(Padding::Valid))
        .then(Activation::Tanh)
        .then(Conv2d::new("c", 4, 2, 1).with_stride(2))
        .then(Flatten)
        .then(Dense::new("head", 2 * 2 * 2, 1).without_bias());
    Network::new(&[2, 10, 10], layers)
}

/// Enough weights for the task split by filters, and several images in one block.
fn large_filters() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("a", 1, 64, 3))
        .then(Activation::Relu)
        .then(Conv2d::new("b", 64, 80, 3).with_stride(2))
        .then(AvgPool2d::new(2))
        .then(Flatten)
        .then(Dense::new("head", 80, 1));
    Network::new(&[1, 4, 4], layers)
}

fn without_bias() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("conv", 1, 3, 3).without_bias())
        .then(Activation::Relu)
        .then(Flatten)
        .then(Dense::new("fc1", 3 * 6 * 6, 10).without_bias())
        .then(Activation::Tanh)
        .then(Dense::new("fc2", 10, 1).without_bias());
    Network::new(&[1, 6, 6], layers)
}

/// Convolutions on so few pixels that pairs of pixels are cheaper than rows.
fn on_few_pixels() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("conv1", 1, 24, 3).with_stride(2))
        .then(Activation::Gelu)
        .then(Conv2d::new("conv2", 24, 37, 3))
        .then(Activation::Tanh)
        .then(Conv2d::new("conv3", 37, 40, 3).with_stride(2).without_bias())
        .then(Flatten)
        .then(Dense::new("fc", 40, 1));
    Network::new(&[1, 4, 4], layers)
}

/// Convolutions with more parameters than inputs and outputs: their rows are expanded in parts.
fn long_convolutions() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("conv1", 1, 24, 3))
        .then(Activation::Gelu)
        .then(Conv2d::new("conv2", 24, 37, 3))
        .then(Activation::Tanh)
        .then(Conv2d::new("conv3", 37, 40, 3).with_stride(2).without_bias())
        .then(GlobalMean)
        .then(Dense::new("fc", 40, 1));
    Network::new(&[1, 7, 6], layers)
}
