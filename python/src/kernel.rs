//! Kernels: a network, parameters and inputs come in, a Gram or a cross Gram goes out, whose
//! entries numpy reads where they are. Users call it through the Python half.

use std::{path::PathBuf, sync::Arc};

use entk::{
    Save,
    gram::{self as ntk, Assembly, CpuConfig, Engine, GramConfig},
    spectral::{self, EntryType},
};
use numpy::PyUntypedArrayMethods;
use pyo3::{prelude::*, types::PyDict};

use crate::{
    arrays::{Interface, Numbers, contiguous},
    error::{InvalidInput, exception, unknown},
    interrupt::run,
    network::Network,
    params::Params,
};

/// The kernel matrix K of one sample of N inputs, (N, N), f32 or f64, symmetric to the bit.
#[pyclass(frozen, module = "entk._entk")]
pub(crate) struct Gram {
    pub(crate) inner: Arc<spectral::Gram>,
    pub(crate) of: Option<Which>,
}

/// The kernel between two samples, (M, N), f32 or f64.
#[pyclass(frozen, module = "entk._entk")]
pub(crate) struct CrossGram {
    pub(crate) inner: Arc<spectral::CrossGram>,
    pub(crate) of: Option<Which>,
}

/// Which kernel of how many outputs; unknown of a kernel that somebody else has computed.
#[derive(Clone, Copy)]
pub(crate) struct Which {
    outputs: ntk::Outputs,
    of: usize,
}

impl Which {
    /// Whether these are one kernel; of one output all are.
    pub(crate) fn agrees(self, other: Self) -> bool {
        self.outputs == other.outputs || self.of == 1 && other.of == 1
    }

    /// As the setting is written in Python.
    pub(crate) fn word(self) -> String {
        match self.outputs {
            ntk::Outputs::One(output) => output.to_string(),
            ntk::Outputs::SumOfLogits => "\"sum\"".to_owned(),
            ntk::Outputs::Full => "\"full\"".to_owned(),
            _ => "\"trace\"".to_owned(),
        }
    }

    fn python<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.outputs {
            ntk::Outputs::One(output) => Ok(output.into_pyobject(py)?.into_any()),
            _ => Ok(self.word().trim_matches('"').into_pyobject(py)?.into_any()),
        }
    }
}

/// What is said of a kernel beside its shape.
fn words(entries: EntryType, of: Option<Which>) -> String {
    let outputs = of.map_or_else(String::new, |which| format!(", outputs={}", which.word()));
    format!("dtype={}{outputs}", dtype(entries))
}

#[pymethods]
impl Gram {
    /// A kernel that somebody else has computed, (N, N), symmetric within round-off.
    #[new]
    fn new(py: Python<'_>, entries: &Bound<'_, PyAny>) -> PyResult<Self> {
        let gram = match Numbers::reals(entries, "gram")? {
            Numbers::F32(array) => {
                let (n, entries) = (square(array.shape())?, contiguous(&array)?.to_vec());
                py.detach(|| spectral::Gram::from_symmetric_f32(n, entries))
            }
            Numbers::F64(array) => {
                let (n, entries) = (square(array.shape())?, contiguous(&array)?.to_vec());
                py.detach(|| spectral::Gram::from_symmetric_f64(n, entries))
            }
            Numbers::Ids(_) => return Err(InvalidInput::new_err("a kernel has real entries")),
        };
        Ok(Self { inner: Arc::new(gram.map_err(exception)?), of: None })
    }

    /// Reads a `.npy` file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let gram = run(py, None, move |_| spectral::Gram::load(path))?;
        Ok(Self { inner: Arc::new(gram), of: None })
    }

    /// Writes a `.npy` file, which is whole or absent.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let gram = Arc::clone(&self.inner);
        run(py, None, move |_| gram.save(path))
    }

    /// Number of rows: N examples, or N C for outputs="full".
    #[getter]
    fn n(&self) -> usize {
        self.inner.n()
    }

    /// Rows that each example has: C for outputs="full", else 1.
    #[getter]
    fn rows_per_example(&self) -> usize {
        self.of.map_or(1, |which| which.outputs.rows_per_example(which.of))
    }

    /// Which kernel: "trace", "sum", "full" or the number of one output; None of an array's or of a
    /// file's, which do not say.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.of.map(|which| which.python(py)).transpose()
    }

    /// (N, N).
    #[getter]
    fn shape(&self) -> (usize, usize) {
        (self.inner.n(), self.inner.n())
    }

    /// float32 or float64.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("numpy")?.call_method1("dtype", (dtype(self.inner.entry_type()),))
    }

    /// The entries as a read-only array (N, N) of numpy; no copy is made.
    #[getter]
    fn array<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().interface().array(slf.py(), slf.clone().into_any().unbind())
    }

    /// numpy's array interface, by which `numpy.asarray` reads the entries without a copy.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.interface().dict(py)
    }

    /// The diagonal, (N,), f64: the squared norms of the gradients.
    fn diagonal<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        use numpy::IntoPyArray;
        self.inner.diagonal().into_pyarray(py).into_any()
    }

    /// The sum of the diagonal, which is that of the eigenvalues.
    fn trace(&self) -> PyResult<f64> {
        self.inner.trace().map_err(exception)
    }

    fn __len__(&self) -> usize {
        self.inner.n()
    }

    fn __str__(&self) -> String {
        self.inner.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Gram(n={}, {})", self.inner.n(), words(self.inner.entry_type(), self.of))
    }
}

impl Gram {
    fn interface(&self) -> Interface {
        Interface::new(self.inner.entries(), &[self.inner.n(), self.inner.n()])
    }
}

#[pymethods]
impl CrossGram {
    /// A kernel that somebody else has computed, (M, N).
    #[new]
    fn new(py: Python<'_>, entries: &Bound<'_, PyAny>) -> PyResult<Self> {
        let cross = match Numbers::reals(entries, "cross")? {
            Numbers::F32(array) => {
                let ([m, n], entries) = (matrix(array.shape())?, contiguous(&array)?.to_vec());
                py.detach(|| spectral::CrossGram::from_f32(m, n, entries))
            }
            Numbers::F64(array) => {
                let ([m, n], entries) = (matrix(array.shape())?, contiguous(&array)?.to_vec());
                py.detach(|| spectral::CrossGram::from_f64(m, n, entries))
            }
            Numbers::Ids(_) => return Err(InvalidInput::new_err("a kernel has real entries")),
        };
        Ok(Self { inner: Arc::new(cross.map_err(exception)?), of: None })
    }

    /// Reads a `.npy` file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let cross = run(py, None, move |_| spectral::CrossGram::load(path))?;
        Ok(Self { inner: Arc::new(cross), of: None })
    }

    /// Writes a `.npy` file, which is whole or absent.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let cross = Arc::clone(&self.inner);
        run(py, None, move |_| cross.save(path))
    }

    /// (M, N).
    #[getter]
    fn shape(&self) -> (usize, usize) {
        (self.inner.rows(), self.inner.cols())
    }

    /// Which kernel, as of a Gram.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.of.map(|which| which.python(py)).transpose()
    }

    /// float32 or float64.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("numpy")?.call_method1("dtype", (dtype(self.inner.entry_type()),))
    }

    /// The entries as a read-only array (M, N) of numpy; no copy is made.
    #[getter]
    fn array<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().interface().array(slf.py(), slf.clone().into_any().unbind())
    }

    /// numpy's array interface, by which `numpy.asarray` reads the entries without a copy.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.interface().dict(py)
    }

    fn __len__(&self) -> usize {
        self.inner.rows()
    }

    fn __repr__(&self) -> String {
        let (m, n) = self.shape();
        format!("CrossGram(shape=({m}, {n}), {})", words(self.inner.entry_type(), self.of))
    }
}

impl CrossGram {
    fn interface(&self) -> Interface {
        Interface::new(self.inner.entries(), &[self.inner.rows(), self.inner.cols()])
    }
}

/// Which kernel of C outputs: a name, or the number of one output.
#[derive(FromPyObject)]
pub(crate) enum Outputs {
    #[pyo3(transparent, annotation = "str")]
    Name(String),
    #[pyo3(transparent, annotation = "int")]
    One(usize),
}

impl Outputs {
    fn parse(self) -> PyResult<ntk::Outputs> {
        Ok(match self {
            Self::One(output) => ntk::Outputs::One(output),
            Self::Name(name) => match name.as_str() {
                "trace" => ntk::Outputs::Trace,
                "sum" => ntk::Outputs::SumOfLogits,
                "full" => ntk::Outputs::Full,
                other => {
                    return unknown(
                        "outputs",
                        other,
                        "\"trace\", \"sum\", \"full\" or the number of one output",
                    );
                }
            },
        })
    }
}

fn config(outputs: Outputs, layers: Vec<String>, memory: Option<u64>) -> PyResult<GramConfig> {
    let engine = match memory {
        None => Engine::Auto,
        Some(_) => Engine::Cpu(CpuConfig { memory, ..CpuConfig::default() }),
    };
    Ok(GramConfig { outputs: outputs.parse()?, layers, engine, ..GramConfig::default() })
}

/// The Gram of a network at its parameters on N inputs.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python half")]
pub(crate) fn gram(
    py: Python<'_>,
    network: &Network,
    params: &Params,
    x: Numbers<'_>,
    outputs: Outputs,
    layers: Vec<String>,
    memory: Option<u64>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<Gram> {
    let (config, x) = (config(outputs, layers, memory)?, x.tensor()?);
    let of = Some(which(&config, network));
    let (network, params) = (Arc::clone(&network.inner), Arc::clone(&params.inner));
    let gram = run(py, progress.as_ref(), move |watch| {
        let observe = |done, total| watch.report(done, total);
        let assembly = Assembly::new(&*network, &params, &x, &config)?;
        Ok(assembly.observed(&observe).stoppable(watch.stop()).gram()?)
    })?;
    Ok(Gram { inner: Arc::new(gram), of })
}

/// The kernel between M inputs (rows) and N others (columns).
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "they are those of the Python half")]
pub(crate) fn cross_gram(
    py: Python<'_>,
    network: &Network,
    params: &Params,
    x: Numbers<'_>,
    others: Numbers<'_>,
    outputs: Outputs,
    layers: Vec<String>,
    memory: Option<u64>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<CrossGram> {
    let (config, x) = (config(outputs, layers, memory)?, x.tensor()?);
    let (others, of) = (others.tensor()?, Some(which(&config, network)));
    let (network, params) = (Arc::clone(&network.inner), Arc::clone(&params.inner));
    let cross = run(py, progress.as_ref(), move |watch| {
        let observe = |done, total| watch.report(done, total);
        let assembly = Assembly::new(&*network, &params, &x, &config)?;
        Ok(assembly.observed(&observe).stoppable(watch.stop()).cross(&others)?)
    })?;
    Ok(CrossGram { inner: Arc::new(cross), of })
}

fn which(config: &GramConfig, network: &Network) -> Which {
    Which { outputs: config.outputs, of: entk::models::Model::outputs(&*network.inner) }
}

fn dtype(entries: EntryType) -> &'static str {
    match entries {
        EntryType::F32 => "float32",
        EntryType::F64 => "float64",
    }
}

fn matrix(shape: &[usize]) -> PyResult<[usize; 2]> {
    shape.try_into().map_err(|_| {
        InvalidInput::new_err(format!("a kernel is a matrix of two axes, this array is {shape:?}"))
    })
}

fn square(shape: &[usize]) -> PyResult<usize> {
    match matrix(shape)? {
        [rows, cols] if rows == cols => Ok(rows),
        [rows, cols] => Err(InvalidInput::new_err(format!(
            "a Gram has as many rows as columns, this array has {rows} and {cols}"
        ))),
    }
}
