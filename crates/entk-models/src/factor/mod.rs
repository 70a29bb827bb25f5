//! The gradients of one layer's parameters for every example, unexpanded. Made by the backward
//! sweep of a layer; summed they are a VJP, expanded the Jacobian, contracted with each other a
//! Gram.

mod join;
mod outputs;

use candle_core::Tensor;
use entk_device::Geometry;

use crate::{
    error::Result,
    loops::{
        axis::{
            rows::{LookUp, add_at_rows},
            sums::{Axis, axis_sums},
        },
        batched::batched_matmul,
        channel::{batch_sum, pixel_sum},
        conv::{rows::weight_rows, weight_vjp},
        matmul::matmul_at,
    },
};

/// The gradients of one layer's parameters for every example of a batch, unexpanded.
///
/// For a dense or convolution layer the gradient of example n with respect to the weight is a
/// short sum of outer products `sum_s d[n,s,:] (x) a[n,s,:]`: `a` are the layer's inputs, s running
/// over tokens (for a convolution its patches, s running over output pixels), `d` the cotangents
/// that arrive at its output. An embedding is a dense layer of inputs that are one-hot. Everything
/// this workspace computes is a contraction of such pairs: the sum over n is a VJP, the expanded
/// rows are the Jacobian, and a Gram tile of a dense layer is `(a a'^T + 1) * (d d'^T)` without any
/// row being formed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Factor {
    /// A dense layer: gradient of W is `d (x) a`, of the bias `d`, summed over tokens if there are.
    Dense {
        /// Name of the weight, (out, in).
        weight: String,
        /// Name of the bias, (out), if the layer has one.
        bias: Option<String>,
        /// Inputs a, (N, in) or (N, T, in).
        inputs: Tensor,
        /// Cotangents d, (N, out) or (N, T, out).
        cotangents: Tensor,
    },
    /// A convolution: gradient of the weight is the sum over output pixels of `d (x) patch`.
    Conv {
        /// Name of the weight, (C', C, k, k).
        weight: String,
        /// Name of the bias, (C'), if the layer has one.
        bias: Option<String>,
        /// Inputs, (N, C, H, W).
        inputs: Tensor,
        /// Cotangents, (N, C', H', W').
        cotangents: Tensor,
        /// Kernel, stride and padding.
        geometry: Geometry,
    },
    /// Rows of a table by their numbers: gradient of row v is the sum of `d[t,:]` over the tokens t
    /// whose number it is.
    Embedding {
        /// Name of the table, (V, D).
        weight: String,
        /// Numbers, u32, (N, T).
        ids: Tensor,
        /// Cotangents d, (N, T, D).
        cotangents: Tensor,
        /// Rows of the table, V.
        vocabulary: usize,
    },
    /// A small parameter whose rows are given explicitly.
    Rows {
        /// Name of the parameter.
        name: String,
        /// Gradients, (N, P_l).
        rows: Tensor,
    },
}

impl Factor {
    /// Parameters of this factor, P_l.
    pub fn width(&self) -> usize {
        let with_bias = |bias: &Option<String>, out: usize| if bias.is_some() { out } else { 0 };
        match self {
            Self::Dense { inputs, cotangents, bias, .. } => {
                let out = last(cotangents);
                last(inputs) * out + with_bias(bias, out)
            }
            Self::Conv { geometry: g, bias, .. } => {
                g.patch() * g.filters + with_bias(bias, g.filters)
            }
            Self::Embedding { cotangents, vocabulary, .. } => vocabulary * last(cotangents),
            Self::Rows { rows, .. } => last(rows),
        }
    }

    /// Gradients summed over the batch, by parameter name: the VJP's share of this layer. With
    /// tokens it is one product over the tokens of all examples.
    ///
    /// # Errors
    /// Those of the device.
    pub fn sum(&self) -> Result<Vec<(String, Tensor)>> {
        let (weight, bias) = match self {
            Self::Dense { weight, bias, inputs, cotangents } => {
                let (a, d) = (all_tokens(inputs)?, all_tokens(cotangents)?);
                let bias = bias.as_ref().map(|b| Ok((b.clone(), batch_sum(&d)?)));
                ((weight, matmul_at(&d, &a)?), bias)
            }
            Self::Conv { weight, bias, inputs, cotangents, geometry } => (
                (weight, weight_vjp(inputs, cotangents, *geometry)?),
                (bias.as_ref()).map(|b| Ok((b.clone(), batch_sum(&pixel_sum(cotangents)?)?))),
            ),
            Self::Embedding { weight, ids, cotangents, vocabulary } => {
                let sizes = table_of(cotangents, *vocabulary, true)?;
                ((weight, add_at_rows(cotangents, ids, sizes)?.squeeze(0)?), None)
            }
            Self::Rows { name, rows } => ((name, batch_sum(rows)?), None),
        };
        let bias: Option<Result<_>> = bias;
        let weight = (weight.0.clone(), weight.1);
        Ok(std::iter::once(weight).chain(bias.transpose()?).collect())
    }

    /// The rows of the Jacobian, (N, P_l): weight row-major, then bias.
    ///
    /// # Errors
    /// Those of the device; the memory is N P_l numbers.
    pub fn rows(&self) -> Result<Tensor> {
        let weight = match self {
            Self::Rows { rows, .. } => return Ok(rows.clone()),
            Self::Embedding { ids, cotangents, vocabulary, .. } => {
                let sizes = table_of(cotangents, *vocabulary, false)?;
                return Ok(add_at_rows(cotangents, ids, sizes)?.flatten_from(1)?);
            }
            Self::Dense { inputs, cotangents, .. } if inputs.rank() == 3 => {
                batched_matmul(cotangents, inputs, [true, false])?.flatten_from(1)?
            }
            Self::Dense { inputs, cotangents, .. } => {
                let outer = cotangents.unsqueeze(2)?.broadcast_mul(&inputs.unsqueeze(1)?)?;
                outer.flatten_from(1)?
            }
            Self::Conv { inputs, cotangents, geometry, .. } => {
                weight_rows(inputs, cotangents, *geometry)?
            }
        };
        match self.bias_rows()? {
            None => Ok(weight),
            Some((_, bias)) => Ok(Tensor::cat(&[&weight, &bias], 1)?),
        }
    }

    /// The bias and the rows of its gradient.
    fn bias_rows(&self) -> Result<Option<(&String, Tensor)>> {
        Ok(match self {
            Self::Dense { bias: Some(bias), cotangents, .. } => {
                Some((bias, token_sum(cotangents)?))
            }
            Self::Conv { bias: Some(bias), cotangents, .. } => Some((bias, pixel_sum(cotangents)?)),
            _ => None,
        })
    }

    /// The factor of the weight, and that of the bias as [`Factor::Rows`] where there is one.
    ///
    /// # Errors
    /// Those of the device.
    pub fn split_bias(mut self) -> Result<(Self, Option<Self>)> {
        let rows = self.bias_rows()?.map(|(name, rows)| Self::Rows { name: name.clone(), rows });
        if let Self::Dense { bias, .. } | Self::Conv { bias, .. } = &mut self {
            *bias = None;
        }
        Ok((self, rows))
    }

    /// The tensors, each with one row an example: inputs (or ids, u32) and cotangents, or rows.
    pub fn tensors(&self) -> Vec<&Tensor> {
        match self {
            Self::Dense { inputs, cotangents, .. }
            | Self::Conv { inputs, cotangents, .. }
            | Self::Embedding { ids: inputs, cotangents, .. } => vec![inputs, cotangents],
            Self::Rows { rows, .. } => vec![rows],
        }
    }

    /// This factor for other examples; `f` sees the tensors in the order of
    /// [`tensors`](Factor::tensors), and keeps their types.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map<E>(
        mut self,
        mut f: impl FnMut(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Self, E> {
        match &mut self {
            Self::Dense { inputs, cotangents, .. }
            | Self::Conv { inputs, cotangents, .. }
            | Self::Embedding { ids: inputs, cotangents, .. } => {
                *inputs = f(inputs)?;
                *cotangents = f(cotangents)?;
            }
            Self::Rows { rows, .. } => *rows = f(rows)?,
        }
        Ok(self)
    }

    /// Names of the parameters, in the order of [`rows`](Factor::rows).
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Dense { weight, bias, .. } | Self::Conv { weight, bias, .. } => {
                std::iter::once(weight).chain(bias).map(String::as_str).collect()
            }
            Self::Embedding { weight: name, .. } | Self::Rows { name, .. } => vec![name],
        }
    }
}

/// Size of the last axis.
fn last(t: &Tensor) -> usize {
    t.dims().last().copied().unwrap_or(1)
}

/// (N, T, width) as (N T, width).
fn all_tokens(t: &Tensor) -> Result<Tensor> {
    Ok(if t.rank() == 3 { t.flatten(0, 1)? } else { t.clone() })
}

/// (N, width), summed over tokens.
pub(crate) fn token_sum(t: &Tensor) -> Result<Tensor> {
    match t.rank() {
        3 => axis_sums(t, Axis::of(t.dims(), 1..2), 1.0),
        _ => Ok(t.clone()),
    }
}

/// Sizes of the tables that cotangents (N, T, D) are added to.
fn table_of(cotangents: &Tensor, vocabulary: usize, shared: bool) -> Result<LookUp> {
    let (planes, to, width) = cotangents.dims3()?;
    Ok(LookUp { planes, from: vocabulary, to, width, shared })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::host_op::testing::numbers;

    /// f64 round-off of a sum over at most a hundred products of size 4.
    const TOLERANCE: f64 = 1e-12;

    fn tensor(shape: &[usize], seed: u64) -> Result<Tensor> {
        Ok(Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu)?)
    }

    fn close(a: &Tensor, b: &[f64]) -> Result<()> {
        let a = a.flatten_all()?.to_vec1::<f64>()?;
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= TOLERANCE, "{a} {b}");
        }
        Ok(())
    }

    fn summed(rows: &[f64], width: usize) -> Vec<f64> {
        let mut sum = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        sum
    }

    /// The rows of a factor and its sums, against plain loops' rows.
    fn check(factor: &Factor, expected: &[f64]) -> Result<()> {
        let width = factor.width();
        close(&factor.rows()?, expected)?;
        let sums = factor.sum()?;
        let names: Vec<&str> = sums.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, factor.names());
        let sums =
            sums.iter().map(|(_, sum)| sum.flatten_all()).collect::<candle_core::Result<_>>();
        let sums: Vec<Tensor> = sums?;
        close(&Tensor::cat(&sums, 0)?, &summed(expected, width))?;
        // A weight and its bias, one after the other, are the whole.
        let (weight, bias) = factor.clone().split_bias()?;
        let parts = [Some(weight.rows()?), bias.map(|bias| bias.rows()).transpose()?];
        close(&Tensor::cat(&parts.into_iter().flatten().collect::<Vec<_>>(), 1)?, expected)
    }

    #[test]
    fn tokens_are_summed() -> Result<()> {
        let (n, tokens, inputs, outputs) = (3, 4, 5, 2);
        let (a, d) = (tensor(&[n, tokens, inputs], 1)?, tensor(&[n, tokens, outputs], 2)?);
        let (av, dv) = (numbers(n * tokens * inputs, 1), numbers(n * tokens * outputs, 2));
        let mut expected = Vec::new();
        for example in 0..n {
            let over_tokens = |f: &dyn Fn(usize) -> f64| -> f64 {
                (0..tokens).map(|t| f(example * tokens + t)).sum()
            };
            for o in 0..outputs {
                let entry = |i| over_tokens(&|t| dv[t * outputs + o] * av[t * inputs + i]);
                expected.extend((0..inputs).map(entry));
            }
            expected.extend((0..outputs).map(|o| over_tokens(&|t| dv[t * outputs + o])));
        }
        let (weight, bias) = ("w".to_owned(), Some("b".to_owned()));
        check(&Factor::Dense { weight, bias, inputs: a, cotangents: d }, &expected)
    }

    #[test]
    fn rows_of_one_id_are_summed() -> Result<()> {
        let (n, tokens, width, vocabulary) = (3, 4, 5, 6);
        let ids: [u32; 12] = [2, 0, 2, 5, 1, 1, 1, 1, 3, 4, 0, 5];
        let d = numbers(n * tokens * width, 1);
        let mut expected = vec![0.0; n * vocabulary * width];
        for (at, id) in ids.iter().enumerate() {
            let row = at / tokens * vocabulary + *id as usize;
            for k in 0..width {
                expected[row * width + k] += d[at * width + k];
            }
        }
        let factor = Factor::Embedding {
            weight: "table".to_owned(),
            ids: Tensor::new(&ids, &Device::Cpu)?.reshape((n, tokens))?,
            cotangents: tensor(&[n, tokens, width], 1)?,
            vocabulary,
        };
        check(&factor, &expected)
    }
}
