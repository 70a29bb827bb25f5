//! MobileNetV2 as a configuration: stages of inverted residuals go in, a network comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    layers::{BatchNorm2d, Conv2d, Dense, Residual, Sequential},
    network::Network,
    operations::reduce::GlobalMean,
    params::init::InitialLaw,
};

/// MobileNetV2 of Sandler et al. (2018): inverted residuals, whose convolutions between 1x1 ones
/// are depthwise, with batch norms and ReLU6. The default has 3,504,872 parameters.
///
/// Names are torchvision's: `features.0.0`, `features.1.conv.0.0`, ..., `features.18.0`,
/// `classifier.1`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct MobileNetV2Config {
    /// Input shape (C, H, W).
    pub input: [usize; 3],
    /// What all widths are multiplied by, to multiples of 8.
    pub factor: f64,
    /// Filters of the first convolution, before the factor.
    pub stem: usize,
    /// Stages of equal blocks.
    pub stages: Vec<InvertedStage>,
    /// Filters of the last convolution, which a factor below 1 does not change.
    pub last: usize,
    /// Number of outputs.
    pub outputs: usize,
}

/// Inverted residual blocks one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InvertedStage {
    /// What a block is wider by inside.
    pub expand: usize,
    /// Filters of a block, before the factor.
    pub filters: usize,
    /// Blocks.
    pub blocks: usize,
    /// Stride of the first block.
    pub stride: usize,
}

impl InvertedStage {
    /// Blocks in the order of the paper's table: t, c, n, s.
    pub fn new(expand: usize, filters: usize, blocks: usize, stride: usize) -> Self {
        Self { expand, filters, blocks, stride }
    }
}

impl Default for MobileNetV2Config {
    fn default() -> Self {
        let stages = [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ];
        Self {
            input: [3, 224, 224],
            factor: 1.0,
            stem: 32,
            stages: stages.map(|(t, c, n, s)| InvertedStage::new(t, c, n, s)).to_vec(),
            last: 1280,
            outputs: 1000,
        }
    }
}

impl MobileNetV2Config {
    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero.
    pub fn network(&self) -> Result<Network> {
        let sizes = self.input.iter().chain([&self.stem, &self.last, &self.outputs]);
        let stages = self.stages.iter();
        let stages = stages.flat_map(|s| [&s.expand, &s.filters, &s.blocks, &s.stride]);
        if sizes.chain(stages).any(|size| *size == 0) {
            return Err(ModelError::zero("mobilenet sizes"));
        }
        let mut channels = self.width(self.stem);
        let mut layers = Sequential::new();
        push(&mut layers, "features.0", [self.input[0], channels], 3, (2, 1), true);
        let mut at = 1;
        for stage in &self.stages {
            let filters = self.width(stage.filters);
            for block in 0..stage.blocks {
                let stride = if block == 0 { stage.stride } else { 1 };
                let name = format!("features.{at}.conv");
                let branch = inverted(&name, [channels, filters], stage.expand, stride);
                match stride == 1 && channels == filters {
                    true => layers.push(Residual::new(branch)),
                    false => layers.push(branch),
                }
                (channels, at) = (filters, at + 1);
            }
        }
        let last = if self.factor > 1.0 { self.width(self.last) } else { self.last };
        push(&mut layers, &format!("features.{at}"), [channels, last], 1, (1, 1), true);
        let head = Dense::new("classifier.1", last, self.outputs);
        let head = head.with_law(InitialLaw::Normal { std: 0.01 });
        Network::new(&self.input, layers.then(GlobalMean).then(head))
    }

    /// A width times the factor: the nearest multiple of 8 that is at least nine tenths of it.
    fn width(&self, filters: usize) -> usize {
        let wanted = filters as f64 * self.factor;
        let nearest = (((wanted + 4.0) / 8.0).floor() as usize * 8).max(8);
        if (nearest as f64) < 0.9 * wanted { nearest + 8 } else { nearest }
    }
}

/// A convolution of this kernel, stride and number of groups, its norm, and ReLU6 if it is
/// `active`.
fn push(
    layers: &mut Sequential,
    name: &str,
    [channels, filters]: [usize; 2],
    kernel: usize,
    (stride, groups): (usize, usize),
    active: bool,
) {
    let conv = if active { format!("{name}.0") } else { name.to_owned() };
    let conv = Conv2d::new(&conv, channels, filters, kernel).without_bias();
    let conv = conv.with_stride(stride).with_groups(groups).with_padding(kernel / 2);
    layers.push(conv.with_law(InitialLaw::HeFanOut));
    if active {
        let norm = BatchNorm2d::new(&format!("{name}.1"), filters);
        layers.push(norm.with_activation(Activation::Relu6));
    }
}

/// Wider by 1x1, depthwise 3x3, narrower by 1x1.
fn inverted(
    name: &str,
    [channels, filters]: [usize; 2],
    expand: usize,
    stride: usize,
) -> Sequential {
    let (mut branch, inner, mut at) = (Sequential::new(), channels * expand, 0);
    if expand != 1 {
        push(&mut branch, &format!("{name}.0"), [channels, inner], 1, (1, 1), true);
        at = 1;
    }
    push(&mut branch, &format!("{name}.{at}"), [inner, inner], 3, (stride, inner), true);
    push(&mut branch, &format!("{name}.{}", at + 1), [inner, filters], 1, (1, 1), false);
    branch.then(BatchNorm2d::new(&format!("{name}.{}", at + 2), filters))
}
