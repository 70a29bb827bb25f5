//! Tensors of factors on the host: copied there, in the order of pixels that products read, and
//! appended to rows of the kernel. Called where factors are kept.

use candle_core::{Device, Layout, Storage, Tensor, WithDType};
use entk_models::Real;

use crate::{cpu::rows::Rows, error::Result};

/// Images (N, C, H, W) as (N, H W, C).
pub(crate) fn pixels_first<T: Real>(images: &Tensor) -> Result<Tensor> {
    let (count, channels, height, width) = images.dims4()?;
    let pixels = height * width;
    let mut result: Vec<T> = Vec::with_capacity(images.elem_count());
    let (storage, layout) = images.storage_and_layout();
    for image in host_slice::<T>(&storage, layout)?.chunks_exact(channels * pixels) {
        for pixel in 0..pixels {
            result.extend(image[pixel..].iter().step_by(pixels));
        }
    }
    Ok(Tensor::from_vec(result, (count, pixels, channels), &Device::Cpu)?)
}

/// Appends the rows of `count` examples: for each example those of all groups of outputs, and for
/// each output of a group its row of every tensor.
pub(crate) fn append<T: Real>(
    rows: &mut Rows<T>,
    groups: &[(usize, Vec<&Tensor>)],
    count: usize,
) -> Result<()> {
    let tensors = groups.iter().flat_map(|(_, tensors)| tensors);
    let guards: Vec<_> = tensors.map(|tensor| tensor.storage_and_layout()).collect();
    let slices = guards.iter().map(|(storage, layout)| host_slice::<T>(storage, layout));
    let slices = slices.collect::<Result<Vec<_>>>()?;
    for example in 0..count {
        let mut first = 0;
        for (outputs, tensors) in groups {
            let slices = &slices[first..first + tensors.len()];
            for row in example * outputs..(example + 1) * outputs {
                for slice in slices {
                    let width = slice.len() / (count * outputs);
                    rows.extend(&slice[row * width..(row + 1) * width]);
                }
            }
            first += tensors.len();
        }
    }
    Ok(())
}

/// The first `count` rows of a tensor whose first axis is the batch, contiguous on the host; no
/// copy where they are.
pub(crate) fn host(tensor: &Tensor, count: usize) -> Result<Tensor> {
    Ok(tensor.narrow(0, 0, count)?.to_device(&Device::Cpu)?.contiguous()?)
}

/// The entries of a contiguous tensor on the host.
fn host_slice<'s, T: WithDType>(storage: &'s Storage, layout: &Layout) -> Result<&'s [T]> {
    let (Storage::Cpu(storage), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        return Err(candle_core::Error::Msg("factor: not contiguous on the host".into()).into());
    };
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}
