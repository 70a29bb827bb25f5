//! Scaled dot-product attention as one operation: queries, keys and values go in, for every query
//! an average of values comes out.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::{ModelError, Result},
    loops::{
        attention::{
            attention, cotangents::attention_cotangents, heads::Heads, mixed::attention_mixed_vjp,
            tangent::attention_tangent,
        },
        axis::strided::contiguous,
    },
    operation::{MixedCotangents, NormMode, Operation},
};

/// `y = softmax(scale q k^T + mask) v`, head by head: q (H, T, D), k (G, S, D) and v (G, S, E) give
/// (H, T, E). Where G divides H, head h reads keys and values of group `h G / H`. Self-attention
/// over one projection also takes that, (T, 3 H D), as it is, and gives (T, H D): see
/// [`packed`](Attend::packed).
///
/// Scores exist for a block of queries at a time: memory is that of q, k, v and y, and derivatives
/// compute probabilities again. Cost: two matrix products forward, five backward; with
/// [`causal`](Attend::causal) about half of each.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use entk_models::{Attend, NormMode, Operation};
/// // Query 0 sees key 0 alone, query 1 sees two keys of equal score.
/// let q = Tensor::zeros((1, 1, 2, 4), DType::F64, &Device::Cpu)?;
/// let v = Tensor::new(&[[[[1f64], [3.0]]]], &Device::Cpu)?;
/// let (y, _) = Attend::new().causal().forward(&[&q, &q, &v], NormMode::Frozen)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [1.0, 2.0]);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Attend {
    /// 1 / sqrt(D) if there is none.
    scale: Option<f64>,
    causal: bool,
    /// (T, S), f64, on the host.
    mask: Option<Tensor>,
    /// Heads in the one input, if q, k and v are one.
    packed: Option<usize>,
}

impl Attend {
    /// With scale 1 / sqrt(D), and every query seeing every key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Multiplies scores by another number.
    #[must_use]
    pub fn with_scale(self, scale: f64) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// Takes q, k and v as one input (T, 3 H D), in this order, each with its heads side by side,
    /// as a dense layer of width 3 H D writes them, and gives (T, H D). No copy is made of
    /// either.
    #[must_use]
    pub fn packed(self, heads: usize) -> Self {
        Self { packed: Some(heads), ..self }
    }

    /// Query t sees the keys 0 to t alone, also where there are more keys than queries, as with
    /// PyTorch's `is_causal`.
    #[must_use]
    pub fn causal(self) -> Self {
        Self { causal: true, ..self }
    }

    /// A constant mask (T, S): of numbers, which are added to the scores of each head, or of bytes
    /// (u8), where 0 hides a key from a query.
    ///
    /// # Errors
    /// A mask that is no matrix or holds NaN or infinity; minus infinity hides a key.
    pub fn with_mask(self, mask: &Tensor) -> Result<Self> {
        let mask = mask.to_device(&Device::Cpu)?;
        let added = if mask.dtype() == DType::U8 {
            // log 1 = 0 is added, and log 0 = -inf hides.
            mask.ne(0u8)?.to_dtype(DType::F64)?.log()?
        } else {
            mask.to_dtype(DType::F64)?
        };
        if added.rank() != 2 {
            return Err(ModelError::shape("attention mask", "(T, S)", added.dims()));
        }
        let entries = added.flatten_all()?.to_vec1::<f64>()?;
        match entries.iter().position(|x| x.is_nan() || *x == f64::INFINITY) {
            None => Ok(Self { mask: Some(added), ..self }),
            Some(index) => {
                let (what, value) = ("attention mask".to_owned(), entries[index]);
                Err(ModelError::NonFinite { what, index, value })
            }
        }
    }

    fn heads(&self, inputs: &[&[usize]]) -> Result<Heads> {
        let heads = match (self.packed, inputs) {
            (Some(heads), &[all]) => packed_heads(all, heads)?,
            (None, &[q, k, v]) => heads_of(q, k, v)?,
            _ => return Err(ModelError::arity(self, inputs.len())),
        };
        let Heads { groups, ratio, queries, keys, width, columns, .. } = heads;
        if [groups, ratio, queries, keys, width, columns].contains(&0) {
            return Err(ModelError::zero(format!("attention: axes {inputs:?}")));
        }
        let scale = self.scale.unwrap_or_else(|| (width as f64).sqrt().recip());
        Ok(Heads { scale, causal: self.causal, ..heads })
    }

    /// Refuses a mask of another shape, or one that hides all keys from a query.
    fn ensure_seen(&self, heads: &Heads) -> Result<()> {
        let Some(mask) = &self.mask else { return Ok(()) };
        if mask.dims() != [heads.queries, heads.keys] {
            let expected = format!("({}, {})", heads.queries, heads.keys);
            return Err(ModelError::shape("attention mask", expected, mask.dims()));
        }
        let sees = |(query, row): (usize, &Vec<f64>)| {
            let seen = if self.causal { (query + 1).min(heads.keys) } else { heads.keys };
            row[..seen].iter().any(|x| *x > f64::NEG_INFINITY)
        };
        let rows = mask.to_vec2::<f64>()?;
        match rows.iter().enumerate().position(|row| !sees(row)) {
            Some(query) => Err(ModelError::NoKey { query }),
            None => Ok(()),
        }
    }
}

/// Sizes of q (H, T, D), k (G, S, D) and v (G, S, E).
fn heads_of(q: &[usize], k: &[usize], v: &[usize]) -> Result<Heads> {
    let misfit = |what, expected: String, got| Err(ModelError::shape(what, expected, got));
    let &[heads, queries, width] = q else {
        return misfit("attention queries", "(N, H, T, D)".to_owned(), q);
    };
    let &[groups, keys, columns] = v else {
        return misfit("attention values", "(N, G, S, E)".to_owned(), v);
    };
    if *k != [groups, keys, width] {
        return misfit("attention keys", format!("(N, {groups}, {keys}, {width})"), k);
    }
    let Some(ratio) = heads.checked_div(groups).filter(|ratio| ratio * groups == heads) else {
        return misfit("attention keys", format!("groups that divide {heads} heads"), k);
    };
    Ok(Heads { groups, ratio, queries, keys, width, columns, ..Heads::default() })
}

/// Sizes of one input (T, 3 H D).
fn packed_heads(all: &[usize], heads: usize) -> Result<Heads> {
    let fits = |total: usize| heads > 0 && total.is_multiple_of(3 * heads);
    let &[tokens, total] = all else {
        return Err(ModelError::shape("packed attention", "(N, T, 3 H D)", all));
    };
    if !fits(total) {
        let expected = format!("(N, T, a multiple of 3 * {heads})");
        return Err(ModelError::shape("packed attention", expected, all));
    }
    let width = total / (3 * heads);
    let tokens = Heads { queries: tokens, keys: tokens, ..Heads::default() };
    Ok(Heads { groups: heads, ratio: 1, width, columns: width, packed: true, ..tokens })
}

/// What derivatives of an [`Attend`] need.
#[derive(Debug)]
pub struct AttendCache {
    heads: Heads,
    /// q, k and v, or one tensor of all.
    values: Vec<Tensor>,
    /// In their element type, on their device.
    mask: Option<Tensor>,
}

impl AttendCache {
    fn values(&self) -> Vec<&Tensor> {
        self.values.iter().collect()
    }

    /// A tensor of the result's shape, heads apart, as the loops take it.
    fn by_head(&self, dy: &Tensor) -> Result<Tensor> {
        let Heads { examples, groups, ratio, queries, columns, packed, .. } = self.heads;
        if !packed {
            return Ok(dy.clone());
        }
        Ok(contiguous(dy)?.reshape((examples, queries, groups * ratio, columns))?)
    }

    /// A result of the loops as it is promised.
    fn result(&self, y: Tensor) -> Result<Tensor> {
        Ok(if self.heads.packed { y.flatten(2, 3)? } else { y })
    }
}

impl Operation for Attend {
    type Cache = AttendCache;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let heads = self.heads(inputs)?;
        self.ensure_seen(&heads)?;
        let Heads { groups, ratio, queries, columns, .. } = heads;
        if heads.packed {
            return Ok(vec![queries, groups * columns]);
        }
        Ok(vec![groups * ratio, queries, columns])
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, AttendCache)> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| &input.dims()[1..]).collect();
        let heads = Heads { examples: inputs[0].dim(0)?, ..self.heads(&shapes)? };
        let cast = |mask: &Tensor| mask.to_dtype(inputs[0].dtype())?.to_device(inputs[0].device());
        let mask = self.mask.as_ref().map(cast).transpose()?;
        let values = inputs.iter().map(|input| contiguous(input)).collect::<Result<_>>()?;
        let cache = AttendCache { heads, values, mask };
        let y = attention(heads, &cache.values(), cache.mask.as_ref())?;
        Ok((cache.result(y)?, cache))
    }

    fn jvp(&self, cache: &AttendCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let (values, mask) = (cache.values(), cache.mask.as_ref());
        cache.result(attention_tangent(cache.heads, &values, mask, tangents)?)
    }

    fn vjp(
        &self,
        cache: &AttendCache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (values, mask) = (cache.values(), cache.mask.as_ref());
        let all = attention_cotangents(cache.heads, &values, mask, &cache.by_head(dy)?)?;
        Ok(all.into_iter().zip(wanted).map(|(one, wanted)| wanted.then_some(one)).collect())
    }

    fn mixed_vjp(
        &self,
        cache: &AttendCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let given = |(tangent, value): (&Option<&Tensor>, &Tensor)| match tangent {
            Some(tangent) => contiguous(tangent),
            None => Ok(value.zeros_like()?),
        };
        let along = tangents.iter().zip(&cache.values).map(given).collect::<Result<Vec<_>>>()?;
        let along: Vec<&Tensor> = along.iter().collect();
        let (values, mask) = (cache.values(), cache.mask.as_ref());
        let (dy, ddy) = (cache.by_head(dy)?, cache.by_head(ddy)?);
        let all = attention_mixed_vjp(cache.heads, &values, mask, &along, [&dy, &ddy])?;
        Ok(all.into_iter().zip(wanted).map(|(one, wanted)| wanted.then_some(one)).collect())
    }

    fn operations(&self, inputs: &[&[usize]]) -> f64 {
        let of_head = |h: &Heads| h.queries * h.keys * (h.width + h.columns);
        let count = |h: Heads| h.groups * h.ratio * of_head(&h);
        2.0 * self.heads(inputs).map_or(0, count) as f64
    }
}
