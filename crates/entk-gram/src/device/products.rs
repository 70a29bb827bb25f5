use candle_core::{DType, Tensor};

use super::precision::Precision;
use crate::error::Result;

/// How products are computed and summed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arithmetic {
    /// What the operands are rounded to.
    pub(crate) precision: Precision,
    /// Columns that one product sums before the next adds to it: so many roundings of a running sum, not
    /// one a column.
    pub(crate) depth: usize,
    /// The type of the kernel's entries.
    pub(crate) entry: DType,
}

/// A matrix with one row per row of the kernel, rounded once, and cut into panels of columns.
///
/// The same rounded rows stand on both sides of a product, so that the kernel stays the Gram of some rows:
/// positive semidefinite up to the rounding of its sums.
#[derive(Debug)]
pub(crate) struct Operand {
    panels: Vec<Panel>,
}

/// Some columns, as one tensor or as the sum of a high and a low part.
#[derive(Debug)]
struct Panel {
    high: Tensor,
    low: Option<Tensor>,
}

impl Operand {
    /// Rounds rows (r, columns).
    pub(crate) fn new(rows: &Tensor, arithmetic: &Arithmetic) -> Result<Self> {
        let columns = rows.dim(1)?;
        let panels = (0..columns).step_by(arithmetic.depth).map(|from| {
            let panel = rows.narrow(1, from, arithmetic.depth.min(columns - from))?.contiguous()?;
            let (high, low) = arithmetic.precision.split(&panel)?;
            Ok(Panel { high, low })
        });
        Ok(Self { panels: panels.collect::<Result<_>>()? })
    }

    /// `tile + a b^T`, in the type of the entries; no tile stands for zeros.
    pub(crate) fn add_product(
        &self,
        other: &Self,
        mut tile: Option<Tensor>,
        arithmetic: &Arithmetic,
    ) -> Result<Option<Tensor>> {
        for (a, b) in self.panels.iter().zip(&other.panels) {
            // The small terms first.
            let low = [(a.low.as_ref(), Some(&b.high)), (Some(&a.high), b.low.as_ref())];
            for (a, b) in low.into_iter().chain([(Some(&a.high), Some(&b.high))]) {
                let (Some(a), Some(b)) = (a, b) else { continue };
                tile = Some(arithmetic.added(tile, a, b)?);
            }
        }
        Ok(tile)
    }
}

impl Arithmetic {
    /// `tile + a b^T` for one panel.
    fn added(&self, tile: Option<Tensor>, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let product = self.precision.product(a, b)?;
        let product = product.to_dtype(self.entry)?;
        Ok(match tile {
            Some(tile) => (tile + product)?,
            None => product,
        })
    }
}
