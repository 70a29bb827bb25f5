//! The gradients of one layer's parameters for every example, unexpanded. Made by the backward
//! sweep of a layer; summed they are a VJP, expanded the Jacobian, contracted with each other a
//! Gram.

use candle_core::Tensor;
use entk_device::Geometry;

use crate::{
    error::{ModelError, Result},
    loops::{
        channel::{batch_sum, pixel_sum},
        conv::{rows::weight_rows, weight_vjp},
        entrywise::add,
        matmul::matmul_at,
    },
};

/// The gradients of one layer's parameters for every example of a batch, unexpanded.
///
/// For a dense or convolution layer the gradient of example n with respect to the weight is a
/// short sum of outer products `sum_s d[n,s,:] (x) a[n,s,:]`: `a` are the layer's inputs (for a
/// convolution its patches, s running over output pixels), `d` the cotangents that arrive at its
/// output. Everything this workspace computes is a contraction of such pairs: the sum over n is a
/// VJP, the expanded rows are the Jacobian, and a Gram tile of a dense layer is
/// `(a a'^T + 1) * (d d'^T)` without any row being formed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Factor {
    /// A dense layer: gradient of W is `d (x) a`, of the bias `d`.
    Dense {
        /// Name of the weight, (out, in).
        weight: String,
        /// Name of the bias, (out), if the layer has one.
        bias: Option<String>,
        /// Inputs a, (N, in).
        inputs: Tensor,
        /// Cotangents d, (N, out).
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
                let out = cotangents.dims()[1];
                inputs.dims()[1] * out + with_bias(bias, out)
            }
            Self::Conv { geometry: g, bias, .. } => {
                g.patch() * g.filters + with_bias(bias, g.filters)
            }
            Self::Rows { rows, .. } => rows.dims()[1],
        }
    }

    /// Gradients summed over the batch, by parameter name: the VJP's share of this layer.
    ///
    /// # Errors
    /// Those of the device.
    pub fn sum(&self) -> Result<Vec<(String, Tensor)>> {
        let (weight, bias) = match self {
            Self::Dense { weight, bias, inputs, cotangents } => (
                (weight.clone(), matmul_at(cotangents, inputs)?),
                bias.as_ref().map(|b| Ok((b.clone(), batch_sum(cotangents)?))),
            ),
            Self::Conv { weight, bias, inputs, cotangents, geometry } => (
                (weight.clone(), weight_vjp(inputs, cotangents, *geometry)?),
                (bias.as_ref()).map(|b| Ok((b.clone(), batch_sum(&pixel_sum(cotangents)?)?))),
            ),
            Self::Rows { name, rows } => ((name.clone(), batch_sum(rows)?), None),
        };
        let bias: Option<Result<_>> = bias;
        Ok(std::iter::once(weight).chain(bias.transpose()?).collect())
    }

    /// The rows of the Jacobian, (N, P_l): weight row-major, then bias.
    ///
    /// # Errors
    /// Those of the device; the memory is N P_l numbers.
    pub fn rows(&self) -> Result<Tensor> {
        let (weight, bias) = match self {
            Self::Rows { rows, .. } => return Ok(rows.clone()),
            Self::Dense { bias, inputs, cotangents, .. } => {
                let outer = cotangents.unsqueeze(2)?.broadcast_mul(&inputs.unsqueeze(1)?)?;
                (outer.flatten_from(1)?, bias.as_ref().map(|_| Ok(cotangents.clone())))
            }
            Self::Conv { bias, inputs, cotangents, geometry, .. } => {
                let rows = weight_rows(inputs, cotangents, *geometry)?;
                (rows, bias.as_ref().map(|_| pixel_sum(cotangents)))
            }
        };
        match bias {
            None => Ok(weight),
            Some(bias) => Ok(Tensor::cat(&[&weight, &bias?], 1)?),
        }
    }

    /// The tensors, each with one row an example: inputs and cotangents, or rows.
    pub fn tensors(&self) -> Vec<&Tensor> {
        match self {
            Self::Dense { inputs, cotangents, .. } | Self::Conv { inputs, cotangents, .. } => {
                vec![inputs, cotangents]
            }
            Self::Rows { rows, .. } => vec![rows],
        }
    }

    /// This factor for other examples; `f` sees the tensors in the order of
    /// [`tensors`](Factor::tensors).
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map<E>(
        mut self,
        mut f: impl FnMut(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Self, E> {
        match &mut self {
            Self::Dense { inputs, cotangents, .. } | Self::Conv { inputs, cotangents, .. } => {
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
            Self::Rows { name, .. } => vec![name],
        }
    }
}

impl Factor {
    /// The factor of the weight, and that of the bias as [`Factor::Rows`] where there is one.
    ///
    /// # Errors
    /// Those of the device.
    pub fn split_bias(mut self) -> Result<(Self, Option<Self>)> {
        let (name, rows) = match &mut self {
            Self::Dense { bias, cotangents, .. } => match bias.take() {
                Some(name) if cotangents.rank() == 3 => (name, cotangents.sum(1)?),
                Some(name) => (name, cotangents.clone()),
                None => return Ok((self, None)),
            },
            Self::Conv { bias, cotangents, .. } => match bias.take() {
                Some(name) => (name, pixel_sum(cotangents)?),
                None => return Ok((self, None)),
            },
            _ => return Ok((self, None)),
        };
        Ok((self, Some(Self::Rows { name, rows })))
    }

    /// One factor of a parameter that is used several times, from those of each use.
    ///
    /// # Errors
    /// Those of the device, or no factor at all.
    pub fn join(factors: Vec<Self>) -> Result<Self> {
        let mut factors = factors.into_iter();
        let first = factors.next().ok_or(ModelError::Cache { what: "factor" })?;
        factors.try_fold(first, |sum, next| {
            let name = sum.names().concat();
            Ok(Self::Rows { name, rows: add(&sum.rows()?, &next.rows()?)? })
        })
    }
}
