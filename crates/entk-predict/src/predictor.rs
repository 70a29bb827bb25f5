//! Predictions from coefficients: in come a kernel between test and training inputs and the
//! coefficients on the training inputs, out go outputs at the test inputs. Users call it with the
//! coefficients of any solver of this crate.

use entk_spectral::LinearOperator;

use crate::{
    columns::Columns,
    dense::zeros,
    error::{PredictError, Result},
};

/// The outputs f_0(x) + sum over i of Theta(x, x_i) a_i at M test inputs, (M, C), for coefficients
/// a (N, C) on the N training inputs.
///
/// `cross` holds the test inputs as rows and the training inputs as columns; `offset` is f_0 on the
/// test inputs, (M, C), zero if it is left out. For a full kernel both have N C rows and one
/// column. Cost: M N C multiply-adds, one pass over the entries of `cross`.
///
/// # Errors
/// [`Shape`](PredictError::Shape), [`Overflow`](PredictError::Overflow), or what the operator
/// returns.
///
/// ```
/// use entk_predict::{Columns, predict};
/// use entk_spectral::CrossGram;
///
/// let cross = CrossGram::from_f64(1, 2, vec![1.0, 2.0])?;
/// let coefficients = Columns::from_rows(2, 2, &[1.0, 0.0, 1.0, 1.0])?;
/// assert_eq!(predict(&cross, &coefficients, None)?.to_rows(), [3.0, 2.0]);
/// # Ok::<(), entk_predict::PredictError>(())
/// ```
pub fn predict<A: LinearOperator + ?Sized>(
    cross: &A,
    coefficients: &Columns,
    offset: Option<&Columns>,
) -> Result<Columns> {
    coefficients.check_shape("coefficients", cross.cols(), coefficients.cols())?;
    images(cross, coefficients.values())?.plus(offset)
}

/// As [`predict`] for several sets of coefficients of one shape, such as those of many times or
/// ridges: one pass over the kernel serves them all.
///
/// # Errors
/// As [`predict`]; [`Count`](PredictError::Count) without any coefficients.
pub fn predict_all<A: LinearOperator + ?Sized>(
    cross: &A,
    coefficients: &[Columns],
    offset: Option<&Columns>,
) -> Result<Vec<Columns>> {
    let (m, n) = (cross.rows(), cross.cols());
    let first = coefficients.first();
    let cols =
        first.ok_or(PredictError::Count { what: "sets of coefficients", expected: 1, found: 0 })?;
    let cols = cols.cols();
    coefficients.iter().try_for_each(|a| a.check_shape("coefficients", n, cols))?;
    let stacked: Vec<f64> = coefficients.iter().flat_map(Columns::values).copied().collect();
    let outputs = images(cross, &stacked)?;
    let of = |values: &[f64]| Columns::from_columns(m, cols, values.to_vec())?.plus(offset);
    outputs.values().chunks_exact(m * cols).map(of).collect()
}

fn images<A: LinearOperator + ?Sized>(cross: &A, columns: &[f64]) -> Result<Columns> {
    let mut images = zeros(cross.rows(), columns.len() / cross.cols(), "predictions")?;
    cross.apply(columns, &mut images)?;
    Columns::computed(cross.rows(), images, "predictions")
}
