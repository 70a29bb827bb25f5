//! Whole numbers as real ones and back: ids of an input go in where numbers are computed with, and
//! come out where rows of tables are looked up.

use candle_core::{DType, Tensor};
use entk_models::{MixedCotangents, ModelError, NormMode, Operation};

use crate::operations::constant_operation;

/// Ids as numbers of the element type of a parameter, the second input. Exact to 2^24 in f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FromIds;

impl Operation for FromIds {
    type Cache = Tensor;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Tensor), ModelError> {
        let numbers = inputs[0].to_dtype(inputs[1].dtype())?;
        Ok((numbers.clone(), numbers))
    }

    fn takes_shared(&self, input: usize) -> bool {
        input == 1
    }

    constant_operation!();
}

/// Whole numbers from 0 on as ids; those below 0 are refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToIds;

/// The ids of whole numbers.
///
/// # Errors
/// A number below zero.
pub(crate) fn to_ids(numbers: &Tensor) -> Result<Tensor, ModelError> {
    if numbers.elem_count() > 0 {
        let least = numbers.flatten_all()?.min(0)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if least.is_nan() || least < 0.0 {
            let what = "whole numbers that are looked up".to_owned();
            return Err(ModelError::NonFinite { what, index: 0, value: least });
        }
    }
    Ok(numbers.to_dtype(DType::U32)?)
}

impl Operation for ToIds {
    type Cache = Tensor;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, ModelError> {
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Tensor), ModelError> {
        let ids = to_ids(inputs[0])?;
        Ok((ids.clone(), ids))
    }

    constant_operation!();
}
