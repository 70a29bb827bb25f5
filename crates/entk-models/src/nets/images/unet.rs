//! U-Nets as a configuration: a width and a depth go in, a network comes out.

use entk_device::Activation;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layers::{BatchNorm2d, Conv2d, ConvTranspose2d, Sequential},
    network::Network,
    operations::{
        pooling::{Interpolation, MaxPool2d, Upsample2d},
        reduce::GlobalMean,
        shape::{Concat, Flatten, Pad},
    },
    params::init::InitialLaw,
};

/// The U-Net of Ronneberger et al. (2015) with padding and batch norms: pairs of convolutions, max
/// pooling on the way down, finer grids on the way up, and what the way down had at each size
/// beside them. The default has 31,037,698 parameters and gives a map of two classes.
///
/// Names are those of github.com/milesial/Pytorch-UNet: `inc.double_conv.0`,
/// `down1.maxpool_conv.1.` `double_conv.0`, `up1.up`, `up1.conv.double_conv.0`, ..., `outc.conv`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct UNetConfig {
    /// Input shape (C, H, W).
    pub input: [usize; 3],
    /// Filters at full size, doubled at each size below.
    pub width: usize,
    /// How often the image is halved.
    pub depth: usize,
    /// Maps of the output.
    pub classes: usize,
    /// Whether grids are refined by bilinear interpolation, not by a transposed convolution.
    pub bilinear: bool,
    /// What is given.
    pub output: UNetOutput,
}

/// What a U-Net gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum UNetOutput {
    /// All maps in row-major order: `classes` H W outputs.
    Maps,
    /// The mean of each map: `classes` outputs.
    Means,
}

impl Default for UNetConfig {
    fn default() -> Self {
        Self {
            input: [3, 128, 128],
            width: 64,
            depth: 4,
            classes: 2,
            bilinear: false,
            output: UNetOutput::Maps,
        }
    }
}

impl UNetConfig {
    /// Builds the network.
    ///
    /// # Errors
    /// A size of zero, or an image that cannot be halved so often.
    pub fn network(&self) -> Result<Network> {
        if self.input.contains(&0) || [self.width, self.depth, self.classes].contains(&0) {
            return Err(ModelError::zero("unet sizes"));
        }
        let mut graph = Graph::new();
        let x = graph.input(&self.input);
        let first = double("inc", [self.input[0], self.width, self.width]);
        let mut skips = vec![graph.add(&first, x)?];
        for level in 1..=self.depth {
            let (channels, filters) = (self.width_at(level - 1), self.width_at(level));
            let filters = if level == self.depth { self.halved(filters) } else { filters };
            let name = format!("down{level}.maxpool_conv.1");
            let down = Sequential::new()
                .then(MaxPool2d::new(2))
                .then(double(&name, [channels, filters, filters]));
            skips.push(graph.add(&down, skips[level - 1])?);
        }
        let mut x = skips[self.depth];
        for level in (1..=self.depth).rev() {
            x = self.up(&mut graph, x, skips[level - 1], level)?;
        }
        let head = Conv2d::new("outc.conv", self.width, self.classes, 1);
        let maps = graph.add(&head.with_law(InitialLaw::Torch), x)?;
        let output = match self.output {
            UNetOutput::Maps => graph.apply(Flatten, &[maps])?,
            UNetOutput::Means => graph.apply(GlobalMean, &[maps])?,
        };
        graph.network(output)
    }

    fn width_at(&self, level: usize) -> usize {
        self.width << level
    }

    /// Interpolation changes no width, so that it is halved before.
    fn halved(&self, filters: usize) -> usize {
        if self.bilinear { filters / 2 } else { filters }
    }

    /// The grid of `skip` from the one below it.
    fn up(&self, graph: &mut Graph, x: Value, skip: Value, level: usize) -> Result<Value> {
        let name = format!("up{}", self.depth - level + 1);
        let channels = self.width_at(level);
        let x = match self.bilinear {
            true => graph.apply(
                Upsample2d::by(2.0)
                    .with_interpolation(Interpolation::Linear { align_corners: true }),
                &[x],
            )?,
            false => {
                let up = ConvTranspose2d::new(&format!("{name}.up"), channels, channels / 2, 2);
                graph.add(&up.with_stride(2).with_padding(0).with_law(InitialLaw::Torch), x)?
            }
        };
        let x = padded_to(graph, x, skip)?;
        let x = graph.apply(Concat::new(0), &[skip, x])?;
        let filters = self.width_at(level - 1);
        let filters = if level > 1 { self.halved(filters) } else { filters };
        let between = if self.bilinear { channels / 2 } else { filters };
        graph.add(&double(&format!("{name}.conv"), [channels, between, filters]), x)
    }
}

/// An image with zeros around it to the sides of another, the odd one behind.
fn padded_to(graph: &mut Graph, mut x: Value, other: Value) -> Result<Value> {
    for axis in [1, 2] {
        let missing = graph.shape(other)?[axis].saturating_sub(graph.shape(x)?[axis]);
        if missing > 0 {
            let pad = Pad::new(axis, missing / 2, missing - missing / 2);
            x = graph.apply(pad, &[x])?;
        }
    }
    Ok(x)
}

/// Two 3x3 convolutions to these widths, each with a norm and ReLU.
fn double(name: &str, widths: [usize; 3]) -> Sequential {
    let mut layers = Sequential::new();
    for at in 0..2 {
        let conv = format!("{name}.double_conv.{}", 3 * at);
        let norm = format!("{name}.double_conv.{}", 3 * at + 1);
        let conv = Conv2d::new(&conv, widths[at], widths[at + 1], 3).without_bias();
        layers.push(conv.with_padding(1).with_law(InitialLaw::Torch));
        layers.push(BatchNorm2d::new(&norm, widths[at + 1]).with_activation(Activation::Relu));
    }
    layers
}
