//! Eigenpairs of a kernel and what a task has to do with them: a Gram and targets come in, pairs
//! with residuals and numbers go out. Users call it through the Python half.

use std::{ops::ControlFlow, path::PathBuf, sync::Arc};

use entk::{
    Save,
    spectral::{self, EigshConfig, EigshRun, Entries, Solver, residual_norms},
};
use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::{
    arrays::Interface,
    error::{exception, unknown},
    interrupt::run,
    kernel::Gram,
};

/// Eigenpairs of a kernel, the largest eigenvalue first.
#[pyclass(frozen, module = "entk._entk")]
pub(crate) struct Eigenpairs {
    pub(crate) inner: Arc<spectral::Eigenpairs>,
    residuals: Vec<f64>,
    clusters: Vec<(usize, usize)>,
}

#[pymethods]
impl Eigenpairs {
    /// Reads a safetensors file that `save` wrote; the residuals are measured on `gram`.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf, gram: &Gram) -> PyResult<Self> {
        measured(py, gram, move |_| spectral::Eigenpairs::load(path))
    }

    /// Writes a safetensors file, which is whole or absent.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let pairs = Arc::clone(&self.inner);
        run(py, None, move |_| pairs.save(path))
    }

    /// Eigenvalues, (K,), f64, descending. Read-only, no copy.
    #[getter]
    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let pairs = &slf.get().inner;
        view(slf, pairs.values(), &[pairs.len()])
    }

    /// Eigenvectors, (N, K), f64: column j belongs to value j, has norm 1, and its entry of largest
    /// magnitude is positive. Read-only, no copy.
    #[getter]
    fn vectors<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let pairs = &slf.get().inner;
        view(slf, pairs.vectors(), &[pairs.len(), pairs.dim()])?.getattr("T")
    }

    /// ||K v - lambda v|| of every pair, (K,), f64, measured: there is an eigenvalue of K within
    /// this distance of lambda.
    #[getter]
    fn residuals<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.residuals.clone().into_pyarray(py).into_any()
    }

    /// Runs (first, past the last) of eigenvalues closer than 1e-8 of the largest: only the span of
    /// their vectors is determined. Of `eigsh` alone.
    #[getter]
    fn clusters(&self) -> Vec<(usize, usize)> {
        self.clusters.clone()
    }

    /// (eigenvalue, vector (N,)) of pair j; a negative j counts from the end.
    fn __getitem__<'py>(slf: &Bound<'py, Self>, j: isize) -> PyResult<Bound<'py, PyAny>> {
        let len = slf.get().inner.len() as isize;
        let at = if j < 0 { j + len } else { j };
        if !(0..len).contains(&at) {
            let words = format!("pair {j}: there are {len} of them");
            return Err(pyo3::exceptions::PyIndexError::new_err(words));
        }
        let (value, vector) = slf.get().inner.pair(at as usize).map_err(exception)?;
        let vector = view(slf, vector, &[slf.get().inner.dim()])?;
        Ok((value, vector).into_pyobject(slf.py())?.into_any())
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __str__(&self) -> String {
        let worst = self.residuals.iter().copied().fold(0.0, f64::max);
        format!("{}\nresiduals ‖K φ - λ φ‖ at most {worst:.1e}", *self.inner)
    }

    fn __repr__(&self) -> String {
        format!("Eigenpairs(k={}, n={})", self.inner.len(), self.inner.dim())
    }
}

fn view<'py>(
    owner: &Bound<'py, Eigenpairs>,
    values: &[f64],
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    Interface::new(Entries::F64(values), shape).array(owner.py(), owner.clone().into_any().unbind())
}

/// The k largest eigenpairs, each with its residual.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python half")]
pub(crate) fn eigsh(
    py: Python<'_>,
    gram: &Gram,
    k: usize,
    tol: f64,
    seed: u64,
    solver: &str,
    max_products: Option<usize>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<Eigenpairs> {
    let solver = match solver {
        "auto" => Solver::Auto,
        "dense" => Solver::Dense,
        "krylov" => Solver::Krylov,
        other => {
            return unknown("solver", other, "\"auto\", \"dense\" or \"krylov\"");
        }
    };
    let config = EigshConfig { solver, tolerance: tol, seed, max_products, ..Default::default() };
    let gram = Arc::clone(&gram.inner);
    let certified = run(py, progress.as_ref(), move |watch| {
        let mut observe = |progress: &spectral::EigshProgress<'_>| {
            watch.report(progress.locked(), progress.wanted());
            if watch.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let certified = EigshRun::new(&config).observed(&mut observe).pairs(&*gram, k)?;
        watch.report(k, k);
        Ok(certified)
    })?;
    Ok(Eigenpairs {
        inner: Arc::new(certified.pairs),
        residuals: certified.residuals,
        clusters: certified.clusters.iter().map(|run| (run.start, run.end)).collect(),
    })
}

/// All eigenpairs.
#[pyfunction]
pub(crate) fn eigh(py: Python<'_>, gram: &Gram) -> PyResult<Eigenpairs> {
    measured(py, gram, |gram| Ok(spectral::eigh(gram)?))
}

/// The pairs that `pairs` gives, with residuals that are measured on `gram`.
fn measured(
    py: Python<'_>,
    gram: &Gram,
    pairs: impl FnOnce(&spectral::Gram) -> entk::Result<spectral::Eigenpairs> + Send + 'static,
) -> PyResult<Eigenpairs> {
    let gram = Arc::clone(&gram.inner);
    let (pairs, residuals) = run(py, None, move |_| {
        let pairs = pairs(&gram)?;
        let residuals = residual_norms(&*gram, &pairs)?;
        Ok((pairs, residuals))
    })?;
    Ok(Eigenpairs { inner: Arc::new(pairs), residuals, clusters: Vec::new() })
}

/// y^T K y / N^2.
#[pyfunction]
pub(crate) fn alignment(
    py: Python<'_>,
    gram: &Gram,
    y: PyReadonlyArray1<'_, f64>,
) -> PyResult<f64> {
    let (gram, y) = (Arc::clone(&gram.inner), y.as_array().to_vec());
    run(py, None, move |_| Ok(spectral::alignment(&gram, &y)?))
}

/// y^T K y / ||y||^2.
#[pyfunction]
pub(crate) fn rayleigh_alignment(
    py: Python<'_>,
    gram: &Gram,
    y: PyReadonlyArray1<'_, f64>,
) -> PyResult<f64> {
    let (gram, y) = (Arc::clone(&gram.inner), y.as_array().to_vec());
    run(py, None, move |_| Ok(spectral::rayleigh_alignment(&gram, &y)?))
}

/// ||Phi y|| / ||y|| and its square.
#[pyfunction]
pub(crate) fn energy_concentration(
    py: Python<'_>,
    pairs: &Eigenpairs,
    y: PyReadonlyArray1<'_, f64>,
    k: usize,
) -> PyResult<(f64, f64)> {
    let (pairs, y) = (Arc::clone(&pairs.inner), y.as_array().to_vec());
    let energy = run(py, None, move |_| Ok(spectral::energy_concentration(&pairs, &y, k)?))?;
    Ok((energy.ratio, energy.squared))
}
