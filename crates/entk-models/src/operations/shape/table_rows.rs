//! Chosen rows of a table of parameters, as a few words of a vocabulary: a table goes in, its rows
//! come out. Its factor is that of an embedding.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    loops::axis::rows::{LookUp, add_at_rows},
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp},
};

/// The rows of these numbers, in this order, of a table (V, D) that follows from parameters alone:
/// `index_select` along the first axis whose gradient is kept as the chosen rows. With it the head
/// of a tied language model costs as much as the words that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    rows: Vec<u32>,
}

impl TableRows {
    /// Rows of these numbers.
    pub fn new(rows: Vec<u32>) -> Self {
        Self { rows }
    }

    /// The numbers once for each of `count` examples.
    fn ids(&self, count: usize, device: &Device) -> Result<Tensor> {
        let ids = Tensor::new(self.rows.as_slice(), device)?;
        Ok(ids.unsqueeze(0)?.broadcast_as((count, self.rows.len()))?.contiguous()?)
    }

    fn chosen(&self, table: &Tensor) -> Result<Tensor> {
        let ids = Tensor::new(self.rows.as_slice(), table.device())?;
        Ok(table.contiguous()?.index_select(&ids, 1)?)
    }
}

impl Operation for TableRows {
    /// Rows of the table.
    type Cache = usize;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let &[&[rows, width]] = inputs else {
            return Err(ModelError::shape("table of rows", "(V, D)", &inputs.concat()));
        };
        match self.rows.iter().max() {
            Some(&id) if id as usize >= rows => Err(ModelError::IdTooLarge { id, rows }),
            Some(_) => Ok(vec![self.rows.len(), width]),
            None => Err(ModelError::zero("rows of a table")),
        }
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, usize)> {
        Ok((self.chosen(inputs[0])?, inputs[0].dim(1)?))
    }

    fn jvp(&self, _: &usize, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        self.chosen(tangents[0].ok_or(ModelError::Cache { what: "tangent of a table" })?)
    }

    fn vjp(&self, from: &usize, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let (planes, to, width) = dy.dims3()?;
        let sizes = LookUp { planes, from: *from, to, width, shared: false };
        Ok(vec![Some(add_at_rows(dy, &self.ids(planes, dy.device())?, sizes)?)])
    }

    fn mixed_vjp(
        &self,
        cache: &usize,
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        linear_mixed_vjp(self, cache, dy, ddy, wanted)
    }

    fn structured(&self) -> Range<usize> {
        0..1
    }

    fn factor(&self, from: &usize, names: &[&str], dy: &Tensor) -> Result<Option<Factor>> {
        Ok(Some(Factor::Embedding {
            weight: names[0].to_owned(),
            ids: self.ids(dy.dim(0)?, dy.device())?.to_dtype(DType::U32)?,
            cotangents: dy.clone(),
            vocabulary: *from,
        }))
    }
}
