use candle_core::{Device, Tensor};
use entk_models::{Factor, Model, Params, Real};

use crate::{
    config::{GramConfig, Strategy},
    error::Result,
    sweeps::for_each_sweep,
};

/// A row-major matrix with one row per example.
pub(crate) struct Rows<T> {
    pub(crate) values: Vec<T>,
    pub(crate) width: usize,
}

impl<T: Real> Rows<T> {
    fn new() -> Self {
        Self { values: Vec::new(), width: 0 }
    }

    /// Appends the first `count` rows of a tensor whose first axis is the batch.
    fn push(&mut self, tensor: &Tensor, count: usize) -> Result<()> {
        let flat = tensor.narrow(0, 0, count)?.flatten_all()?.to_device(&Device::Cpu)?;
        self.width = flat.elem_count() / count;
        self.values.extend(flat.to_vec1::<T>()?);
        Ok(())
    }
}

/// A dense layer's share of the kernel: `(a a'^T + bias) * (d d'^T)`.
pub(crate) struct DensePair<T> {
    pub(crate) inputs: Rows<T>,
    pub(crate) cotangents: Rows<T>,
    pub(crate) bias: bool,
}

/// All gradients of a data set in the form in which tiles of K are products of them.
pub(crate) struct Features<T> {
    /// Jacobian rows of the layers whose rows are short, side by side, one matrix a layer.
    pub(crate) rows: Vec<Rows<T>>,
    /// Factors of the dense layers whose rows are long.
    pub(crate) dense: Vec<DensePair<T>>,
    /// Number of examples.
    pub(crate) count: usize,
}

impl<T: Real> Features<T> {
    /// One forward and backward sweep over `inputs`; every factor is computed once.
    pub(crate) fn collect(
        model: &dyn Model,
        params: &Params,
        inputs: &Tensor,
        config: &GramConfig,
    ) -> Result<Self> {
        let mut features = Self { rows: Vec::new(), dense: Vec::new(), count: inputs.dim(0)? };
        for_each_sweep(model, params, inputs, config, |factors, count| {
            features.push(factors, count, config.strategy)
        })?;
        Ok(features)
    }

    fn push(&mut self, factors: Vec<Factor>, count: usize, strategy: Strategy) -> Result<()> {
        let (mut rows, mut dense) = (0, 0);
        for factor in factors {
            match factor {
                Factor::Dense { inputs, cotangents, bias, .. }
                    if strategy == Strategy::Structured
                        && pair_is_cheaper(&inputs, &cotangents) =>
                {
                    if dense == self.dense.len() {
                        let (inputs, cotangents) = (Rows::new(), Rows::new());
                        self.dense.push(DensePair { inputs, cotangents, bias: bias.is_some() });
                    }
                    self.dense[dense].inputs.push(&inputs, count)?;
                    self.dense[dense].cotangents.push(&cotangents, count)?;
                    dense += 1;
                }
                other => {
                    if rows == self.rows.len() {
                        self.rows.push(Rows::new());
                    }
                    self.rows[rows].push(&other.rows()?, count)?;
                    rows += 1;
                }
            }
        }
        Ok(())
    }
}

/// Whether two products of widths `in` and `out` cost less than one of width `in out`.
fn pair_is_cheaper(inputs: &Tensor, cotangents: &Tensor) -> bool {
    let (i, o) = (inputs.dims()[1], cotangents.dims()[1]);
    i + o + 2 < i * o
}
