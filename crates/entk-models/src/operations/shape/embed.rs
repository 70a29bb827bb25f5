//! Rows of a table by their numbers: token ids and a table go in, one row a token comes out. Its
//! factor is the pair of ids and cotangents.

use std::ops::Range;

use candle_core::{D, DType, Tensor};

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    loops::axis::rows::{LookUp, add_at_rows, take_rows},
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp},
};

/// `y[.., :] = table[ids[..], :]`: ids, u32, of any shape (N, ..) and a table (V, D) give
/// (N, .., D). Cost: one pass over the result.
///
/// An id of V or more is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Embed {
    /// The id whose row is frozen, if there is one.
    padding: Option<u32>,
}

impl Embed {
    /// With PyTorch's `padding_idx`: tokens of this id get their row as any other, but the row is
    /// frozen where it is looked up. Its tangent is zero there, and so are the cotangents of these
    /// tokens; what else reads the table is not concerned. Cost: one more pass over tangents and
    /// cotangents.
    ///
    /// An id of V or more is refused.
    pub fn with_padding(id: u32) -> Self {
        Self { padding: Some(id) }
    }

    /// A tangent or cotangent of the result, zero at tokens that are padding.
    fn moving(&self, cache: &EmbedCache, d: &Tensor) -> Result<Tensor> {
        let Some(padding) = self.padding else { return Ok(d.clone()) };
        let is_padding = cache.ids.eq(padding)?.unsqueeze(D::Minus1)?.broadcast_as(d.shape())?;
        Ok(is_padding.where_cond(&d.zeros_like()?, d)?)
    }
}

/// What derivatives of [`Embed`] need.
#[derive(Debug)]
pub struct EmbedCache {
    /// (N, ..), u32.
    ids: Tensor,
    /// Rows and entries of a row.
    table: [usize; 2],
}

impl EmbedCache {
    fn sizes(&self, tables: usize) -> Result<LookUp> {
        let [from, width] = self.table;
        let planes = self.ids.dim(0)?;
        let to = self.ids.dims()[1..].iter().product();
        Ok(LookUp { planes, from, to, width, shared: tables == 1 })
    }

    /// The rows of one table or of one an example.
    fn rows(&self, table: &Tensor) -> Result<Tensor> {
        let rows = take_rows(table, &self.ids, self.sizes(table.dim(0)?)?)?;
        Ok(rows.reshape([self.ids.dims(), &self.table[1..]].concat())?)
    }
}

fn ensure_ids(ids: &Tensor, rows: usize) -> Result<()> {
    if ids.dtype() != DType::U32 {
        let (expected, got) = (DType::U32, ids.dtype());
        return Err(ModelError::DType { what: "embedding: ids".to_owned(), expected, got });
    }
    if ids.elem_count() > 0 {
        let id = ids.flatten_all()?.max(0)?.to_scalar::<u32>()?;
        if id as usize >= rows {
            return Err(ModelError::IdTooLarge { id, rows });
        }
    }
    Ok(())
}

impl Operation for Embed {
    type Cache = EmbedCache;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs {
            [ids, [rows, width]] => match self.padding {
                Some(id) if id as usize >= *rows => Err(ModelError::IdTooLarge { id, rows: *rows }),
                _ => Ok([*ids, &[*width]].concat()),
            },
            [_, table] => Err(ModelError::shape("embedding: table", "(V, D)", table)),
            _ => Err(ModelError::arity(self, inputs.len())),
        }
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, EmbedCache)> {
        let (_, rows, width) = inputs[1].dims3()?;
        ensure_ids(inputs[0], rows)?;
        let cache = EmbedCache { ids: inputs[0].clone(), table: [rows, width] };
        Ok((cache.rows(inputs[1])?, cache))
    }

    fn jvp(&self, cache: &EmbedCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let table = tangents[1].ok_or(ModelError::Cache { what: "tangent of a table" })?;
        self.moving(cache, &cache.rows(table)?)
    }

    /// The table's rows example by example, (N, V, D).
    fn vjp(&self, cache: &EmbedCache, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let add = || add_at_rows(&self.moving(cache, dy)?, &cache.ids, cache.sizes(0)?);
        let table = wanted[1].then(add);
        Ok(vec![None, table.transpose()?])
    }

    fn mixed_vjp(
        &self,
        cache: &EmbedCache,
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        linear_mixed_vjp(self, cache, dy, ddy, wanted)
    }

    fn structured(&self) -> Range<usize> {
        1..2
    }

    /// Ids and cotangents, T (D + 1) numbers an example in place of V D.
    fn factor(&self, cache: &EmbedCache, names: &[&str], dy: &Tensor) -> Result<Option<Factor>> {
        let [vocabulary, width] = cache.table;
        let count = cache.ids.dim(0)?;
        let tokens = cache.ids.elem_count() / count;
        Ok(Some(Factor::Embedding {
            weight: names[1].to_owned(),
            ids: cache.ids.reshape((count, tokens))?,
            cotangents: self.moving(cache, dy)?.reshape((count, tokens, width))?,
            vocabulary,
        }))
    }
}
