//! Training of linearizations: a network, parameters, examples and settings come in, trained
//! parameters and a history go out. Users call it through the Python half.

use std::{ops::ControlFlow, sync::Arc};

use entk::{
    linearize::Linearized,
    models::ensure_finite,
    train::{
        EpochRecord, Examples, History, Loss, Metrics, Outcome, Schedule, SgdConfig, Targets,
        fit_observed, logits,
    },
};
use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    arrays::{Numbers, table},
    error::{exception, unknown},
    interrupt::run,
    network::Network,
    params::Params,
};

/// What examples are to be mapped to.
#[derive(FromPyObject)]
pub(crate) enum Given<'py> {
    /// Labels 0 or 1.
    Binary(PyReadonlyArray1<'py, u8>),
    /// Classes, of as many as the network has outputs.
    Classes(PyReadonlyArray1<'py, u32>),
    /// Reals, (N, C).
    Values(PyReadonlyArray2<'py, f64>),
}

impl Given<'_> {
    fn targets(&self, outputs: usize) -> PyResult<Targets> {
        match self {
            Self::Binary(labels) => Targets::binary(labels.as_array().to_vec()),
            Self::Classes(labels) => Targets::classes(labels.as_array().to_vec(), outputs),
            Self::Values(values) => {
                let rows = values.as_array().iter().copied().collect();
                Targets::values(rows, values.shape()[1])
            }
        }
        .map_err(exception)
    }
}

/// Settings of a training, by the names of the Python half.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Settings {
    epochs: usize,
    learning_rate: f64,
    momentum: f64,
    batch: usize,
    schedule: String,
    loss: Option<String>,
    seed: u64,
    eval_every: usize,
    stop_at_loss: Option<f64>,
}

impl Settings {
    fn config(self, targets: &Targets) -> PyResult<SgdConfig> {
        let schedule = match self.schedule.as_str() {
            "linear" => Schedule::Linear,
            "constant" => Schedule::Constant,
            "cosine" => Schedule::Cosine,
            "one-cycle" => Schedule::OneCycle,
            other => {
                return unknown(
                    "schedule",
                    other,
                    "\"linear\", \"constant\", \"cosine\" or \"one-cycle\"",
                );
            }
        };
        let loss = match self.loss.as_deref() {
            None => Loss::of(targets),
            Some("logistic") => Loss::SigmoidCrossEntropy,
            Some("softmax") => Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 },
            Some("squared") => Loss::Squared,
            Some(other) => {
                return unknown("loss", other, "\"logistic\", \"softmax\" or \"squared\"");
            }
        };
        Ok(SgdConfig {
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            batch: self.batch,
            epochs: self.epochs,
            schedule,
            seed: self.seed,
            eval_every: self.eval_every,
            loss,
            stop_at_loss: self.stop_at_loss,
            ..SgdConfig::default()
        })
    }
}

/// Trains the linearization of a network around its parameters.
#[pyfunction]
pub(crate) fn fit_linearized<'py>(
    py: Python<'py>,
    network: &Network,
    params: &Params,
    train: (Numbers<'py>, Given<'py>),
    test: Option<(Numbers<'py>, Given<'py>)>,
    settings: Settings,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<(Params, Bound<'py, PyDict>)> {
    let outputs = entk::models::Model::outputs(&*network.inner);
    let examples = |(x, y): (Numbers<'py>, Given<'py>)| {
        Examples::new(x.tensor()?, y.targets(outputs)?).map_err(exception)
    };
    let (train, test) = (examples(train)?, test.map(examples).transpose()?);
    let config = settings.config(train.targets())?;
    let (network, theta0) = (Arc::clone(&network.inner), Arc::clone(&params.inner));
    let fit = run(py, progress.as_ref(), move |watch| {
        let model = Linearized::new(&network, (*theta0).clone());
        let on_epoch = |record: &EpochRecord| {
            watch.report(record.epoch, config.epochs);
            if watch.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        Ok(fit_observed(&model, &theta0, &train, test.as_ref(), &config, on_epoch)?)
    })?;
    Ok((Params::new(fit.params), columns(py, &fit.history)?))
}

/// The outputs of the linearization around `start` at `params`, (N, C).
#[pyfunction]
pub(crate) fn linearized_outputs<'py>(
    py: Python<'py>,
    network: &Network,
    start: &Params,
    params: &Params,
    x: Numbers<'py>,
    batch: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let outputs = entk::models::Model::outputs(&*network.inner);
    let (network, x) = (Arc::clone(&network.inner), x.tensor()?);
    let (start, params) = (Arc::clone(&start.inner), Arc::clone(&params.inner));
    let values = run(py, None, move |_| {
        ensure_finite(&x, "inputs")?;
        let model = Linearized::new(&network, (*start).clone());
        Ok(logits(&model, &params, &x, batch)?)
    })?;
    table(py, values, outputs)
}

/// A history as columns by name, NaN where nothing was measured.
fn columns<'py>(py: Python<'py>, history: &History) -> PyResult<Bound<'py, PyDict>> {
    let epochs = &history.epochs;
    let dict = PyDict::new(py);
    let numbers: Vec<u64> = epochs.iter().map(|record| record.epoch as u64).collect();
    dict.set_item("epoch", numbers.into_pyarray(py))?;
    let column = |of: &dyn Fn(&EpochRecord) -> Option<f64>| {
        let values: Vec<f64> = epochs.iter().map(|r| of(r).unwrap_or(f64::NAN)).collect();
        values.into_pyarray(py)
    };
    type Measure = (&'static str, fn(&Metrics) -> Option<f64>);
    let measures: [Measure; 3] =
        [("loss", |m| Some(m.loss)), ("accuracy", |m| m.accuracy), ("rmse", |m| m.rmse)];
    for (name, measure) in measures {
        dict.set_item(format!("train_{name}"), column(&|r| measure(r.train.as_ref()?)))?;
        dict.set_item(format!("test_{name}"), column(&|r| measure(r.test.as_ref()?)))?;
    }
    dict.set_item("minibatch_loss", column(&|r| Some(r.minibatch_loss)))?;
    dict.set_item("distance", column(&|r| Some(r.distance.l2)))?;
    dict.set_item("learning_rate", column(&|r| Some(r.learning_rate)))?;
    let outcome = match history.outcome {
        Outcome::Converged => "converged",
        Outcome::Stopped => "stopped",
        _ => "completed",
    };
    dict.set_item("outcome", outcome)?;
    Ok(dict)
}
