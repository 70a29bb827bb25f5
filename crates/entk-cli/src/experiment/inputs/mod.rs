//! Inputs of a user's own: a file of an array, a table or a folder of images, and the networks that
//! are to take it come in, a tensor goes out, with a message that names the file where it is none.
//! Called by the programs that take `--inputs`.

mod file_rows;
pub(crate) mod kernel_files;
pub(crate) mod streamed_kernel;

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use entk::{
    data::{
        AugmentedImages, Images,
        examples::{self, ExampleKind},
        npy,
    },
    device::InputSource,
    models::ensure_finite,
};

use crate::{
    cli::{
        names::{LayoutName, ModelName},
        refused::{ensure_input, refused},
    },
    experiment::{inputs::file_rows::FileRows, network_source::NetworkSource},
    run::Run,
};

/// Channels that images usually have: an axis of such a size is taken for theirs.
const CHANNELS: [usize; 2] = [1, 3];

/// Pixels by which copies of images are shifted at most, as is usual for CIFAR-10.
const SHIFT: usize = 4;

/// What a file says of inputs, before they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputHeader {
    /// Examples in the file.
    pub count: usize,
    /// The shape of one input, as networks read it.
    pub input: Vec<usize>,
    /// The order of axes in the file, where it is given or known.
    layout: Option<LayoutName>,
    path: String,
}

impl InputHeader {
    /// The header of inputs for these networks.
    ///
    /// # Errors
    /// A file that cannot be read, no batch of inputs, and axes that look like those of another
    /// layout than the flag says, or would say by default.
    pub fn read(networks: &NetworkSource, path: &Path, layout: Option<LayoutName>) -> Result<Self> {
        let layout = known_layout(path, layout)?;
        let header = examples::describe_inputs(path)?;
        let (shape, is_whole) = (as_taken(networks, path, header.shape), header.is_whole);
        let named = || path.display().to_string();
        check_axes(networks, layout, &shape).with_context(named)?;
        ensure_input(is_whole || !networks.reads_ids(), || {
            format!("{}: expected whole numbers as tokens, found fractions", named())
        })?;
        let input = match (layout, &shape[1..]) {
            (Some(LayoutName::Nhwc), [height, width, channels]) => vec![*channels, *height, *width],
            (_, input) => input.to_vec(),
        };
        Ok(Self { count: shape[0], input, layout, path: named() })
    }

    /// How many inputs are used where the flag asks for `n`.
    ///
    /// # Errors
    /// More than there are.
    pub fn first(&self, n: Option<usize>) -> Result<usize> {
        let (n, count) = (n.unwrap_or(self.count), self.count);
        let path = &self.path;
        ensure_input(n <= count, || format!("--n {n}: {path} has {count} inputs; lower --n"))?;
        Ok(n)
    }

    /// As many inputs of zeros, in place of those of the file.
    ///
    /// # Errors
    /// Those of candle.
    pub fn zeros(&self, networks: &NetworkSource, n: usize) -> Result<Tensor> {
        let dtype = if networks.reads_ids() { DType::U32 } else { networks.dtype() };
        Ok(Tensor::zeros([&[n], &self.input[..]].concat(), dtype, &Device::Cpu)?)
    }
}

/// The first `n` inputs of a file for these networks, on the CPU, token ids as u32 and others
/// finite in the networks' element type, and how many the file has. Whole numbers where a network
/// takes any are noted: pixels from 0 to 255 are rarely meant.
///
/// # Errors
/// As [`InputHeader::read`] and [`InputHeader::first`], and NaN and infinity.
pub fn read_inputs(
    run: &Run,
    networks: &NetworkSource,
    path: &Path,
    layout: Option<LayoutName>,
    n: Option<usize>,
) -> Result<(Tensor, usize)> {
    let dtype = networks.dtype();
    let header = InputHeader::read(networks, path, layout)?;
    let layout = header.layout;
    let array = examples::read_inputs(path, header.first(n)?)?;
    array.check_finite()?;
    let (shape, data) = array.into_parts();
    let shape = as_taken(networks, path, shape);
    if networks.reads_ids() {
        return Ok((tokens(path, &shape, data)?, header.count));
    }
    file_rows::note_whole(run, &path.display().to_string(), &data);
    let is_array = ExampleKind::of(path) == ExampleKind::Array;
    if is_array && shape.len() == 4 && networks.model().built_in().is_some() {
        note_layout(run, path, layout, &shape);
    }
    let narrows = matches!(data, npy::Data::F64(_)) && dtype == DType::F32;
    let tensor = tensor(&shape, data)?.to_dtype(dtype)?;
    let tensor = match layout {
        Some(LayoutName::Nhwc) => tensor.permute((0, 3, 1, 2))?.contiguous()?,
        _ => tensor,
    };
    if narrows {
        // Values beyond f32 became infinite.
        let what = format!("{} as {}; give --dtype f64", path.display(), dtype.as_str());
        ensure_finite(&tensor, &what)?;
    }
    Ok((tensor, header.count))
}

/// The examples of a file, read some at a time: the rows of an array, or with `augment`, a number
/// and a seed, so many shifted and mirrored copies of its images, drawn by the seed. Those of
/// tables and folders are held in memory.
///
/// # Errors
/// An array that cannot be read by rows; otherwise as [`read_inputs`].
pub fn input_source(
    run: &Run,
    networks: &NetworkSource,
    path: &Path,
    layout: Option<LayoutName>,
    augment: Option<(usize, u64)>,
) -> Result<Box<dyn InputSource>> {
    if augment.is_none() && ExampleKind::of(path) == ExampleKind::Array {
        let rows = FileRows::open(path, layout)?;
        if !networks.reads_ids() {
            rows.note_whole(run, path)?;
        }
        return Ok(Box::new(rows));
    }
    let (images, _) = read_inputs(run, networks, path, layout, None)?;
    let Some((examples, seed)) = augment else { return Ok(Box::new(images)) };
    let images = Images::new(images.to_dtype(DType::F32)?)?;
    Ok(Box::new(AugmentedImages::new(images, examples, SHIFT, seed)?))
}

/// The order of axes that the flag says, or that a folder of images has.
fn known_layout(path: &Path, layout: Option<LayoutName>) -> Result<Option<LayoutName>> {
    if ExampleKind::of(path) != ExampleKind::Folder {
        return Ok(layout);
    }
    ensure_input(layout != Some(LayoutName::Nhwc), || {
        let path = path.display();
        format!("--layout nhwc: images of {path} are read as (N, C, H, W); leave --layout out")
    })?;
    Ok(Some(LayoutName::Nchw))
}

/// The shape in which a network takes inputs: a row of a table is an image of one row and channel
/// where the network takes images.
fn as_taken(networks: &NetworkSource, path: &Path, shape: Vec<usize>) -> Vec<usize> {
    let is_image = networks.model().built_in().is_some() && !networks.reads_ids();
    match shape[..] {
        [rows, columns] if is_image && ExampleKind::of(path).is_table() => {
            vec![rows, 1, 1, columns]
        }
        _ => shape,
    }
}

/// Says which order of axes was taken where no flag did, and where the flag looks mistaken.
fn note_layout(run: &Run, path: &Path, layout: Option<LayoutName>, shape: &[usize]) {
    let is_odd = matches!(shape, [_, second, _, last]
        if CHANNELS.contains(second) && !CHANNELS.contains(last));
    match layout {
        None => run.note(format_args!("{}: --layout nchw, since none was given", path.display())),
        Some(LayoutName::Nhwc) if is_odd => run.note(format_args!(
            "{}: shape {shape:?} looks like --layout nchw, and is read as nhwc",
            path.display()
        )),
        Some(_) => {}
    }
}

/// Refuses an array that is no batch of the network's inputs.
fn check_axes(networks: &NetworkSource, layout: Option<LayoutName>, shape: &[usize]) -> Result<()> {
    let (model, is_last) = (networks.model(), layout == Some(LayoutName::Nhwc));
    let (axes, expected) = match (model.built_in(), networks.reads_ids()) {
        (None, _) if !is_last => (shape.len().max(1), "one axis or more"),
        (Some(_), true) => (2, "two axes (sequences, tokens)"),
        _ => (4, "four axes (images, channels, rows, columns, in the order of --layout)"),
    };
    ensure_input(shape.len() == axes && axes > 0, || {
        let remedy = match shape {
            [_, _, _] => "add the axis of channels, as `x[:, None]` or `x[..., None]`".to_owned(),
            [_, columns] if *model == ModelName::Mlp.into() => {
                format!("reshape it, as `x.reshape(-1, 1, 1, {columns})` for a table")
            }
            [] | [_] | [_, _] => "reshape it, as `x.reshape(-1, C, H, W)`".to_owned(),
            _ => "reshape the array".to_owned(),
        };
        format!("expected {expected} for --model {model}, found shape {shape:?}; {remedy}")
    })?;
    if layout.is_none() && model.built_in().is_some() {
        ensure_channels_first(shape)?;
    }
    match shape {
        [_, height, width, channels] if is_last => {
            networks.ensure_input(&[*channels, *height, *width])
        }
        _ => networks.ensure_input(&shape[1..]),
    }
}

/// Refuses images whose last axis looks like that of the channels and whose second does not.
fn ensure_channels_first(shape: &[usize]) -> Result<()> {
    let looks_last = matches!(shape, [_, second, third, last]
        if CHANNELS.contains(last) && !CHANNELS.contains(second) && third > last);
    ensure_input(!looks_last, || {
        format!(
            "shape {shape:?} looks like images, rows, columns, channels: give --layout nhwc; or \
             --layout nchw if the second axis is that of the channels"
        )
    })
}

/// Token ids of an array.
fn tokens(path: &Path, shape: &[usize], data: npy::Data) -> Result<Tensor> {
    let npy::Data::I64(ids) = data else {
        return Err(refused(format!("{}: expected whole numbers as tokens", path.display())));
    };
    let id = |(at, id): (usize, &i64)| {
        u32::try_from(*id).map_err(|_| {
            refused(format!("{}: {id} at flat index {at} is no token", path.display()))
        })
    };
    let ids = ids.iter().enumerate().map(id).collect::<Result<Vec<u32>>>()?;
    Ok(Tensor::from_vec(ids, shape, &Device::Cpu)?)
}

/// The values of an array, without a second copy of them.
fn tensor(shape: &[usize], data: npy::Data) -> Result<Tensor> {
    Ok(match data {
        npy::Data::F32(values) => Tensor::from_vec(values, shape, &Device::Cpu)?,
        npy::Data::F64(values) => Tensor::from_vec(values, shape, &Device::Cpu)?,
        npy::Data::I64(values) => Tensor::from_vec(values, shape, &Device::Cpu)?,
        _ => return Err(refused("an element type that this program does not know")),
    })
}
