use candle_core::{DType, Tensor};
use entk_models::{Model, Params};

use crate::{
    config::{GramConfig, Outputs},
    error::Result,
};

/// The gradient of every example as one flat f64 vector per cotangent direction, by a backward
/// pass of its own: N sweeps of one example, N P numbers.
pub(crate) fn gradients(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    config: &GramConfig,
) -> Result<Vec<Vec<f64>>> {
    (0..inputs.dim(0)?)
        .map(|example| {
            let sweep = model.sweep(params, &inputs.narrow(0, example, 1)?)?;
            let outputs = model.outputs();
            let cotangents = match config.outputs {
                Outputs::SumOfLogits => vec![vec![1f32; outputs]],
                Outputs::Trace => (0..outputs)
                    .map(|c| (0..outputs).map(|o| f32::from(u8::from(o == c))).collect())
                    .collect(),
            };
            let mut flat = Vec::new();
            for u in cotangents {
                let u = Tensor::from_vec(u, (1, outputs), params.device())?;
                for (_, tensor) in sweep.vjp(&u.to_dtype(params.dtype())?)?.iter() {
                    let tensor = tensor.flatten_all()?.to_dtype(DType::F64)?;
                    flat.extend(tensor.to_vec1::<f64>()?);
                }
            }
            Ok(flat)
        })
        .collect()
}

/// All inner products between two sets of vectors, row-major.
pub(crate) fn inner_products(left: &[Vec<f64>], right: &[Vec<f64>]) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum();
    left.iter().flat_map(|a| right.iter().map(move |b| dot(a, b))).collect()
}
