//! Parameters to and from safetensors files, in PyTorch's names and layouts. Called by programs,
//! and by checkpoints for their tensors.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use entk_device::files;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    error::{ModelError, Result},
    params::{
        Params,
        spec::{ParamKind, ParamSpec, name_differences},
    },
};

/// PyTorch's step counter of a batch norm: not a number that anything here depends on.
const IGNORED_SUFFIX: &str = "num_batches_tracked";

impl Params {
    /// Reads the tensors of `specs` from a safetensors file, converted to `dtype`.
    ///
    /// Names and layouts are PyTorch's; `num_batches_tracked` is ignored.
    ///
    /// # Errors
    /// An unreadable or malformed file, element types other than f32 and f64, non-finite values,
    /// and [`ModelError::Names`] with every missing, unexpected and wrongly shaped tensor.
    pub fn load(
        specs: &[ParamSpec],
        path: impl AsRef<Path>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let mut values = read(path.as_ref(), |found| {
            let expected: Vec<_> =
                specs.iter().map(|s| (s.name.as_str(), s.shape.as_slice())).collect();
            check_names(&expected, found)
        })?;
        Self::from_fn(specs, dtype, device, |spec| values.remove(&spec.name).unwrap_or_default())
    }

    /// Writes theta and the statistics to a safetensors file, through a temporary file in the
    /// same folder that is synced and renamed: the file is whole or absent.
    ///
    /// # Errors
    /// [`ModelError::WeightFile`], naming the file and the reason.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut encoded = Vec::new();
        for (name, tensor) in self.iter().chain(self.statistics()) {
            encoded.push((name.to_string(), encode(tensor)?, tensor.dims().to_vec()));
        }
        let mut views = Vec::new();
        for (name, (dtype, bytes), shape) in &encoded {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            views.push((name.clone(), view.map_err(|e| file_error(path, e))?));
        }
        let bytes = safetensors::serialize(views, None).map_err(|e| file_error(path, e))?;
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

/// Tensors of a safetensors file by name, row-major, once `check` has seen all names and shapes.
pub(crate) fn read(
    path: &Path,
    check: impl FnOnce(&[(&str, &[usize])]) -> Result<()>,
) -> Result<HashMap<String, Vec<f64>>> {
    let bytes = std::fs::read(path).map_err(|e| file_error(path, e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| file_error(path, e))?;
    let views: Vec<_> = file.iter().filter(|(name, _)| !name.ends_with(IGNORED_SUFFIX)).collect();
    let found: Vec<_> = views.iter().map(|(name, view)| (*name, view.shape())).collect();
    check(&found)?;
    (views.iter())
        .map(|(name, view)| {
            let values = decode(view).map_err(|e| file_error(path, format!("{name}: {e}")))?;
            Ok(((*name).to_string(), values))
        })
        .collect()
}

/// Refuses `found` unless it is `expected`, in any order.
pub(crate) fn check_names(expected: &[(&str, &[usize])], found: &[(&str, &[usize])]) -> Result<()> {
    let fits = expected.len() == found.len() && expected.iter().all(|e| found.contains(e));
    if fits { Ok(()) } else { Err(name_differences(expected, found)) }
}

fn decode(view: &TensorView<'_>) -> std::result::Result<Vec<f64>, String> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F32 => Ok(bytes
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
            .collect()),
        Dtype::F64 => Ok(bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect()),
        other => Err(format!("element type {other:?}; save it as F32 or F64")),
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

fn file_error(path: &Path, reason: impl ToString) -> ModelError {
    ModelError::WeightFile { path: PathBuf::from(path), reason: reason.to_string() }
}
