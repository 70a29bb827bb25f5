//! Mixed second derivatives of one parameter's gradients: how a factor moves along a tangent. Made
//! by a mixed sweep, summed or expanded by whoever asked for it.

use candle_core::Tensor;

use crate::{error::Result, factor::Factor};

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
