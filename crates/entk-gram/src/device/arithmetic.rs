//! Products on a device: how their operands are rounded and in which type they are summed.

use candle_core::{DType, Tensor};
use entk_device::{Operand, Precision, add_product};

use crate::error::Result;

/// How products are computed and summed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arithmetic {
    /// What the operands are rounded to, once: the same numbers stand on both sides of every
    /// product, so that the kernel stays the Gram of the rounded rows, positive semidefinite up to
    /// the rounding of its sums.
    pub(crate) precision: Precision,
    /// The type of the kernel's entries.
    pub(crate) entry: DType,
}

impl Arithmetic {
    /// The rounded matrix.
    pub(crate) fn operand(&self, rows: &Tensor) -> Result<Operand> {
        Ok(Operand::new(rows, self.precision)?)
    }

    /// `a b^T` in the type of the entries.
    pub(crate) fn product(&self, a: &Operand, b: &Operand) -> Result<Tensor> {
        self.accumulate(None, a, b)
    }

    /// `tile + a b^T`; no tile stands for zeros. A tile whose type is that of the products' sums is
    /// added to in place.
    pub(crate) fn accumulate(
        &self,
        tile: Option<Tensor>,
        a: &Operand,
        b: &Operand,
    ) -> Result<Tensor> {
        let ((rows, _), (cols, _)) = (a.dims2()?, b.dims2()?);
        let zeros = |dtype| Tensor::zeros((rows, cols), dtype, a.parts().0.device());
        if a.accumulator() == self.entry {
            let tile = tile.map_or_else(|| zeros(self.entry), Ok)?;
            add_product(&tile, a, &b.t()?)?;
            return Ok(tile);
        }
        let product = zeros(a.accumulator())?;
        add_product(&product, a, &b.t()?)?;
        plus(tile, product.to_dtype(self.entry)?)
    }
}

/// `tile + more`.
pub(crate) fn plus(tile: Option<Tensor>, more: Tensor) -> Result<Tensor> {
    Ok(match tile {
        Some(tile) => (tile + more)?,
        None => more,
    })
}
