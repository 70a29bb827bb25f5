//! Parameters from files in PyTorch's names and layouts, and to safetensors files. Called by
//! programs, and by checkpoints for their tensors.

use std::{collections::BTreeMap, path::Path};

use candle_core::{DType, Device, Tensor};
use entk_device::files;
use safetensors::{Dtype, tensor::TensorView};

use crate::{
    error::Result,
    files::tensors::{read, refused, to_float},
    params::{
        Params,
        by_name::ordered,
        spec::{ParamKind, ParamSpec},
    },
};

impl Params {
    /// Reads the tensors of `specs` from a file, converted to `dtype`: a safetensors file, the
    /// `.index.json` of several, or a state dict that PyTorch saved (`.pt`, `.pth`), at the top or
    /// under `state_dict`, `model_state_dict` or `model`. Half precision (f16, bf16) is widened.
    ///
    /// Names and layouts are PyTorch's; `num_batches_tracked` is ignored.
    ///
    /// # Errors
    /// An unreadable or malformed file, element types that are no floating-point numbers,
    /// non-finite values, and [`ModelError::Names`](crate::ModelError::Names) with every missing,
    /// unexpected and wrongly shaped tensor.
    pub fn load(
        specs: &[ParamSpec],
        path: impl AsRef<Path>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let path = path.as_ref();
        let mut tensors = ordered(specs, read(path)?)?;
        for (name, tensor) in &mut tensors {
            *tensor = to_float(tensor, name, path, dtype)?.contiguous()?.to_device(device)?;
        }
        Self::of_kinds(specs, tensors)
    }

    /// Names and shapes of all tensors of a file that [`load`](Self::load) reads: what tells the
    /// width of a network before it is built. Cost: the file is read whole.
    ///
    /// # Errors
    /// An unreadable or malformed file.
    pub fn shapes_in(path: impl AsRef<Path>) -> Result<BTreeMap<String, Vec<usize>>> {
        let shape = |(name, tensor): (String, Tensor)| (name, tensor.dims().to_vec());
        Ok(read(path.as_ref())?.into_iter().map(shape).collect())
    }

    /// Writes theta and the statistics to a safetensors file, through a temporary file in the
    /// same folder that is synced and renamed: the file is whole or absent.
    ///
    /// # Errors
    /// [`ModelError::File`](crate::ModelError::File), naming the file and the reason.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut encoded = Vec::new();
        for (name, tensor) in self.iter().chain(self.statistics()) {
            encoded.push((name.to_string(), encode(tensor)?, tensor.dims().to_vec()));
        }
        let mut views = Vec::new();
        for (name, (dtype, bytes), shape) in &encoded {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            views.push((name.clone(), view.map_err(|e| refused(path, e))?));
        }
        let bytes = safetensors::serialize(views, None).map_err(|e| refused(path, e))?;
        Ok(files::write(path, &bytes)?)
    }

    /// The specifications that these tensors would satisfy.
    pub fn shapes(&self) -> Vec<(ParamKind, String, Vec<usize>)> {
        let list = |kind, (name, tensor): (&str, &Tensor)| {
            (kind, name.to_string(), tensor.dims().to_vec())
        };
        let theta = self.iter().map(|entry| list(ParamKind::Trainable, entry));
        theta.chain(self.statistics().map(|entry| list(ParamKind::Statistic, entry))).collect()
    }
}

fn encode(tensor: &Tensor) -> Result<(Dtype, Vec<u8>)> {
    let flat = tensor.flatten_all()?.to_device(&Device::Cpu)?;
    Ok(match tensor.dtype() {
        DType::F64 => {
            (Dtype::F64, flat.to_vec1::<f64>()?.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        _ => {
            let values = flat.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
    })
}
