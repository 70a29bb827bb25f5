//! The images inside the library, as arrays: nothing comes in, images and labels go out. Examples
//! and tests of the Python half call it.

use entk::data::{Dataset, embedded};
use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::prelude::*;

use crate::{error::exception, interrupt::run};

/// Images (N, 1, 28, 28) and labels (N,).
type Part<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Training and test images of a slice of Fashion-MNIST.
#[pyfunction]
pub(crate) fn fashion_mnist_slice(
    py: Python<'_>,
    standardized: bool,
) -> PyResult<(Part<'_>, Part<'_>)> {
    let split = run(py, None, move |_| {
        let split = embedded()?;
        Ok(if standardized { split.standardized()?.0 } else { split })
    })?;
    Ok((part(py, &split.train)?, part(py, &split.test)?))
}

fn part<'py>(py: Python<'py>, data: &Dataset) -> PyResult<Part<'py>> {
    let images = data.images();
    let (channels, height, width) = images.image_shape();
    let shape = [images.count(), channels, height, width];
    let values = images.to_vec().map_err(exception)?.into_pyarray(py).reshape(shape)?;
    Ok((values.into_any(), data.labels().to_vec().into_pyarray(py).into_any()))
}
