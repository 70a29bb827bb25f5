//! Inputs of a user's own: a .npy file and the networks that are to take them come in, a tensor
//! goes out, with a message that names the file where it is none. Called by the programs that take
//! `--inputs`.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use entk::{
    data::{Layout, npy},
    models::ensure_finite,
};

use crate::{
    cli::refused::{ensure_input, refused},
    experiment::network_source::NetworkSource,
    run::Run,
};

/// The first `n` inputs of a .npy file for these networks, on the CPU, token ids as u32 and others
/// finite in the networks' element type, and how many the file has. Whole numbers where a network
/// takes any are noted: pixels from 0 to 255 are rarely meant.
///
/// # Errors
/// A file that cannot be read, is no batch of inputs or has fewer than `n`, NaN and infinity.
pub fn read_inputs(
    run: &Run,
    networks: &NetworkSource,
    path: &Path,
    layout: Layout,
    n: Option<usize>,
) -> Result<(Tensor, usize)> {
    let dtype = networks.dtype();
    let array = npy::read(path)?;
    array.check_finite()?;
    let (mut shape, data) = array.into_parts();
    check_axes(networks, layout, &shape).with_context(|| path.display().to_string())?;
    let count = shape[0];
    shape[0] = n.unwrap_or(count);
    ensure_input(shape[0] <= count, || {
        format!("--n {}: {} has {count} inputs; lower --n", shape[0], path.display())
    })?;
    if networks.reads_ids() {
        return Ok((tokens(path, &shape, data)?, count));
    }
    if let npy::Data::I64(numbers) = &data {
        let (least, most) = numbers.iter().fold((0, 0), |(a, b), x| (a.min(*x), b.max(*x)));
        run.note(format_args!(
            "{}: whole numbers from {least} to {most}, taken as they are; divide pixels by 255",
            path.display()
        ));
    }
    let narrows = matches!(data, npy::Data::F64(_)) && dtype == DType::F32;
    let tensor = tensor(&shape, data)?.to_dtype(dtype)?;
    let tensor = match layout {
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
fn check_axes(networks: &NetworkSource, layout: Layout, shape: &[usize]) -> Result<()> {
    let (model, is_last) = (networks.model(), layout == Layout::Nhwc);
    let (axes, expected) = match (model.built_in(), networks.reads_ids()) {
        (None, _) if !is_last => (shape.len().max(1), "one axis or more"),
        (Some(_), true) => (2, "two axes (sequences, tokens)"),
        _ => (4, "four axes (images, channels, rows, columns, in the order of --layout)"),
    };
    ensure_input(shape.len() == axes, || {
        format!("expected {expected} for --model {model}, found shape {shape:?}; reshape the array")
    })?;
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
        return Err(refused(format!("{}: expected whole numbers as tokens", path.display())));
    };
    let id = |id: &i64| {
        u32::try_from(*id).map_err(|_| refused(format!("{}: {id} is no token", path.display())))
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
        _ => return Err(refused("an element type that this program does not know")),
    })
}

fn first<T>(mut values: Vec<T>, size: usize) -> Vec<T> {
    values.truncate(size);
    values.shrink_to_fit();
    values
}
