//! Predictions from a kernel: a Gram, a cross Gram and targets come in, outputs at new inputs go
//! out, with what their solution was measured to be. Users call it through the Python half.

use std::sync::Arc;

use entk::predict::{
    Cholesky, CholeskyConfig, Columns, Solution, SquaredLossFlow, posterior_variance,
};
use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::{
    arrays::table,
    error::{InvalidInput, exception},
    interrupt::run,
    kernel::{CrossGram, Gram},
};

/// Outputs (M, C), coefficients (N, C), residuals (C,) and variances (M,).
type Predicted<'py> =
    (Bound<'py, PyAny>, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// What one prediction gives.
struct Found {
    outputs: Columns,
    coefficients: Columns,
    residuals: Option<Vec<f64>>,
    variances: Option<Vec<f64>>,
}

/// The outputs of a regression, or at a time of gradient flow.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python half")]
pub(crate) fn predict<'py>(
    py: Python<'py>,
    gram: &Gram,
    cross: &CrossGram,
    targets: PyReadonlyArray2<'py, f64>,
    ridge: f64,
    time: Option<f64>,
    examples: usize,
    offset: Option<PyReadonlyArray2<'py, f64>>,
    cross_offset: Option<PyReadonlyArray2<'py, f64>>,
    prior: Option<PyReadonlyArray1<'py, f64>>,
) -> PyResult<Predicted<'py>> {
    same_kernel(gram, cross)?;
    let (gram, cross) = (Arc::clone(&gram.inner), Arc::clone(&cross.inner));
    let targets = columns(&targets)?;
    let offset = offset.as_ref().map(columns).transpose()?;
    let cross_offset = cross_offset.as_ref().map(columns).transpose()?;
    let prior = prior.map(|prior| prior.as_array().to_vec());
    let found = run(py, None, move |_| {
        let (coefficients, residuals, variances) = match time {
            Some(time) => {
                let pairs = entk::spectral::eigh(&gram)?;
                let flow = SquaredLossFlow::new(&pairs, &targets, offset.as_ref(), examples)?;
                (flow.coefficients(&[time])?.swap_remove(0), None, None)
            }
            None => {
                let factor = Cholesky::new(&gram, ridge, CholeskyConfig::default())?;
                let Solution { coefficients, residuals, .. } =
                    factor.solve_from(&targets, offset.as_ref())?;
                let variances =
                    prior.map(|prior| posterior_variance(&factor, &cross, &prior)).transpose()?;
                (coefficients, Some(residuals), variances.map(|found| found.values))
            }
        };
        let outputs = entk::predict::predict(&*cross, &coefficients, cross_offset.as_ref())?;
        Ok(Found { outputs, coefficients, residuals, variances })
    })?;
    let array = |values: Vec<f64>| values.into_pyarray(py).into_any();
    Ok((
        table(py, found.outputs.to_rows(), found.outputs.cols())?,
        table(py, found.coefficients.to_rows(), found.coefficients.cols())?,
        found.residuals.map(array),
        found.variances.map(array),
    ))
}

/// Refuses a cross Gram of other outputs, whose shape may fit all the same.
fn same_kernel(gram: &Gram, cross: &CrossGram) -> PyResult<()> {
    match (gram.of, cross.of) {
        (Some(ours), Some(theirs)) if !ours.agrees(theirs) => Err(InvalidInput::new_err(format!(
            "gram is of outputs={} and cross of outputs={}; compute both with the same outputs",
            ours.word(),
            theirs.word()
        ))),
        _ => Ok(()),
    }
}

fn columns(values: &PyReadonlyArray2<'_, f64>) -> PyResult<Columns> {
    let (rows, cols) = (values.shape()[0], values.shape()[1]);
    let entries: Vec<f64> = values.as_array().iter().copied().collect();
    Columns::from_rows(rows, cols, &entries).map_err(exception)
}
