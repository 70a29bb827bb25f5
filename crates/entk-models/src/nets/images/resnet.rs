//! ResNets as a configuration, in the paper's form and in torchvision's: stages and a width go in,
//! a network comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    layers::{BatchNorm2d, Conv2d, Dense, Residual, Sequential},
    loops::padding::Padding,
    network::Network,
    operations::{
        pooling::{MaxPool2d, PoolWindows},
        reduce::GlobalMean,
    },
    params::init::InitialLaw,
};

/// ResNets: the paper's for small images (a 3x3 convolution at stride 1 without max pooling) and
/// torchvision's (7x7 at stride 2, then 3x3 max pooling); stages of residual blocks that halve the
/// image and double the width, a mean over pixels and one dense layer. The default is the paper's
/// ResNet18 with 11,169,345 parameters.
///
/// A block is `act(shortcut(x) + norm(conv(act(norm(conv(x))))))` with 3x3 convolutions without
/// bias, or a bottleneck of three; where the shape changes its shortcut is a 1x1 convolution and a
/// norm. Parameters are named as in torchvision: `conv1`, `bn1`, `layer1.0.conv1`, ...,
/// `layer2.0.downsample.0`, `fc`.
///
/// | field | default | [`torchvision`](ResNetConfig::torchvision) | meaning |
/// |---|---|---|---|
/// | `input` | (3, 32, 32) | (3, 224, 224) | input shape (C, H, W) |
/// | `stem` | 3x3 | 7x7 and max pooling | what comes before the stages |
/// | `block` | basic | | two 3x3 convolutions, or a bottleneck |
/// | `blocks` | 2, 2, 2, 2 | | residual blocks of each stage |
/// | `width` | 64 | | filters of the first convolution and stage, doubled from stage to stage |
/// | `outputs` | 1 | 1000 | number of outputs |
/// | `activation` | ReLU | ReLU | everywhere |
/// | `zero_init_residual` | true | false | the last norm of each branch starts with scale 0 |
/// | `padding` | `Same` | `Symmetric` | zeros around 3x3 convolutions of stride 2 |
/// | `law` | LeCun | He, of the filters | initial law of the convolutions |
///
/// ```
/// # use candle_core::{DType, Device};
/// # use entk_models::{Model, ResNetConfig};
/// let narrow = ResNetConfig { width: 8, ..ResNetConfig::default() }.network()?;
/// let theta = narrow.init(0, DType::F32, &Device::Cpu)?;
/// assert_eq!(theta.count(), 175_817);
/// // A state dict of torchvision.models.resnet50 fits this one.
/// let resnet50 = ResNetConfig::resnet50().torchvision().network()?;
/// # let specs = resnet50.specs();
/// # let trainable = specs.iter().filter(|s| s.kind == entk_models::ParamKind::Trainable);
/// # assert_eq!(trainable.map(|s| s.elem_count()).sum::<usize>(), 25_557_032);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ResNetConfig {
    /// Input shape (C, H, W).
    pub input: [usize; 3],
    /// What comes before the stages.
    pub stem: ResNetStem,
    /// What a residual block is.
    pub block: ResNetBlock,
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
    /// Where 3x3 convolutions of stride 2 put their zeros.
    pub padding: StridePadding,
    /// Initial law of the convolutions and, but for [`InitialLaw::HeFanOut`], of the dense layer,
    /// which has PyTorch's default then.
    pub law: InitialLaw,
}

/// What comes before the stages of a ResNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ResNetStem {
    /// A 3x3 convolution of stride 1, for small images.
    Conv3,
    /// A 7x7 convolution of stride 2 and 3x3 max pooling of stride 2.
    Conv7MaxPool,
}

/// What a residual block of a ResNet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ResNetBlock {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 with the block's stride, and 1x1 to four times the stage's width.
    Bottleneck {
        /// Filters of the 3x3 convolution per 64 of the stage's width: 64, or 128 in a wide
        /// ResNet.
        base_width: usize,
    },
}

/// Where a 3x3 convolution of stride 2 puts zeros on an axis of even length; no shape shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StridePadding {
    /// 0 before and 1 after: `SAME` of flax and TensorFlow.
    Same,
    /// 1 before and 1 after: `padding=1` of PyTorch.
    Symmetric,
}

impl StridePadding {
    /// Zeros around a square kernel of odd size.
    fn around(self, kernel: usize) -> Padding {
        match self {
            Self::Same => Padding::Same,
            Self::Symmetric => (kernel / 2).into(),
        }
    }
}

impl Default for ResNetConfig {
    fn default() -> Self {
        Self {
            input: [3, 32, 32],
            stem: ResNetStem::Conv3,
            block: ResNetBlock::Basic,
            blocks: vec![2, 2, 2, 2],
            width: 64,
            outputs: 1,
            activation: Activation::Relu,
            zero_init_residual: true,
            padding: StridePadding::Same,
            law: InitialLaw::Lecun,
        }
    }
}

impl ResNetConfig {
    /// ResNet34: 3, 4, 6 and 3 blocks; 21,277,505 parameters.
    pub fn resnet34() -> Self {
        Self { blocks: vec![3, 4, 6, 3], ..Self::default() }
    }

    /// ResNet50: 3, 4, 6 and 3 bottlenecks.
    pub fn resnet50() -> Self {
        Self { block: ResNetBlock::Bottleneck { base_width: 64 }, ..Self::resnet34() }
    }

    /// This network in torchvision's form: its stem, padding, initial law, images and classes.
    #[must_use]
    pub fn torchvision(self) -> Self {
        Self {
            input: [3, 224, 224],
            stem: ResNetStem::Conv7MaxPool,
            outputs: 1000,
            zero_init_residual: false,
            padding: StridePadding::Symmetric,
            law: InitialLaw::HeFanOut,
            ..self
        }
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
        let (mut layers, mut channels) = (self.stem_layers(channels), self.width);
        for (stage, &count) in self.blocks.iter().enumerate() {
            let width = self.stage_width(stage)?;
            for block in 0..count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                layers.push(self.residual(&name, channels, width, stride));
                channels = width * self.expansion();
            }
        }
        let law = if self.law == InitialLaw::HeFanOut { InitialLaw::Torch } else { self.law };
        let head = Dense::new("fc", channels, self.outputs).with_law(law);
        Network::new(&self.input, layers.then(GlobalMean).then(head))
    }

    fn stage_width(&self, stage: usize) -> Result<usize> {
        let factor = u32::try_from(stage).ok().and_then(|stage| 2usize.checked_pow(stage));
        let width = factor.and_then(|factor| self.width.checked_mul(factor));
        let width = width.filter(|width| width.checked_mul(self.expansion()).is_some());
        width.ok_or(ModelError::TooWide { stage })
    }

    fn expansion(&self) -> usize {
        if self.block == ResNetBlock::Basic { 1 } else { 4 }
    }

    /// A convolution without bias.
    fn conv(&self, name: &str, channels: usize, filters: usize, kernel: usize) -> Conv2d {
        Conv2d::new(name, channels, filters, kernel).without_bias().with_law(self.law)
    }

    fn stem_layers(&self, channels: usize) -> Sequential {
        let norm = BatchNorm2d::new("bn1", self.width).with_activation(self.activation);
        let conv = |kernel| self.conv("conv1", channels, self.width, kernel);
        match self.stem {
            ResNetStem::Conv3 => Sequential::new().then(conv(3)).then(norm),
            ResNetStem::Conv7MaxPool => {
                let windows = PoolWindows::new(3).with_stride(2).with_padding(1);
                let conv = conv(7).with_stride(2).with_padding(3);
                Sequential::new().then(conv).then(norm).then(MaxPool2d::new(windows))
            }
        }
    }

    fn residual(&self, name: &str, channels: usize, width: usize, stride: usize) -> Residual {
        let filters = width * self.expansion();
        let branch = match self.block {
            ResNetBlock::Basic => {
                self.branch(name, stride, &[(3, channels), (3, width)], filters, 0)
            }
            ResNetBlock::Bottleneck { base_width } => {
                let inner = (width * base_width / 64).max(1);
                let convs = [(1, channels), (3, inner), (1, inner)];
                self.branch(name, stride, &convs, filters, 1)
            }
        };
        let block = Residual::new(branch).with_activation(self.activation);
        if stride == 1 && channels == filters {
            return block;
        }
        let projection = self.conv(&format!("{name}.downsample.0"), channels, filters, 1);
        let norm = BatchNorm2d::new(&format!("{name}.downsample.1"), filters);
        block.with_shortcut(Sequential::new().then(projection.with_stride(stride)).then(norm))
    }

    /// Convolutions of these kernels and channels, each with a norm; `strided` has the stride.
    fn branch(
        &self,
        name: &str,
        stride: usize,
        convs: &[(usize, usize)],
        filters: usize,
        strided: usize,
    ) -> Sequential {
        let mut branch = Sequential::new();
        for (at, &(kernel, channels)) in convs.iter().enumerate() {
            let is_last = at + 1 == convs.len();
            let filters = if is_last { filters } else { convs[at + 1].1 };
            let conv = self.conv(&format!("{name}.conv{}", at + 1), channels, filters, kernel);
            let norm = BatchNorm2d::new(&format!("{name}.bn{}", at + 1), filters);
            branch.push(match at == strided {
                true => conv.with_stride(stride).with_padding(self.padding.around(kernel)),
                false => conv,
            });
            branch.push(match is_last {
                true if self.zero_init_residual => norm.with_zero_scale(),
                true => norm,
                false => norm.with_activation(self.activation),
            });
        }
        branch
    }
}
