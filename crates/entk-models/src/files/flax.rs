//! Weights in flax's names and layouts: a table and a safetensors file go in, parameters come out.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::{
    error::{ModelError, Result},
    files::tensors::{read, to_float},
    nets::{LeNet5Config, MlpConfig, ResNetConfig},
    params::{Params, by_name::check_names, spec::ParamSpec},
};

/// How a tensor lies in a flax file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlaxLayout {
    /// In the order of this crate.
    Same,
    /// A convolution, (height, width, in, out).
    Conv,
    /// A dense layer, (in, out).
    Dense,
    /// A dense layer after a flatten of (height, width, channels), for images (C, H, W) here.
    Flattened([usize; 3]),
}

#[derive(Debug, Clone)]
struct Variable {
    flax: String,
    name: String,
    layout: FlaxLayout,
}

/// Which flax variable becomes which parameter, and how its axes are turned.
///
/// | flax | here |
/// |---|---|
/// | `kernel` of a convolution, (height, width, in, out) | `weight`, (out, in, height, width) |
/// | `kernel` of a dense layer, (in, out) | `weight`, (out, in) |
/// | `kernel` after a flatten, inputs (height, width, channel) | inputs (channel, height, width) |
/// | `scale`, `bias` of a batch norm | `weight`, `bias` |
/// | `mean`, `var` in `batch_stats` | `running_mean`, `running_var` |
///
/// Variable names are paths joined by `/`, as `flax.traverse_util.flatten_dict(variables, sep="/")`
/// gives them. The paper's networks have their table ready ([`ResNetConfig::flax_table`] and so
/// on); for one of your own, list its layers.
///
/// ```
/// # use candle_core::{DType, Device};
/// # use entk_models::{Conv2d, Dense, Flatten, FlaxTable, Model, ModelError, Network, Sequential};
/// let layers = Sequential::new()
///     .then(Conv2d::new("stem", 3, 8, 3))
///     .then(Flatten)
///     .then(Dense::new("head", 8 * 4 * 4, 1));
/// let network = Network::new(&[3, 4, 4], layers)?;
/// let table =
///     FlaxTable::new().conv("Conv_0", "stem").dense_after_flatten("Dense_0", "head", [8, 4, 4]);
/// let loaded = table.load(&network.specs(), "no such file", DType::F32, &Device::Cpu);
/// assert!(matches!(loaded, Err(ModelError::File(_))));
/// # Ok::<(), ModelError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct FlaxTable {
    entries: Vec<Variable>,
}

impl FlaxTable {
    /// No layers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A convolution called `flax` in the file and `name` here.
    #[must_use]
    pub fn conv(self, flax: &str, name: &str) -> Self {
        self.weight_and_bias(flax, name, FlaxLayout::Conv)
    }

    /// A dense layer.
    #[must_use]
    pub fn dense(self, flax: &str, name: &str) -> Self {
        self.weight_and_bias(flax, name, FlaxLayout::Dense)
    }

    /// A dense layer on flattened images of shape (C, H, W).
    #[must_use]
    pub fn dense_after_flatten(self, flax: &str, name: &str, image: [usize; 3]) -> Self {
        self.weight_and_bias(flax, name, FlaxLayout::Flattened(image))
    }

    /// A batch norm.
    #[must_use]
    pub fn batch_norm(self, flax: &str, name: &str) -> Self {
        [
            ("params", "scale", "weight"),
            ("params", "bias", "bias"),
            ("batch_stats", "mean", "running_mean"),
            ("batch_stats", "var", "running_var"),
        ]
        .into_iter()
        .fold(self, |table, (collection, from, to)| {
            let flax = format!("{collection}/{flax}/{from}");
            table.entry(flax, format!("{name}.{to}"), FlaxLayout::Same)
        })
    }

    fn weight_and_bias(self, flax: &str, name: &str, layout: FlaxLayout) -> Self {
        self.entry(format!("params/{flax}/kernel"), format!("{name}.weight"), layout).entry(
            format!("params/{flax}/bias"),
            format!("{name}.bias"),
            FlaxLayout::Same,
        )
    }

    fn entry(mut self, flax: String, name: String, layout: FlaxLayout) -> Self {
        self.entries.push(Variable { flax, name, layout });
        self
    }

    /// Reads the tensors of `specs` from a safetensors file of flax variables, converted to
    /// `dtype`. A bias in the table that `specs` lacks (a convolution without bias) is passed over.
    ///
    /// # Errors
    /// As [`Params::load`], names and shapes being those of the file; a parameter that is not in
    /// the table.
    pub fn load(
        &self,
        specs: &[ParamSpec],
        path: impl AsRef<Path>,
        dtype: DType,
        device: &Device,
    ) -> Result<Params> {
        let sources: Vec<FlaxSource<'_>> =
            specs.iter().map(|spec| self.source(spec)).collect::<Result<_>>()?;
        let path = path.as_ref();
        let expected: Vec<_> =
            sources.iter().map(|source| (source.flax, source.stored.as_slice())).collect();
        let mut found = read(path)?;
        check_names(&expected, &mut found)?;
        let turned = sources.iter().filter_map(|source| {
            let stored = found.get(source.flax)?;
            let turned = to_float(stored, source.flax, path, dtype).and_then(|t| source.turn(&t));
            Some(turned.and_then(|t| Ok((source.spec.name.clone(), t.to_device(device)?))))
        });
        Params::of_kinds(specs, turned.collect::<Result<_>>()?)
    }

    fn source<'a>(&'a self, spec: &'a ParamSpec) -> Result<FlaxSource<'a>> {
        let entry = self.entries.iter().find(|entry| entry.name == spec.name);
        let entry = entry.ok_or_else(|| ModelError::NotInTable { name: spec.name.clone() })?;
        let misfit = || ModelError::shape(&spec.name, format!("{:?}", entry.layout), &spec.shape);
        let (stored, axes) = match (entry.layout, spec.shape.as_slice()) {
            (FlaxLayout::Same, shape) => (shape.to_vec(), shape.to_vec()),
            (FlaxLayout::Conv, &[out, inputs, height, width]) => {
                (vec![height, width, inputs, out], vec![height, width, inputs, out])
            }
            (FlaxLayout::Dense, &[out, inputs]) => (vec![inputs, out], vec![inputs, out]),
            (FlaxLayout::Flattened([c, h, w]), &[out, inputs]) if inputs == c * h * w => {
                (vec![inputs, out], vec![h, w, c, out])
            }
            _ => return Err(misfit()),
        };
        Ok(FlaxSource { flax: &entry.flax, spec, stored, axes })
    }
}

/// One parameter and where it comes from.
struct FlaxSource<'a> {
    flax: &'a str,
    spec: &'a ParamSpec,
    /// Shape in the file.
    stored: Vec<usize>,
    /// Shape in the file with flattened images unfolded.
    axes: Vec<usize>,
}

impl FlaxSource<'_> {
    /// The tensor in the order of axes here.
    fn turn(&self, stored: &Tensor) -> Result<Tensor> {
        let order: &[usize] = match self.axes.len() {
            4 => &[3, 2, 0, 1],
            2 => &[1, 0],
            _ => return Ok(stored.contiguous()?),
        };
        let turned = stored.reshape(self.axes.as_slice())?.permute(order)?;
        Ok(turned.contiguous()?.reshape(self.spec.shape.as_slice())?)
    }
}

impl MlpConfig {
    /// The table for the paper's released flax model: `Dense_0`, `Dense_1`, ...
    pub fn flax_table(&self) -> FlaxTable {
        (0..=self.hidden.len()).fold(FlaxTable::new(), |table, at| {
            let (flax, name) = (format!("Dense_{at}"), format!("fc{}", at + 1));
            match at {
                0 => table.dense_after_flatten(&flax, &name, self.input),
                _ => table.dense(&flax, &name),
            }
        })
    }
}

impl LeNet5Config {
    /// The table for the paper's released flax model: `Conv_0`, `Conv_1`, `Dense_0` to `Dense_2`.
    pub fn flax_table(&self) -> FlaxTable {
        let pooled = [self.filters[1], self.input[1] / 4, self.input[2] / 4];
        FlaxTable::new()
            .conv("Conv_0", "conv1")
            .conv("Conv_1", "conv2")
            .dense_after_flatten("Dense_0", "fc1", pooled)
            .dense("Dense_1", "fc2")
            .dense("Dense_2", "fc3")
    }
}

impl ResNetConfig {
    /// The table for the flax example's ResNet, which the paper released: `conv_init`, `bn_init`,
    /// `ResNetBlock_0`, ..., `Dense_0`.
    pub fn flax_table(&self) -> FlaxTable {
        let blocks = (self.blocks.iter().enumerate())
            .flat_map(|(stage, &count)| (0..count).map(move |block| (stage + 1, block)));
        let table = FlaxTable::new().conv("conv_init", "conv1").batch_norm("bn_init", "bn1");
        let table = blocks.enumerate().fold(table, |table, (at, (stage, block))| {
            let flax = |part: &str| format!("ResNetBlock_{at}/{part}");
            let name = |part: &str| format!("layer{stage}.{block}.{part}");
            table
                .conv(&flax("Conv_0"), &name("conv1"))
                .batch_norm(&flax("BatchNorm_0"), &name("bn1"))
                .conv(&flax("Conv_1"), &name("conv2"))
                .batch_norm(&flax("BatchNorm_1"), &name("bn2"))
                .conv(&flax("conv_proj"), &name("downsample.0"))
                .batch_norm(&flax("norm_proj"), &name("downsample.1"))
        });
        table.dense("Dense_0", "fc")
    }
}
