use candle_core::{DType, Tensor};
use entk_models::{Model, Params};

use crate::{
    config::{GramConfig, Outputs},
    error::Result,
};

/// The gradient behind every row of the kernel as one flat f64 vector, by backward passes of its
/// own: N sweeps of one example, N P numbers (for the trace and for full blocks C times as many).
pub(crate) fn gradients(
    model: &dyn Model,
    params: &Params,
    inputs: &Tensor,
    config: &GramConfig,
) -> Result<Vec<Vec<f64>>> {
    let (outputs, mut rows) = (model.outputs(), Vec::new());
    for example in 0..inputs.dim(0)? {
        let sweep = model.sweep(params, &inputs.narrow(0, example, 1)?)?;
        let one_hot = |c| (0..outputs).map(|o| f32::from(u8::from(o == c))).collect::<Vec<_>>();
        let gradient = |u: Vec<f32>| {
            let u = Tensor::from_vec(u, (1, outputs), params.device())?;
            flat(&sweep.vjp(&u.to_dtype(params.dtype())?)?, config)
        };
        let each = (0..outputs).map(|c| gradient(one_hot(c)));
        match config.outputs {
            Outputs::SumOfLogits => rows.push(gradient(vec![1.0; outputs])?),
            Outputs::Trace => rows.push(each.collect::<Result<Vec<_>>>()?.concat()),
            Outputs::Full => rows.extend(each.collect::<Result<Vec<_>>>()?),
        }
    }
    Ok(rows)
}

/// The chosen tensors of a gradient, one after the other.
fn flat(gradient: &Params, config: &GramConfig) -> Result<Vec<f64>> {
    let mut flat = Vec::new();
    for (_, tensor) in gradient.iter().filter(|(name, _)| config.includes(name)) {
        flat.extend(tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?);
    }
    Ok(flat)
}

/// All inner products between two sets of vectors, row-major.
pub(crate) fn inner_products(left: &[Vec<f64>], right: &[Vec<f64>]) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum();
    left.iter().flat_map(|a| right.iter().map(move |b| dot(a, b))).collect()
}
