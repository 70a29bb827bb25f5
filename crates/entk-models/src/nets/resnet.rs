//! The paper's ResNets as a configuration: stages and a width go in, a network comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    layers::{BatchNorm2d, Conv2d, Dense, Residual, Sequential},
    loops::padding::Padding,
    network::Network,
    operations::reduce::GlobalMean,
};

/// The paper's ResNet for small images: a 3x3 convolution at stride 1 without max-pooling, stages
/// of residual blocks that halve the image and double the width, a mean over pixels and one dense
/// layer. The default is ResNet18 with 11,169,345 parameters.
///
/// A block is `act(shortcut(x) + norm(conv(act(norm(conv(x))))))` with 3x3 convolutions without
/// bias; where the shape changes its shortcut is a 1x1 convolution and a norm. Parameters are named
/// as in torchvision: `conv1`, `bn1`, `layer1.0.conv1`, ..., `layer2.0.downsample.0`, `fc`.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `input` | (3, 32, 32) | input shape (C, H, W) |
/// | `blocks` | 2, 2, 2, 2 | residual blocks of each stage |
/// | `width` | 64 | filters of the first convolution and stage, doubled from stage to stage |
/// | `outputs` | 1 | number of outputs |
/// | `activation` | ReLU | everywhere |
/// | `zero_init_residual` | true | the last norm of each branch starts with scale 0 |
/// | `symmetric_padding` | false | stride-2 convolutions pad 1 on both sides, as in torchvision |
///
/// ```
/// # use candle_core::{DType, Device};
/// # use entk_models::{Model, ResNetConfig};
/// let narrow = ResNetConfig { width: 8, ..ResNetConfig::default() }.network()?;
/// let theta = narrow.init(0, DType::F32, &Device::Cpu)?;
/// assert_eq!(theta.count(), 175_817);
/// let deeper = ResNetConfig { blocks: vec![3, 4, 6, 3], ..ResNetConfig::default() }; // ResNet34
/// # assert!(deeper.network().is_ok());
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ResNetConfig {
    /// Input shape (C, H, W).
    pub input: [usize; 3],
    /// Residual blocks of each stage.
    pub blocks: Vec<usize>,
    /// Filters of the first convolution and the first stage; doubled from stage to stage.
    pub width: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Activation everywhere.
    pub activation: Activation,
    /// Whether the last norm of each branch starts with scale 0.
    pub zero_init_residual: bool,
    /// Whether 3x3 convolutions at stride 2 pad 1 on both sides in place of 0 before and 1 after.
    pub symmetric_padding: bool,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self {
            input: [3, 32, 32],
            blocks: vec![2, 2, 2, 2],
            width: 64,
            outputs: 1,
            activation: Activation::Relu,
            zero_init_residual: true,
            symmetric_padding: false,
        }
    }
}

impl ResNetConfig {
    /// ResNet34: 3, 4, 6 and 3 blocks; 21,277,505 parameters.
    pub fn resnet34() -> Self {
        Self { blocks: vec![3, 4, 6, 3], ..Self::default() }
    }

    /// Builds the network.
    ///
    /// # Errors
    /// A width, an input side, a stage or a number of outputs of zero, or a width that overflows.
    pub fn network(&self) -> Result<Network> {
        let [channels, height, width] = self.input;
        if [channels, height, width, self.width, self.outputs].contains(&0) {
            return Err(ModelError::zero("resnet sizes"));
        }
        if self.blocks.is_empty() || self.blocks.contains(&0) {
            return Err(ModelError::zero("resnet blocks"));
        }
        let mut layers = Sequential::new()
            .then(Conv2d::new("conv1", channels, self.width, 3).without_bias())
            .then(BatchNorm2d::new("bn1", self.width).with_activation(self.activation));
        let mut channels = self.width;
        for (stage, &count) in self.blocks.iter().enumerate() {
            let filters = self.stage_width(stage)?;
            for block in 0..count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                layers = layers.then(self.block(&name, channels, filters, stride));
                channels = filters;
            }
        }
        let layers = layers.then(GlobalMean).then(Dense::new("fc", channels, self.outputs));
        Network::new(&self.input, layers)
    }

    fn stage_width(&self, stage: usize) -> Result<usize> {
        let factor = u32::try_from(stage).ok().and_then(|stage| 2usize.checked_pow(stage));
        let width = factor.and_then(|factor| self.width.checked_mul(factor));
        width.ok_or(ModelError::TooWide { stage })
    }

    fn block(&self, name: &str, channels: usize, filters: usize, stride: usize) -> Residual {
        let part = |part: &str| format!("{name}.{part}");
        let padding = match self.symmetric_padding {
            true => Padding::Explicit { top: 1, bottom: 1, left: 1, right: 1 },
            false => Padding::Same,
        };
        let last = BatchNorm2d::new(&part("bn2"), filters);
        let first = Conv2d::new(&part("conv1"), channels, filters, 3).with_padding(padding);
        let branch = Sequential::new()
            .then(first.with_stride(stride).without_bias())
            .then(BatchNorm2d::new(&part("bn1"), filters).with_activation(self.activation))
            .then(Conv2d::new(&part("conv2"), filters, filters, 3).without_bias())
            .then(if self.zero_init_residual { last.with_zero_scale() } else { last });
        let block = Residual::new(branch).with_activation(self.activation);
        if stride == 1 && channels == filters {
            return block;
        }
        let projection = Conv2d::new(&part("downsample.0"), channels, filters, 1);
        let shortcut = Sequential::new()
            .then(projection.with_stride(stride).without_bias())
            .then(BatchNorm2d::new(&part("downsample.1"), filters));
        block.with_shortcut(shortcut)
    }
}
