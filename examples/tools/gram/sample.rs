//! What `gram` works on: flags come in; inputs, targets, network and parameters go out, each
//! checked with a message that names the file. Called by its main.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use entk::{
    data::{Layout, embedded, npy},
    models::{Model, Network, Params, ensure_finite},
    spectral::BinaryTarget,
};
use entk_examples::{ModelName, NetworkSource, Run};

use crate::flags::{Flags, LayoutName};

/// Images taken from the embedded slice where --n says nothing.
const EMBEDDED_N: usize = 1_000;

/// Inputs, examples first, and, where there are labels, targets in {-1, +1}.
pub struct Sample {
    pub inputs: Tensor,
    pub targets: Option<Vec<f64>>,
}

impl Sample {
    /// The inputs on `device`.
    pub fn read(flags: &Flags, networks: &NetworkSource, device: &Device) -> Result<Self> {
        let sample = match &flags.inputs {
            Some(path) => Self::of_files(path, flags, networks),
            None => Self::of_embedded(flags, networks),
        }?;
        Ok(Self { inputs: sample.inputs.to_device(device)?, ..sample })
    }

    fn of_embedded(flags: &Flags, networks: &NetworkSource) -> Result<Self> {
        let (split, _) = embedded()?.standardized()?;
        let (channels, height, width) = split.train.images().image_shape();
        networks
            .ensure_input(&[channels, height, width])
            .context("the embedded slice of Fashion-MNIST does not fit; give --inputs FILE.npy")?;
        let count = split.train.images().count();
        let n = flags.n.unwrap_or(EMBEDDED_N);
        ensure!(
            n <= count,
            "--n {n}: the embedded slice has {count} training images; lower --n or give --inputs"
        );
        let subset = split.train.stratified_subset(n, flags.seed)?;
        let task = BinaryTarget::from_labels(subset.binary_labels())?;
        let inputs = subset.images().tensor().to_dtype(flags.dtype.into())?;
        Ok(Self { inputs, targets: Some(task.signs()) })
    }

    fn of_files(path: &Path, flags: &Flags, networks: &NetworkSource) -> Result<Self> {
        let (inputs, count) = read_inputs(path, flags, networks, flags.n)?;
        let targets = flags.labels.as_deref().map(|labels| read_targets(labels, count));
        let targets = targets.transpose()?.map(|mut targets| {
            targets.truncate(flags.n.unwrap_or(count));
            targets
        });
        Ok(Self { inputs, targets })
    }
}

/// The first `n` inputs of a .npy file, whole numbers as u32 and others finite, and how many the
/// file has.
pub fn read_inputs(
    path: &Path,
    flags: &Flags,
    networks: &NetworkSource,
    n: Option<usize>,
) -> Result<(Tensor, usize)> {
    let dtype = flags.dtype.into();
    let array = npy::read(path)?;
    array.check_finite()?;
    let (mut shape, data) = array.into_parts();
    check_axes(flags, networks, &shape).with_context(|| path.display().to_string())?;
    let count = shape[0];
    shape[0] = n.unwrap_or(count);
    ensure!(
        shape[0] <= count,
        "--n {}: {} has {count} inputs; lower --n",
        shape[0],
        path.display()
    );
    if networks.reads_ids() {
        return Ok((tokens(path, &shape, data)?, count));
    }
    let narrows = matches!(data, npy::Data::F64(_)) && dtype == DType::F32;
    let tensor = tensor(&shape, data)?.to_dtype(dtype)?;
    let tensor = match flags.layout.into() {
        Layout::Nchw => tensor,
        Layout::Nhwc => tensor.permute((0, 3, 1, 2))?.contiguous()?,
    };
    if narrows {
        // Values beyond f32 became infinite.
        ensure_finite(&tensor, &format!("{} as {}", path.display(), dtype.as_str()))?;
    }
    Ok((tensor, count))
}

/// Refuses an array that is no batch of the network's inputs.
fn check_axes(flags: &Flags, networks: &NetworkSource, shape: &[usize]) -> Result<()> {
    let (model, is_last) = (&flags.network.model, flags.layout == LayoutName::Nhwc);
    let (axes, expected) = match (model.built_in(), networks.reads_ids()) {
        (None, _) if !is_last => (shape.len().max(1), "one axis or more"),
        (Some(_), true) => (2, "two axes (sequences, tokens)"),
        _ => (4, "four axes (images, channels, rows, columns, in the order of --layout)"),
    };
    ensure!(
        shape.len() == axes,
        "expected {expected} for --model {model}, found shape {shape:?}; reshape the array"
    );
    match shape {
        [_, height, width, channels] if is_last => {
            networks.ensure_input(&[*channels, *height, *width])
        }
        _ => networks.ensure_input(&shape[1..]),
    }
}

/// The leading token ids of an array.
fn tokens(path: &Path, shape: &[usize], data: npy::Data) -> Result<Tensor> {
    let npy::Data::I64(ids) = data else {
        bail!("{}: expected whole numbers as tokens", path.display())
    };
    let id = |id: &i64| {
        u32::try_from(*id).with_context(|| format!("{}: {id} is no token", path.display()))
    };
    let count = shape.iter().product();
    let ids = ids[..count].iter().map(id).collect::<Result<Vec<u32>>>()?;
    Ok(Tensor::from_vec(ids, shape, &Device::Cpu)?)
}

/// The leading values of an array, without a second copy of them.
fn tensor(shape: &[usize], data: npy::Data) -> Result<Tensor> {
    let size = shape.iter().product();
    Ok(match data {
        npy::Data::F32(values) => Tensor::from_vec(first(values, size), shape, &Device::Cpu)?,
        npy::Data::F64(values) => Tensor::from_vec(first(values, size), shape, &Device::Cpu)?,
        npy::Data::I64(values) => Tensor::from_vec(first(values, size), shape, &Device::Cpu)?,
        _ => bail!("an element type that this program does not know"),
    })
}

fn first<T>(mut values: Vec<T>, size: usize) -> Vec<T> {
    values.truncate(size);
    values.shrink_to_fit();
    values
}

/// Targets in {-1, +1} from `count` labels.
fn read_targets(path: &Path, count: usize) -> Result<Vec<f64>> {
    let array = npy::read(path)?;
    let (shape, labels) = (array.shape(), array.to_f64());
    ensure!(
        shape == [count],
        "{}: expected one label for each of the {count} inputs, found shape {shape:?}",
        path.display()
    );
    signs(&labels).with_context(|| format!("labels {}", path.display()))
}

/// Labels -1 and 1 as they are, 0 and 1 as -1 and 1, classes 0 to 9 as 1 below 5 and else -1.
fn signs(labels: &[f64]) -> Result<Vec<f64>> {
    let all = |allowed: &[f64]| labels.iter().all(|label| allowed.contains(label));
    let split_at = |above: bool, at: f64| {
        let positive = move |label: &f64| (*label >= at) == above;
        labels.iter().map(|label| if positive(label) { 1.0 } else { -1.0 }).collect()
    };
    if all(&[-1.0, 1.0]) || all(&[0.0, 1.0]) {
        return Ok(split_at(true, 1.0));
    }
    let is_class = |label: &f64| label.fract() == 0.0 && (0.0..=9.0).contains(label);
    if let Some(index) = labels.iter().position(|label| !is_class(label)) {
        bail!(
            "expected -1 and 1, or 0 and 1, or classes 0 to 9, found {} at index {index}; recode the labels",
            labels[index]
        );
    }
    Ok(split_at(false, 5.0))
}

/// The networks of the flags; an archive is read.
pub fn networks(run: &Run, flags: &Flags, device: &Device) -> Result<NetworkSource> {
    let model = &flags.network.model;
    ensure!(
        model.built_in().is_some() || flags.weights.is_none(),
        "--weights: {model} has parameters of its own; export the module with the others"
    );
    NetworkSource::open(run, &flags.network, flags.dtype.into(), device)
}

/// The weights of the file, or those at which the network starts.
pub fn parameters(
    flags: &Flags,
    networks: &NetworkSource,
    network: &Network,
    device: &Device,
) -> Result<Params> {
    let Some(path) = &flags.weights else { return networks.start(network, flags.seed) };
    let model = &flags.network.model;
    if let Some(padding) = model.built_in().and_then(ModelName::stride_padding) {
        eprintln!("--model {model}: convolutions of stride 2 pad {padding}");
    }
    Params::load(&network.specs(), path, flags.dtype.into(), device).with_context(|| {
        let shape = network.input_shape();
        format!("--weights {} for {model} on inputs of shape {shape:?}", path.display())
    })
}
