//! ConvNeXt as a configuration: stages go in, a network comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layer::Layer,
    layers::{Conv2d, Dense, LayerNorm, Residual, Sequential},
    loops::padding::Padding,
    network::Network,
    operations::{entrywise::Multiply, reduce::GlobalMean, shape::Permute},
    params::{
        init::{InitialLaw, Initializer},
        spec::ParamSpec,
    },
};

/// Added to the variances of layer norms.
const EPS: f64 = 1e-6;
const LAW: InitialLaw = InitialLaw::Normal { std: 0.02 };

/// ConvNeXt of Liu et al. (2022): stages of depthwise 7x7 convolutions with a perceptron on each
/// pixel behind a layer norm, scaled channel by channel. The default is ConvNeXt-T with 28,589,128
/// parameters.
///
/// Names are torchvision's: `features.0.0`, `features.1.0.block.0`, `features.1.0.layer_scale`,
/// ..., `classifier.0`, `classifier.2`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct ConvNextConfig {
    /// Input shape (C, H, W).
    pub input: [usize; 3],
    /// Filters and blocks of each stage; the image is a quarter of the input in the first, and
    /// half of the one before in the others.
    pub stages: Vec<[usize; 2]>,
    /// Number of outputs.
    pub outputs: usize,
    /// First value of the scales.
    pub layer_scale: f64,
}

impl Default for ConvNextConfig {
    fn default() -> Self {
        Self {
            input: [3, 224, 224],
            stages: vec![[96, 3], [192, 3], [384, 9], [768, 3]],
            outputs: 1000,
            layer_scale: 1e-6,
        }
    }
}

impl ConvNextConfig {
    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero, or an input that is too small for the stages.
    pub fn network(&self) -> Result<Network> {
        let sizes = self.stages.iter().flatten().chain(&self.input).chain([&self.outputs]);
        if self.stages.is_empty() || sizes.into_iter().any(|size| *size == 0) {
            return Err(ModelError::zero("convnext sizes"));
        }
        let (mut layers, mut channels) = (Sequential::new(), self.input[0]);
        for (stage, &[filters, blocks]) in self.stages.iter().enumerate() {
            let name = |part: &str| format!("features.{}.{part}", 2 * stage);
            if stage == 0 {
                layers.push(patches(&name("0"), channels, filters, 4));
                layers.push(norm(&name("1"), filters));
            } else {
                layers.push(norm(&name("0"), channels));
                layers.push(patches(&name("1"), channels, filters, 2));
            }
            for block in 0..blocks {
                layers.push(self.block(&format!("features.{}.{block}", 2 * stage + 1), filters));
            }
            channels = filters;
        }
        let layers = layers
            .then(GlobalMean)
            .then(LayerNorm::new("classifier.0", &[channels]).with_eps(EPS))
            .then(Dense::new("classifier.2", channels, self.outputs).with_law(LAW));
        Network::new(&self.input, layers)
    }

    fn block(&self, name: &str, filters: usize) -> Residual {
        let part = |part: usize| format!("{name}.block.{part}");
        let depthwise = Conv2d::new(&part(0), filters, filters, 7).with_groups(filters);
        let branch = Sequential::new()
            .then(depthwise.with_padding(3).with_law(LAW))
            .then(Permute::new(&[1, 2, 0]))
            .then(LayerNorm::new(&part(2), &[filters]).with_eps(EPS))
            .then(Dense::new(&part(3), filters, 4 * filters).with_law(LAW))
            .then(Activation::GeluErf)
            .then(Dense::new(&part(5), 4 * filters, filters).with_law(LAW))
            .then(Permute::new(&[2, 0, 1]))
            .then(LayerScale {
                name: format!("{name}.layer_scale"),
                channels: filters,
                value: self.layer_scale,
            });
        Residual::new(branch)
    }
}

/// A convolution whose windows tile the image.
fn patches(name: &str, channels: usize, filters: usize, side: usize) -> Conv2d {
    let conv = Conv2d::new(name, channels, filters, side).with_stride(side);
    conv.with_padding(Padding::Valid).with_law(LAW)
}

fn norm(name: &str, channels: usize) -> LayerNorm {
    LayerNorm::over_channels(name, channels).with_eps(EPS)
}

/// A scale for each channel of images, (C, 1, 1).
#[derive(Debug, Clone)]
struct LayerScale {
    name: String,
    channels: usize,
    value: f64,
}

impl Layer for LayerScale {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let init = Initializer::Constant(self.value);
        let spec = ParamSpec::trainable(&self.name, &[self.channels, 1, 1], init);
        let scale = graph.parameter(spec)?;
        graph.apply(Multiply, &[x, scale])
    }
}
