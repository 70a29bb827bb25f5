//! Wide ResNets as a configuration: a depth and a factor go in, a network comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layers::{BatchNorm2d, Conv2d, Dense},
    network::Network,
    operations::{entrywise::AddActivated, reduce::GlobalMean},
    params::init::InitialLaw,
};

/// The wide ResNets of Zagoruyko and Komodakis for small images: norm and activation come before
/// each convolution, three groups of blocks, and widths that are a factor of 16, 32 and 64. The
/// default is WRN-28-10 with 36,479,194 parameters and ten outputs.
///
/// Names are those of github.com/xternalz/WideResNet-pytorch: `conv1`, `block1.layer.0.bn1`, ...,
/// `block1.layer.0.convShortcut`, `bn1`, `fc`. torchvision's `wide_resnet50_2` is a
/// [`ResNetConfig`](crate::ResNetConfig) of bottlenecks of base width 128.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct WideResNetConfig {
    /// Input shape (C, H, W).
    pub input: [usize; 3],
    /// Blocks of each of the three groups: (depth - 4) / 6.
    pub blocks: usize,
    /// Filters of the first convolution.
    pub width: usize,
    /// What the groups are wider by.
    pub factor: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Activation everywhere.
    pub activation: Activation,
}

impl Default for WideResNetConfig {
    fn default() -> Self {
        Self {
            input: [3, 32, 32],
            blocks: 4,
            width: 16,
            factor: 10,
            outputs: 10,
            activation: Activation::Relu,
        }
    }
}

impl WideResNetConfig {
    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero.
    pub fn network(&self) -> Result<Network> {
        if self.input.contains(&0)
            || [self.blocks, self.width, self.factor, self.outputs].contains(&0)
        {
            return Err(ModelError::zero("wide resnet sizes"));
        }
        let mut graph = Graph::new();
        let x = graph.input(&self.input);
        let mut x = graph.add(&conv("conv1", self.input[0], self.width, 3, 1), x)?;
        let mut channels = self.width;
        for group in 0..3 {
            let filters = (self.width * self.factor) << group;
            for block in 0..self.blocks {
                let name = format!("block{}.layer.{block}", group + 1);
                let stride = if group > 0 && block == 0 { 2 } else { 1 };
                x = self.block(&mut graph, x, &name, [channels, filters], stride)?;
                channels = filters;
            }
        }
        x = graph.add(&self.norm("bn1", channels), x)?;
        x = graph.apply(GlobalMean, &[x])?;
        let head = Dense::new("fc", channels, self.outputs).with_law(InitialLaw::Torch);
        let output = graph.add(&head, x)?;
        graph.network(output)
    }

    fn norm(&self, name: &str, channels: usize) -> BatchNorm2d {
        BatchNorm2d::new(name, channels).with_activation(self.activation)
    }

    /// `x + branch(norm(x))`, or with a shortcut from `norm(x)` where the width changes.
    fn block(
        &self,
        graph: &mut Graph,
        x: Value,
        name: &str,
        [channels, filters]: [usize; 2],
        stride: usize,
    ) -> Result<Value> {
        let part = |part: &str| format!("{name}.{part}");
        let normal = graph.add(&self.norm(&part("bn1"), channels), x)?;
        let y = graph.add(&conv(&part("conv1"), channels, filters, 3, stride), normal)?;
        let y = graph.add(&self.norm(&part("bn2"), filters), y)?;
        let y = graph.add(&conv(&part("conv2"), filters, filters, 3, 1), y)?;
        let shortcut = match channels == filters {
            true => x,
            false => {
                graph.add(&conv(&part("convShortcut"), channels, filters, 1, stride), normal)?
            }
        };
        graph.apply(AddActivated::default(), &[shortcut, y])
    }
}

/// A convolution without bias, padded as in PyTorch.
fn conv(name: &str, channels: usize, filters: usize, kernel: usize, stride: usize) -> Conv2d {
    let conv = Conv2d::new(name, channels, filters, kernel).with_law(InitialLaw::HeFanOut);
    conv.without_bias().with_stride(stride).with_padding(kernel / 2)
}
