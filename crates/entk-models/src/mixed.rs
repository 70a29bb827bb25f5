//! Mixed second derivatives: how a backward sweep moves along a tangent.

use candle_core::Tensor;

use crate::{cache::Cache, error::Result, factor::Factor, params::Params};

/// The point at which [`Layer::mixed_vjp`](crate::Layer::mixed_vjp) is evaluated: parameters, what
/// the forward pass kept, and the tangents of both.
#[derive(Debug, Clone, Copy)]
pub struct MixedPoint<'a> {
    /// theta.
    pub params: &'a Params,
    /// The tangent of theta.
    pub tangent: &'a Params,
    /// What [`Layer::forward`](crate::Layer::forward) kept.
    pub cache: &'a Cache,
    /// The tangents that [`Layer::tangents`](crate::Layer::tangents) kept.
    pub moved: &'a Cache,
}

impl MixedPoint<'_> {
    /// The point for the layer of this index inside.
    pub(crate) fn child(&self, index: usize) -> Result<Self> {
        Ok(Self { cache: self.cache.child(index)?, moved: self.moved.child(index)?, ..*self })
    }

    /// The tangent of the layer's input; `None` where it is zero.
    pub fn input_tangent(&self) -> Option<&Tensor> {
        self.moved.tensors.first()
    }
}

/// Takes the factors of a mixed backward sweep one by one, last layer first.
pub type MixedSink<'a> = dyn FnMut(MixedFactor) -> Result<()> + 'a;

/// The derivative of one layer's gradient factors along a tangent.
///
/// A factor is a sum of products `d (x) a`; its derivative is `d (x) a' + d' (x) a`, where a' is
/// the tangent of the inputs and d' that of the cotangents.
#[derive(Debug, Clone)]
pub struct MixedFactor {
    /// The products `d (x) a'`: a factor (a', d) without bias, `None` where a' is zero.
    pub inputs: Option<Factor>,
    /// The products `d' (x) a`: a factor (a, d').
    pub cotangents: Factor,
}

impl MixedFactor {
    /// Summed over the batch, by parameter name.
    ///
    /// # Errors
    /// Those of the device.
    pub fn sum(&self) -> Result<Vec<(String, Tensor)>> {
        let mut sums = self.cotangents.sum()?;
        for (name, part) in self.inputs.as_ref().map(Factor::sum).transpose()?.unwrap_or_default() {
            if let Some((_, sum)) = sums.iter_mut().find(|(other, _)| *other == name) {
                *sum = (&*sum + part)?;
            }
        }
        Ok(sums)
    }

    /// One row an example, (N, P_l): weight row-major, then bias.
    ///
    /// # Errors
    /// Those of the device; the memory is N P_l numbers.
    pub fn rows(&self) -> Result<Tensor> {
        let rows = self.cotangents.rows()?;
        let Some(inputs) = &self.inputs else { return Ok(rows) };
        let part = inputs.rows()?;
        let bias = rows.dim(1)? - part.dim(1)?;
        Ok((rows + part.pad_with_zeros(1, 0, bias)?)?)
    }
}

/// The weight's part of a factor for the inputs `to`; `None` for rows.
pub(crate) fn with_inputs(factor: Factor, to: &Tensor) -> Option<Factor> {
    let inputs = to.clone();
    match factor {
        Factor::Dense { weight, cotangents, .. } => {
            Some(Factor::Dense { weight, bias: None, inputs, cotangents })
        }
        Factor::Conv { weight, cotangents, geometry, .. } => {
            Some(Factor::Conv { weight, bias: None, inputs, cotangents, geometry })
        }
        Factor::Rows { .. } => None,
    }
}
