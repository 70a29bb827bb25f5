//! [`Images`]: from a tensor or numbers to f32 images of shape (N, C, H, W), every value finite.
//!
//! Readers of files make them; a [`Dataset`](crate::Dataset) pairs them with labels, and models
//! take their tensor.

use std::io::ErrorKind::OutOfMemory;

use candle_core::{DType, Device, Tensor};
use entk_device::memory::ensure;

use crate::error::{DataError, Result};

/// Order of the axes of an image tensor that comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Examples, channels, rows, columns: the layout of this crate and of PyTorch.
    #[default]
    Nchw,
    /// Examples, rows, columns, channels: the layout of JAX and TensorFlow.
    Nhwc,
}

/// Images as one tensor of shape **(N, C, H, W)**: examples, channels, rows, columns; f32,
/// contiguous, every value finite.
///
/// N, C, H and W are at least 1. Values have no fixed unit: readers give pixels / 255 in \[0, 1\],
/// [`Standardizer`](crate::Standardizer) gives zero mean and unit variance. Cloning is cheap (the
/// tensor is shared).
///
/// ```
/// use entk_data::Images;
///
/// let pixels = (0..24).map(|i| i as f32 / 24.0).collect();
/// let images = Images::from_vec(pixels, (2, 3, 2, 2))?;
/// assert_eq!((images.count(), images.channels(), images.height(), images.width()), (2, 3, 2, 2));
/// assert_eq!(images.select(&[1, 0, 1])?.count(), 3);
/// # Ok::<(), entk_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Images {
    tensor: Tensor,
    shape: (usize, usize, usize, usize),
}

impl Images {
    /// Takes a tensor of shape (N, C, H, W) on any device.
    ///
    /// The result shares the tensor's storage unless the tensor is a strided view or a `Var`, which
    /// are copied; it is detached from any computation graph. Costs one pass over the values.
    ///
    /// # Errors
    /// [`DataError::Shape`] if there are not four axes, [`DataError::Empty`] if an axis has length
    /// 0, [`DataError::Dtype`] if it is not f32, [`DataError::NonFinite`] at the first NaN or
    /// infinity.
    pub fn new(tensor: Tensor) -> Result<Self> {
        let shape = checked_shape(&tensor)?;
        let tensor = if tensor.is_variable() { tensor.copy()? } else { tensor };
        let tensor = tensor.contiguous()?.detach();
        let row = shape.1 * shape.2 * shape.3;
        // Checked in blocks, so that no second copy of the whole set is held.
        for start in (0..shape.0).step_by(CHECKED_IMAGES) {
            let block = tensor.narrow(0, start, CHECKED_IMAGES.min(shape.0 - start))?;
            check_finite(&block.flatten_all()?.to_vec1::<f32>()?, start * row)?;
        }
        Ok(Self { tensor, shape })
    }

    /// Takes a tensor whose axes are in the order of `layout`; otherwise as [`Images::new`].
    ///
    /// # Errors
    /// As [`Images::new`].
    pub fn with_layout(tensor: &Tensor, layout: Layout) -> Result<Self> {
        checked_shape(tensor)?;
        match layout {
            Layout::Nchw => Self::new(tensor.clone()),
            Layout::Nhwc => Self::new(tensor.permute((0, 3, 1, 2))?),
        }
    }

    /// Takes values in row-major order of the shape (N, C, H, W), onto the CPU.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the number of values is not N C H W, otherwise as [`Images::new`].
    pub fn from_vec(values: Vec<f32>, shape: (usize, usize, usize, usize)) -> Result<Self> {
        let (n, c, h, w) = shape;
        check_not_empty(&[n, c, h, w])?;
        let expected =
            [n, c, h, w].iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        if expected != Some(values.len()) {
            let expected = format!("{n} x {c} x {h} x {w} values");
            return Err(DataError::Shape {
                what: "images".to_owned(),
                expected,
                found: vec![values.len()],
            });
        }
        check_finite(&values, 0)?;
        Ok(Self { tensor: Tensor::from_vec(values, shape, &Device::Cpu)?, shape })
    }

    /// Pixel bytes to values in \[0, 1\]: byte / 255.
    pub(crate) fn from_bytes(bytes: &[u8], shape: (usize, usize, usize, usize)) -> Result<Self> {
        let mut values = Vec::new();
        ensure("images", bytes.len() as u64 * 4, None, "use fewer images")?;
        let reserved = values.try_reserve_exact(bytes.len());
        reserved.map_err(|_| DataError::io("hold in memory", "images")(OutOfMemory.into()))?;
        values.extend(bytes.iter().map(|&byte| f32::from(byte) / 255.0));
        Self::from_vec(values, shape)
    }

    /// Number of images, N.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shape.0
    }

    /// Number of channels, C.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.shape.1
    }

    /// Number of rows of an image, H.
    #[must_use]
    pub fn height(&self) -> usize {
        self.shape.2
    }

    /// Number of columns of an image, W.
    #[must_use]
    pub fn width(&self) -> usize {
        self.shape.3
    }

    /// Shape of one image, (C, H, W).
    #[must_use]
    pub fn image_shape(&self) -> (usize, usize, usize) {
        (self.shape.1, self.shape.2, self.shape.3)
    }

    /// The tensor, shape (N, C, H, W), f32, contiguous.
    #[must_use]
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// A copy of the values in row-major order of (N, C, H, W).
    ///
    /// # Errors
    /// [`DataError::Tensor`] if the values cannot be read from their device.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        Ok(self.tensor.flatten_all()?.to_vec1()?)
    }

    /// The images at these indices, in this order; an index may repeat. Copies what it selects.
    ///
    /// # Errors
    /// [`DataError::Empty`] without indices, [`DataError::Index`] if one is not below N.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        if indices.is_empty() {
            return Err(DataError::Empty { what: "selection of images".to_owned() });
        }
        let count = self.count();
        if let Some(&index) = indices.iter().find(|&&index| index >= count) {
            return Err(DataError::Index { index, count });
        }
        let wide: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
        let wide = Tensor::from_vec(wide, indices.len(), self.tensor.device())?;
        Ok(self.replaced(self.tensor.index_select(&wide, 0)?, indices.len()))
    }

    /// These images followed by `other`'s. Copies both.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the shapes of one image differ, [`DataError::Tensor`] if the devices
    /// differ.
    pub fn concat(&self, other: &Self) -> Result<Self> {
        let (c, h, w) = self.image_shape();
        if other.image_shape() != (c, h, w) {
            return Err(DataError::Shape {
                what: "images to append".to_owned(),
                expected: format!("(N, {c}, {h}, {w})"),
                found: other.tensor.dims().to_vec(),
            });
        }
        let tensor = Tensor::cat(&[&self.tensor, &other.tensor], 0)?;
        Ok(self.replaced(tensor, self.count() + other.count()))
    }

    /// Images of this shape with other contents, which have been checked to be finite.
    fn replaced(&self, tensor: Tensor, count: usize) -> Self {
        let (_, c, h, w) = self.shape;
        Self { tensor, shape: (count, c, h, w) }
    }
}

/// Images whose values are checked at a time: 100 MB of CIFAR-10 at most.
const CHECKED_IMAGES: usize = 8192;

fn checked_shape(tensor: &Tensor) -> Result<(usize, usize, usize, usize)> {
    let dims = tensor.dims();
    let &[n, c, h, w] = dims else {
        let expected = "four axes (N, C, H, W)".to_owned();
        return Err(DataError::Shape { what: "images".to_owned(), expected, found: dims.to_vec() });
    };
    check_not_empty(dims)?;
    if tensor.dtype() != DType::F32 {
        return Err(DataError::Dtype {
            what: "images".to_owned(),
            expected: "f32",
            found: tensor.dtype().as_str().to_owned(),
            advice: "convert with `tensor.to_dtype(DType::F32)`",
        });
    }
    Ok((n, c, h, w))
}

fn check_not_empty(dims: &[usize]) -> Result<()> {
    if dims.contains(&0) {
        return Err(DataError::Empty { what: format!("image tensor of shape {dims:?}") });
    }
    Ok(())
}

fn check_finite(values: &[f32], offset: usize) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (index, value) = (offset + at, f64::from(values[at]));
            Err(DataError::NonFinite { what: "images".to_owned(), index, value })
        }
    }
}
