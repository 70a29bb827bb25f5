//! [`Array`]: shape and values of an array that was read, as tensors, images or labels.
//!
//! Readers of every format make them; programs take their parts.

use candle_core::{Device, Tensor};

use crate::{
    dataset::check_labels,
    error::{DataError, Result},
    images::{Images, Layout},
};

/// The values of an [`Array`] in row-major (C) order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Data {
    /// From `float32`.
    F32(Vec<f32>),
    /// From `float64`.
    F64(Vec<f64>),
    /// From `bool` and integers of 8 to 64 bits, signed and unsigned.
    I64(Vec<i64>),
}

/// An array read from a file: a shape without zeros, and values in row-major order whatever
/// the order in the file.
///
/// ```
/// use entk_data::npy;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("gram.npy");
/// npy::write(&path, &[2, 2], &[1.0_f64, 0.5, 0.5, 1.0])?;
/// let gram = npy::read(&path)?;
/// assert_eq!(gram.shape(), [2, 2]);
/// assert_eq!(gram.to_f64(), [1.0, 0.5, 0.5, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub(crate) file: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
}

impl Array {
    /// Length of each axis; empty for a single number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values in row-major order.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Shape and values, without a copy.
    #[must_use]
    pub fn into_parts(self) -> (Vec<usize>, Data) {
        (self.shape, self.data)
    }

    /// The values as f64, in row-major order. Integers above 2^53 are rounded.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Data::F32(values) => values.iter().copied().map(f64::from).collect(),
            Data::F64(values) => values.clone(),
            Data::I64(values) => values.iter().map(|&value| value as f64).collect(),
        }
    }

    /// Refuses NaN and infinity.
    ///
    /// # Errors
    /// [`DataError::NonFinite`] at the first of them.
    pub fn check_finite(&self) -> Result<()> {
        let found = match &self.data {
            Data::F32(values) => {
                values.iter().map(|&x| f64::from(x)).enumerate().find(|(_, x)| !x.is_finite())
            }
            Data::F64(values) => values.iter().copied().enumerate().find(|(_, x)| !x.is_finite()),
            Data::I64(_) => None,
        };
        match found {
            None => Ok(()),
            Some((index, value)) => {
                Err(DataError::NonFinite { what: self.file.clone(), index, value })
            }
        }
    }

    /// A tensor on the CPU with the same shape, element type (f32, f64 or i64) and values.
    ///
    /// # Errors
    /// [`DataError::Tensor`] if candle refuses the shape.
    pub fn to_tensor(&self) -> Result<Tensor> {
        let shape = self.shape.as_slice();
        Ok(match &self.data {
            Data::F32(values) => Tensor::from_slice(values, shape, &Device::Cpu)?,
            Data::F64(values) => Tensor::from_slice(values, shape, &Device::Cpu)?,
            Data::I64(values) => Tensor::from_slice(values, shape, &Device::Cpu)?,
        })
    }

    /// Images from four axes in the order of `layout`. Values are rounded to f32 but not scaled:
    /// bytes stay 0 to 255.
    ///
    /// # Errors
    /// [`DataError::Shape`] if there are not four axes, [`DataError::NonFinite`] for NaN, infinity,
    /// and values beyond f32.
    pub fn to_images(&self, layout: Layout) -> Result<Images> {
        if self.shape.len() != 4 {
            return Err(DataError::Shape {
                what: self.file.clone(),
                expected: "four axes, images by channels, rows and columns".to_owned(),
                found: self.shape.clone(),
            });
        }
        self.check_finite()?;
        Images::with_layout(&self.to_tensor()?.to_dtype(candle_core::DType::F32)?, layout)
    }

    /// Labels from one axis of whole numbers (of any element type), each below `classes`.
    ///
    /// # Errors
    /// [`DataError::Shape`] if there is not one axis, [`DataError::Dtype`] at a value that is not a
    /// whole number from 0 to 255, [`DataError::Label`] at a label that is not below `classes`.
    pub fn to_labels(&self, classes: usize) -> Result<Vec<u8>> {
        if self.shape.len() != 1 {
            let expected = "one axis of labels".to_owned();
            return Err(DataError::Shape {
                what: self.file.clone(),
                expected,
                found: self.shape.clone(),
            });
        }
        let values = self.to_f64();
        let is_label = |value: &f64| value.fract() == 0.0 && (0.0..=255.0).contains(value);
        if let Some(index) = values.iter().position(|value| !is_label(value)) {
            return Err(DataError::Dtype {
                what: format!("{} at index {index}", self.file),
                expected: "a whole number from 0 to 255",
                found: values[index].to_string(),
                advice: "number the classes from 0",
            });
        }
        let labels: Vec<u8> = values.iter().map(|&value| value as u8).collect();
        check_labels(&labels, classes, &self.file)?;
        Ok(labels)
    }
}
