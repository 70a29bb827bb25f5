//! One factor out of several of one parameter that a network uses several times. Called by the
//! backward sweep once the last use is reached.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    loops::{
        axis::rows::{LookUp, add_at_rows},
        conv::patches::pixel_patches,
        entrywise::add,
    },
};

impl Factor {
    /// One factor of a parameter that is used several times, from those of each use: gradients add.
    ///
    /// Outer products are put one after another, as tokens of one [`Factor::Dense`]: a
    /// convolution's tokens are its patches, and those of an embedding beside a dense layer (a
    /// tied head) have one-hot cotangents of V numbers. Embeddings alone are put together as one
    /// [`Factor::Embedding`]. Where tokens are longer than rows, and for rows, the rows are added.
    ///
    /// # Errors
    /// No factor at all, factors of different parameters, and those of the device.
    pub fn join(mut factors: Vec<Self>) -> Result<Self> {
        let first = factors.first().ok_or(ModelError::Cache { what: "factor" })?;
        let names: Vec<String> = first.names().into_iter().map(str::to_owned).collect();
        let width = first.width();
        factors.iter().try_for_each(|factor| ensure_of(factor, &names, width))?;
        if factors.len() == 1 {
            return Ok(factors.swap_remove(0));
        }
        if let Some(embedding) = joined_ids(&factors)? {
            return Ok(embedding);
        }
        if names.len() == 1 && !tokens_are_shorter(&factors, width) {
            return added_rows(names.concat(), &factors);
        }
        let (inputs, cotangents) = concat(factors.iter().map(Self::tokens))?;
        let mut names = names.into_iter();
        let (weight, bias) = (names.next().unwrap_or_default(), names.next());
        Ok(Self::Dense { weight, bias, inputs, cotangents })
    }

    /// Numbers of the tokens of one example that come on top of what is there; `None` for rows.
    fn more_numbers(&self) -> Option<usize> {
        match self {
            Self::Dense { .. } => Some(0),
            Self::Conv { geometry: g, .. } => Some(g.output_pixels() * (g.patch() + g.filters)),
            Self::Embedding { ids, vocabulary, .. } => Some(ids.dims().last()? * vocabulary),
            Self::Rows { .. } => None,
        }
    }

    /// Inputs (N, T, in) and cotangents (N, T, out) whose outer products are those of the weight.
    fn tokens(&self) -> Result<(Tensor, Tensor)> {
        let one_token = |t: &Tensor| if t.rank() == 2 { t.unsqueeze(1) } else { Ok(t.clone()) };
        Ok(match self {
            Self::Dense { inputs, cotangents, .. } => (one_token(inputs)?, one_token(cotangents)?),
            Self::Conv { inputs, cotangents, geometry, .. } => {
                let by_pixel = cotangents.flatten_from(2)?.transpose(1, 2)?;
                (pixel_patches(inputs, *geometry)?, by_pixel.contiguous()?)
            }
            Self::Embedding { ids, cotangents, vocabulary, .. } => {
                (cotangents.clone(), one_hot(ids, *vocabulary, cotangents)?)
            }
            Self::Rows { .. } => return Err(ModelError::Cache { what: "tokens" }),
        })
    }
}

fn ensure_of(factor: &Factor, names: &[String], width: usize) -> Result<()> {
    let found = factor.names();
    if let Some(name) = found.iter().find(|name| !names.iter().any(|known| known == *name)) {
        let name = (*name).to_owned();
        return Err(ModelError::UnknownName { name, known: names.to_vec() });
    }
    if found.len() != names.len() || factor.width() != width {
        let what = format!("factor of {}", names.concat());
        return Err(ModelError::shape(what, format!("(N, {width})"), &[factor.width()]));
    }
    Ok(())
}

fn tokens_are_shorter(factors: &[Factor], width: usize) -> bool {
    let numbers: Option<usize> = factors.iter().map(Factor::more_numbers).sum();
    numbers.is_some_and(|numbers| numbers < width)
}

/// Embeddings as one; `None` if there is another factor.
fn joined_ids(factors: &[Factor]) -> Result<Option<Factor>> {
    let Factor::Embedding { weight, vocabulary, .. } = &factors[0] else { return Ok(None) };
    let pair = |factor: &Factor| match factor {
        Factor::Embedding { ids, cotangents, .. } => Some((ids.clone(), cotangents.clone())),
        _ => None,
    };
    let Some(pairs) = factors.iter().map(pair).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let (ids, cotangents) = concat(pairs.into_iter().map(Ok))?;
    let (weight, vocabulary) = (weight.clone(), *vocabulary);
    Ok(Some(Factor::Embedding { weight, ids, cotangents, vocabulary }))
}

/// Pairs one after the other along the axis of tokens.
fn concat(pairs: impl Iterator<Item = Result<(Tensor, Tensor)>>) -> Result<(Tensor, Tensor)> {
    let (left, right): (Vec<_>, Vec<_>) = pairs.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    Ok((Tensor::cat(&left, 1)?, Tensor::cat(&right, 1)?))
}

fn added_rows(name: String, factors: &[Factor]) -> Result<Factor> {
    let sum = |sum: Option<Tensor>, factor: &Factor| {
        let rows = factor.rows()?;
        Ok::<_, ModelError>(Some(match sum {
            Some(sum) => add(&sum, &rows)?,
            None => rows,
        }))
    };
    let rows = factors.iter().try_fold(None, sum)?;
    Ok(Factor::Rows { name, rows: rows.ok_or(ModelError::Cache { what: "factor" })? })
}

/// (N, T, V): 1 at the number of each token, in the type of `like`.
fn one_hot(ids: &Tensor, vocabulary: usize, like: &Tensor) -> Result<Tensor> {
    let (count, tokens) = ids.dims2()?;
    let planes = count * tokens;
    let sizes = LookUp { planes, from: vocabulary, to: 1, width: 1, shared: false };
    let ones = Tensor::ones(planes, like.dtype(), like.device())?;
    Ok(add_at_rows(&ones, ids, sizes)?.reshape((count, tokens, vocabulary))?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loops::{host_op::testing::numbers, padding::Padding};

    /// f64 round-off of a sum over a few hundred products of size 4.
    const TOLERANCE: f64 = 1e-12;

    fn tensor(shape: &[usize], seed: u64) -> Result<Tensor> {
        Ok(Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu)?)
    }

    fn dense(tokens: Option<usize>, [inputs, outputs]: [usize; 2], seed: u64) -> Result<Factor> {
        let shape = |width| [&[3], tokens.as_slice(), &[width]].concat();
        Ok(Factor::Dense {
            weight: "w".into(),
            bias: None,
            inputs: tensor(&shape(inputs), seed)?,
            cotangents: tensor(&shape(outputs), seed + 1)?,
        })
    }

    fn with_bias(mut factor: Factor) -> Factor {
        if let Factor::Dense { bias, .. } | Factor::Conv { bias, .. } = &mut factor {
            *bias = Some("b".into());
        }
        factor
    }

    fn conv(channels: usize, filters: usize, size: usize, seed: u64) -> Result<Factor> {
        let geometry = Padding::Same.geometry(
            "conv",
            [channels, filters],
            [size; 2],
            [3; 2],
            [1; 2],
            [1; 2],
        )?;
        Ok(Factor::Conv {
            weight: "w".into(),
            bias: None,
            inputs: tensor(&[3, channels, size, size], seed)?,
            cotangents: tensor(&[3, filters, size, size], seed + 1)?,
            geometry,
        })
    }

    fn embedding(tokens: usize, vocabulary: usize, width: usize, seed: u64) -> Result<Factor> {
        let ids: Vec<u32> = (0..3 * tokens).map(|at| (at * at % vocabulary) as u32).collect();
        Ok(Factor::Embedding {
            weight: "w".into(),
            ids: Tensor::from_vec(ids, (3, tokens), &Device::Cpu)?,
            cotangents: tensor(&[3, tokens, width], seed)?,
            vocabulary,
        })
    }

    fn rows(name: &str, width: usize, seed: u64) -> Result<Factor> {
        Ok(Factor::Rows { name: name.into(), rows: tensor(&[3, width], seed)? })
    }

    fn close(what: &str, a: &Tensor, b: &Tensor) -> Result<()> {
        assert_eq!((a.dims(), a.dtype()), (b.dims(), DType::F64), "{what}");
        let error = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(error <= TOLERANCE, "{what}: {error:e}");
        Ok(())
    }

    /// The kind of factor that several uses become.
    fn kind(factor: &Factor) -> &'static str {
        match factor {
            Factor::Dense { .. } => "dense",
            Factor::Conv { .. } => "conv",
            Factor::Embedding { .. } => "embedding",
            Factor::Rows { .. } => "rows",
        }
    }

    #[test]
    fn rows_of_joined_factors_are_sums_of_rows() -> Result<()> {
        let cases = vec![
            ("dense", vec![dense(None, [4, 5], 1)?, dense(None, [4, 5], 3)?]),
            ("dense", vec![dense(None, [4, 5], 1)?, dense(Some(7), [4, 5], 3)?]),
            (
                "dense",
                vec![
                    with_bias(dense(Some(2), [4, 5], 1)?),
                    with_bias(dense(None, [4, 5], 3)?),
                    with_bias(dense(Some(3), [4, 5], 5)?),
                ],
            ),
            ("dense", vec![conv(9, 40, 2, 1)?, conv(9, 40, 1, 3)?]),
            ("rows", vec![conv(2, 3, 4, 1)?, conv(2, 3, 5, 3)?]),
            ("dense", vec![with_bias(conv(2, 3, 4, 1)?), with_bias(conv(2, 3, 5, 3)?)]),
            ("embedding", vec![embedding(4, 6, 5, 1)?, embedding(7, 6, 5, 2)?]),
            ("dense", vec![embedding(4, 6, 5, 1)?, dense(Some(2), [5, 6], 2)?]),
            ("dense", vec![dense(None, [5, 6], 2)?, embedding(4, 6, 5, 1)?]),
            ("rows", vec![embedding(5, 6, 5, 1)?, dense(Some(2), [5, 6], 2)?]),
            ("rows", vec![rows("w", 20, 1)?, dense(Some(2), [4, 5], 2)?]),
            ("rows", vec![rows("b", 7, 1)?, rows("b", 7, 2)?, rows("b", 7, 3)?]),
            ("conv", vec![conv(2, 3, 4, 1)?]),
        ];
        for (expected, factors) in cases {
            let what = format!("{factors:?}");
            let mut sum = factors[0].rows()?;
            for factor in &factors[1..] {
                sum = (sum + factor.rows()?)?;
            }
            let names = factors[0].names().concat();
            let joined = Factor::join(factors)?;
            assert_eq!((kind(&joined), joined.names().concat()), (expected, names), "{what}");
            close(&what, &joined.rows()?, &sum)?;
        }
        Ok(())
    }

    #[test]
    fn factors_of_other_parameters_are_refused() -> Result<()> {
        assert!(Factor::join(Vec::new()).is_err());
        let other = Factor::join(vec![dense(None, [4, 5], 1)?, rows("v", 20, 2)?]);
        assert!(matches!(other, Err(ModelError::UnknownName { .. })), "{other:?}");
        let longer = Factor::join(vec![dense(None, [4, 5], 1)?, rows("w", 21, 2)?]);
        assert!(matches!(longer, Err(ModelError::Shape { .. })), "{longer:?}");
        let biased = Factor::join(vec![with_bias(dense(None, [4, 5], 1)?), rows("w", 20, 2)?]);
        assert!(matches!(biased, Err(ModelError::Shape { .. })), "{biased:?}");
        Ok(())
    }
}
