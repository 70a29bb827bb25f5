//! The factors of several outputs as one: in come those of one layer, an output each, out goes a
//! wider one that has the inputs once. Kernels of several outputs call it.

use candle_core::Tensor;
use entk_device::Geometry;

use crate::{
    error::{ModelError, Result},
    factor::Factor,
};

impl Factor {
    /// Whether the factors of one layer for several outputs have one and the same input, not equal
    /// numbers by chance: the same memory of the forward pass. Rows have no input.
    ///
    /// It is so for a layer that is used once, since only cotangents depend on the output.
    pub fn have_one_input(factors: &[Self]) -> bool {
        let Some((first, rest)) = factors.split_first() else { return false };
        let same = |other: &Self| match (first, other) {
            (Self::Rows { .. }, Self::Rows { .. }) => true,
            (Self::Dense { inputs: a, .. }, Self::Dense { inputs: b, .. })
            | (Self::Conv { inputs: a, .. }, Self::Conv { inputs: b, .. })
            | (Self::Embedding { ids: a, .. }, Self::Embedding { ids: b, .. }) => is_same(a, b),
            _ => false,
        };
        rest.iter().all(same)
    }

    /// The factor whose kernel is the sum of those of `factors`: with the inputs a of all of them
    /// ([`have_one_input`](Self::have_one_input)) and their cotangents side by side,
    ///
    /// `sum_c sum_st (a_s . a'_t) (d_cs . d'_ct) = sum_st (a_s . a'_t) (D_s . D'_t)`, D = (d_1, ..,
    /// d_C),
    ///
    /// as if the layer had C times its outputs. Rows are put side by side.
    ///
    /// # Errors
    /// No factor at all, and those of the device.
    pub fn side_by_side(factors: &[Self]) -> Result<Self> {
        let Some((first, rest)) = factors.split_first() else {
            return Err(ModelError::Cache { what: "factor" });
        };
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let each: Vec<Vec<&Tensor>> = factors.iter().map(Self::tensors).collect();
        let last = |at: usize, axis: usize| {
            Tensor::cat(&each.iter().map(|tensors| tensors[at]).collect::<Vec<_>>(), axis)
        };
        let mut wide = first.clone();
        match &mut wide {
            Self::Dense { cotangents, .. } => *cotangents = last(1, cotangents.rank() - 1)?,
            Self::Embedding { cotangents, .. } => *cotangents = last(1, 2)?,
            Self::Conv { cotangents, geometry, .. } => {
                *cotangents = last(1, 1)?;
                *geometry = Geometry { filters: geometry.filters * factors.len(), ..*geometry };
            }
            Self::Rows { rows, .. } => *rows = last(0, 1)?,
        }
        Ok(wide)
    }

    /// The rows of the Jacobian for every output, (N, C, P_l), of factors with one input.
    ///
    /// The filters of all outputs of a convolution are multiplied with one copy of its patches.
    ///
    /// # Errors
    /// As [`side_by_side`](Self::side_by_side) and [`rows`](Self::rows).
    pub fn rows_of_outputs(factors: &[Self]) -> Result<Tensor> {
        let is_conv = matches!(factors.first(), Some(Self::Conv { .. }));
        if !is_conv || !Self::have_one_input(factors) {
            let rows = factors.iter().map(Self::rows).collect::<Result<Vec<_>>>()?;
            return Ok(Tensor::stack(&rows, 1)?);
        }
        let by_output = |rows: &Tensor| rows.reshape((rows.dim(0)?, factors.len(), ()));
        let (weight, bias) = Self::side_by_side(factors)?.split_bias()?;
        let weight = by_output(&weight.rows()?)?;
        match bias {
            None => Ok(weight),
            Some(bias) => Ok(Tensor::cat(&[&weight, &by_output(&bias.rows()?)?], 2)?),
        }
    }
}

/// Whether two tensors are the same part of the same memory.
fn is_same(a: &Tensor, b: &Tensor) -> bool {
    if a.id() == b.id() {
        return true;
    }
    let ((left, layout), (right, other)) = (a.storage_and_layout(), b.storage_and_layout());
    let layouts = (layout.dims(), layout.stride(), layout.start_offset())
        == (other.dims(), other.stride(), other.start_offset());
    layouts && std::ptr::eq(&*left, &*right)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loops::{host_op::testing::numbers, padding::Padding};

    /// f64 round-off of a sum over a few hundred products of size 4.
    const TOLERANCE: f64 = 1e-12;
    const OUTPUTS: u64 = 3;

    fn tensor(shape: &[usize], seed: u64) -> Result<Tensor> {
        Ok(Tensor::from_vec(numbers(shape.iter().product(), seed), shape, &Device::Cpu)?)
    }

    /// Factors of three outputs, of every kind.
    fn cases() -> Result<Vec<Vec<Factor>>> {
        let each = |of: &dyn Fn(u64) -> Result<Factor>| {
            (2..2 + OUTPUTS).map(of).collect::<Result<Vec<_>>>()
        };
        let (one, several) = (tensor(&[3, 4], 1)?, tensor(&[3, 6, 4], 1)?);
        let dense = |inputs: &Tensor, shape: &[usize], seed| {
            let (inputs, cotangents) = (inputs.clone(), tensor(shape, seed)?);
            Ok(Factor::Dense { weight: "w".into(), bias: Some("b".into()), inputs, cotangents })
        };
        let geometry = Padding::Same.geometry("conv", [2, 4], [5; 2], [3; 2], [1; 2], [1; 2])?;
        let images = tensor(&[3, 2, 5, 5], 1)?;
        let conv = |seed| {
            let (inputs, cotangents) = (images.clone(), tensor(&[3, 4, 5, 5], seed)?);
            let (weight, bias) = ("w".into(), Some("b".into()));
            Ok(Factor::Conv { weight, bias, inputs, cotangents, geometry })
        };
        let ids = Tensor::from_vec(vec![0u32, 2, 2, 1, 1, 1], (3, 2), &Device::Cpu)?;
        let embedding = |seed| {
            let (ids, cotangents) = (ids.clone(), tensor(&[3, 2, 4], seed)?);
            Ok(Factor::Embedding { weight: "w".into(), ids, cotangents, vocabulary: 3 })
        };
        let rows = |seed| Ok(Factor::Rows { name: "b".into(), rows: tensor(&[3, 7], seed)? });
        Ok(vec![
            each(&|seed| dense(&one, &[3, 5], seed))?,
            each(&|seed| dense(&several, &[3, 6, 5], seed))?,
            each(&conv)?,
            each(&embedding)?,
            each(&rows)?,
        ])
    }

    fn close(what: &str, a: &Tensor, b: &Tensor) -> Result<()> {
        assert_eq!(a.dims(), b.dims(), "{what}");
        let error = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(error <= TOLERANCE, "{what}: {error:e}");
        Ok(())
    }

    #[test]
    fn kernels_of_wide_factors_are_sums_over_outputs() -> Result<()> {
        for factors in cases()? {
            let what = format!("{factors:?}");
            assert!(Factor::have_one_input(&factors), "{what}");
            let kernel = |rows: Tensor| rows.matmul(&rows.t()?);
            let mut sum = kernel(factors[0].rows()?)?;
            for factor in &factors[1..] {
                sum = (sum + kernel(factor.rows()?)?)?;
            }
            close(&what, &kernel(Factor::side_by_side(&factors)?.rows()?)?, &sum)?;
        }
        Ok(())
    }

    #[test]
    fn rows_of_outputs_are_those_of_each() -> Result<()> {
        for factors in cases()? {
            let rows = Factor::rows_of_outputs(&factors)?;
            for (at, factor) in factors.iter().enumerate() {
                close(&format!("{factor:?}"), &rows.get_on_dim(1, at)?, &factor.rows()?)?;
            }
        }
        Ok(())
    }

    /// As of a layer that is used several times.
    #[test]
    fn rows_of_outputs_with_inputs_of_their_own_are_those_of_each() -> Result<()> {
        for mut factors in cases()? {
            for (at, factor) in factors.iter_mut().enumerate() {
                if let Factor::Conv { inputs, .. } | Factor::Dense { inputs, .. } = factor {
                    *inputs = tensor(inputs.dims(), 10 + at as u64)?;
                }
            }
            let rows = Factor::rows_of_outputs(&factors)?;
            for (at, factor) in factors.iter().enumerate() {
                close(&format!("{factor:?}"), &rows.get_on_dim(1, at)?, &factor.rows()?)?;
            }
        }
        Ok(())
    }

    #[test]
    fn equal_numbers_in_other_memory_are_other_inputs() -> Result<()> {
        let dense = |inputs| {
            let (weight, bias, cotangents) = ("w".into(), None, tensor(&[3, 5], 2)?);
            Ok::<_, ModelError>(Factor::Dense { weight, bias, inputs, cotangents })
        };
        let inputs = tensor(&[3, 4], 1)?;
        let view = inputs.reshape((3, 2, 2))?.reshape((3, 4))?;
        assert!(Factor::have_one_input(&[dense(inputs.clone())?, dense(view)?]));
        assert!(!Factor::have_one_input(&[dense(inputs.clone())?, dense(inputs.copy()?)?]));
        assert!(!Factor::have_one_input(&[]));
        assert!(Factor::side_by_side(&[]).is_err());
        Ok(())
    }
}
