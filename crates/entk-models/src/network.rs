//! A stack of layers with its input shape: it checks parameters and batches once, then passes them
//! through. What [`Model`](crate::Model) promises for a network is computed here.

use candle_core::Tensor;

use crate::{
    cache::Cache,
    check::ensure_batch,
    error::{ModelError, Result},
    layer::{Layer, NormMode},
    layers::Sequential,
    params::{
        Params,
        active::{ActiveParameters, ensure_zero_outside},
        init::Initializer,
        spec::{ParamSpec, name_differences},
    },
    sweep::{Sweep, TrainingSweep},
};

/// A stack of layers with a fixed input shape: any architecture built from this crate's layers.
///
/// ```
/// # use entk_models::{Activation, Conv2d, Dense, Flatten, Model, Network, Sequential};
/// let layers = Sequential::new()
///     .then(Conv2d::new("conv", 1, 4, 3))
///     .then(Activation::Gelu)
///     .then(Flatten)
///     .then(Dense::new("head", 4 * 8 * 8, 1));
/// let network = Network::new(&[1, 8, 8], layers)?;
/// assert_eq!(network.outputs(), 1);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Network {
    pub(crate) input: Vec<usize>,
    pub(crate) outputs: usize,
    layers: Sequential,
    pub(crate) specs: Vec<ParamSpec>,
    skip: bool,
}

impl Network {
    /// Checks that the shapes fit through all layers and that the result is a vector.
    ///
    /// # Errors
    /// The first layer that cannot take its input, two parameters of one name, or an output that
    /// is no vector.
    pub fn new(input: &[usize], layers: Sequential) -> Result<Self> {
        let output = layers.output_shape(input)?;
        let &[outputs] = output.as_slice() else {
            return Err(ModelError::shape("network output", "(N, outputs)", &output));
        };
        let specs = layers.specs();
        for (at, spec) in specs.iter().enumerate() {
            if specs[..at].iter().any(|other| other.name == spec.name) {
                return Err(ModelError::DuplicateName { name: spec.name.clone() });
            }
        }
        Ok(Self { input: input.to_vec(), outputs, layers, specs, skip: true })
    }

    /// Computes every derivative, also those that are exactly zero for sure ([`ActiveParameters`]).
    /// It is slower, changes no result, and is for checks.
    #[must_use]
    pub fn without_skipping(self) -> Self {
        Self { skip: false, ..self }
    }

    fn pass(&self, params: &Params, x: &Tensor, mode: NormMode) -> Result<(Tensor, Cache)> {
        self.check(params, x)?;
        let (outputs, mut cache) = self.layers.forward(params, x, mode)?;
        if !self.skip {
            cache.enter_all();
        }
        Ok((outputs, cache))
    }

    fn check(&self, params: &Params, x: &Tensor) -> Result<()> {
        ensure_batch(x, &self.input, params.dtype(), "network input")?;
        let found: Vec<_> =
            params.iter().chain(params.statistics()).map(|(n, t)| (n, t.dims())).collect();
        let fits = found.len() == self.specs.len()
            && (self.specs.iter())
                .all(|s| found.iter().any(|(n, d)| *n == s.name && *d == s.shape));
        if fits {
            return Ok(());
        }
        let expected: Vec<_> =
            self.specs.iter().map(|s| (s.name.as_str(), s.shape.as_slice())).collect();
        Err(name_differences(&expected, &found))
    }

    /// Operations of the matrix products of one input's values.
    pub(crate) fn operations_of_one(&self) -> f64 {
        self.layers.operations(&self.input).unwrap_or(0.0)
    }

    pub(crate) fn frozen_sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<Sweep<'a>> {
        let (outputs, cache) = self.pass(params, x, NormMode::Frozen)?;
        Ok(Sweep::new(outputs, &self.layers, params, cache))
    }

    pub(crate) fn batch_sweep<'a>(
        &'a self,
        params: &'a Params,
        x: &Tensor,
    ) -> Result<TrainingSweep<'a>> {
        let (outputs, cache) = self.pass(params, x, NormMode::Batch)?;
        let statistics = self.layers.new_statistics(params, &cache)?;
        Ok(TrainingSweep::new(Sweep::new(outputs, &self.layers, params, cache), statistics))
    }

    /// Outputs without a sweep: activations are freed as soon as the next layer has read them.
    pub(crate) fn value(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        self.check(params, x)?;
        self.layers.value(params, x, NormMode::Frozen)
    }

    pub(crate) fn active(&self, params: &Params) -> Result<ActiveParameters> {
        if !self.skip {
            return Ok(ActiveParameters::all(&self.specs));
        }
        Ok(ActiveParameters::new(&self.specs, &self.layers.active(params)?))
    }

    pub(crate) fn verified_active(&self, params: &Params, x: &Tensor) -> Result<ActiveParameters> {
        let active = self.active(params)?;
        if active.count() < active.total() {
            let entered = self.clone().without_skipping();
            let cotangent = self.probe(params, x.dim(0)?)?;
            ensure_zero_outside(&active, &entered.frozen_sweep(params, x)?.vjp(&cotangent)?)?;
        }
        Ok(active)
    }

    /// A cotangent for the outputs on a batch: fixed, without zeros or a pattern.
    fn probe(&self, params: &Params, batch: usize) -> Result<Tensor> {
        let values = Initializer::Normal.draw("probe", batch * self.outputs, 0);
        let values = Tensor::from_vec(values, (batch, self.outputs), params.device())?;
        Ok(values.to_dtype(params.dtype())?)
    }
}
