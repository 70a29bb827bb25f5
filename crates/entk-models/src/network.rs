//! A graph with its output as a model: it checks parameters and batches once, then passes them
//! through. What [`Model`](crate::Model) promises for a network is computed here.

use std::{fmt, sync::Arc};

use candle_core::{DType, Tensor};

use crate::{
    check::guard::guard,
    ensure::ensure_batch,
    error::{ModelError, Result},
    graph::{Graph, InputKind, Source, Value, flow::Flow, summary::NetworkSummary},
    layer::Layer,
    layers::Sequential,
    operation::NormMode,
    params::{
        Params,
        active::{ActiveParameters, ensure_zero_outside},
        init::Initializer,
        spec::{ParamSpec, name_differences},
        trainable::Trainable,
    },
    sweep::{Route, Sweep, TrainingSweep},
};

/// A function f(theta, x) with one input and C outputs, as a graph of operations: any architecture.
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
/// println!("{network}"); // a table: operations, shapes, parameters
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Network {
    pub(crate) input: Vec<usize>,
    pub(crate) kind: InputKind,
    pub(crate) outputs: usize,
    route: Route,
    skip: bool,
}

impl Network {
    /// Layers one after another, for inputs of this shape.
    ///
    /// # Errors
    /// The first layer that cannot take its input, two parameters of one name, or an output that
    /// is no vector.
    pub fn new(input: &[usize], layers: Sequential) -> Result<Self> {
        let mut graph = Graph::new();
        let x = graph.input(input);
        let output = layers.add_to(&mut graph, x)?;
        graph.network(output)
    }

    /// Computes every derivative, also those that are exactly zero for sure ([`ActiveParameters`]).
    /// It is slower, changes no result, and is for checks.
    #[must_use]
    pub fn without_skipping(self) -> Self {
        Self { skip: false, ..self }
    }

    /// This network with some parameters frozen: what they alone follow from costs nothing in a
    /// sweep backward.
    ///
    /// # Errors
    /// A pattern that matches no parameter, or no parameter that would be trained.
    pub fn with_trainable(mut self, trainable: &Trainable) -> Result<Self> {
        let mut graph = (*self.route.graph).clone();
        trainable.apply(&mut graph.specs)?;
        self.route.graph = Arc::new(graph);
        Ok(self)
    }

    /// What kind of numbers an input holds: whole ones, if they are tokens.
    pub fn input_kind(&self) -> InputKind {
        self.kind
    }

    /// What the network consists of, to look at: its operations, shapes, parameters and sizes.
    pub fn summary(&self) -> NetworkSummary {
        self.route.graph.summary(&self.input)
    }

    /// Name, shape, initial law and kind of every tensor.
    pub(crate) fn specs(&self) -> &[ParamSpec] {
        &self.route.graph.specs
    }

    /// The graph, and the number of its output.
    pub(crate) fn graph(&self) -> (&Graph, usize) {
        (&self.route.graph, self.route.output)
    }

    fn pass<'a>(&self, params: &'a Params, x: &Tensor, mode: NormMode) -> Result<Sweep<'a>> {
        let x = self.check(params, x)?;
        Sweep::new(&self.route, params, x, mode, self.skip)
    }

    /// Checks parameters and batch; gives the batch as operations read it.
    pub(crate) fn check(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        let x = match self.kind {
            InputKind::Ids if x.dtype().is_int() => x.to_dtype(DType::U32)?,
            _ => x.clone(),
        };
        let dtype = if self.kind == InputKind::Ids { DType::U32 } else { params.dtype() };
        ensure_batch(&x, &self.input, dtype, "network input")?;
        self.check_params(params)?;
        Ok(x)
    }

    /// Refuses parameters that are not this network's, and variances below zero: what every pass
    /// asks first, for whoever has read a file and can still name it.
    ///
    /// # Errors
    /// [`ModelError::Names`] and [`ModelError::NegativeVariance`].
    pub fn check_params(&self, params: &Params) -> Result<()> {
        let specs = self.specs();
        let found: Vec<_> =
            params.iter().chain(params.statistics()).map(|(n, t)| (n, t.dims())).collect();
        let fits = found.len() == specs.len()
            && (specs.iter()).all(|s| found.iter().any(|(n, d)| *n == s.name && *d == s.shape));
        if fits {
            return self.check_variances(params);
        }
        let expected: Vec<_> =
            specs.iter().map(|s| (s.name.as_str(), s.shape.as_slice())).collect();
        Err(name_differences(&expected, &found))
    }

    fn check_variances(&self, params: &Params) -> Result<()> {
        let graph = &self.route.graph;
        for name in graph.variances.iter().map(|at| &graph.specs[*at].name) {
            let lowest = params.lowest_statistic(name)?;
            if lowest < 0.0 {
                let all = params.statistic(name)?.flatten_all()?.to_dtype(DType::F64)?;
                let channel = all.to_vec1::<f64>()?.iter().position(|x| *x <= lowest).unwrap_or(0);
                return Err(ModelError::NegativeVariance { name: name.clone(), channel, lowest });
            }
        }
        Ok(())
    }

    /// Operations of the matrix products of one input's values.
    pub(crate) fn operations_of_one(&self) -> f64 {
        self.route.graph.operations()
    }

    pub(crate) fn frozen_sweep<'a>(&'a self, params: &'a Params, x: &Tensor) -> Result<Sweep<'a>> {
        self.pass(params, x, NormMode::Frozen)
    }

    pub(crate) fn batch_sweep<'a>(
        &'a self,
        params: &'a Params,
        x: &Tensor,
    ) -> Result<TrainingSweep<'a>> {
        let sweep = self.pass(params, x, NormMode::Batch)?;
        let statistics = sweep.new_statistics()?;
        Ok(TrainingSweep::new(sweep, statistics))
    }

    /// Outputs without a sweep: activations are freed as soon as the next operation has read them.
    pub(crate) fn value(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        let x = self.check(params, x)?;
        self.route.graph.value(self.route.output, params, &[x])
    }

    pub(crate) fn active(&self, params: &Params) -> Result<ActiveParameters> {
        if !self.skip {
            return Ok(ActiveParameters::all(self.specs()));
        }
        let Route { graph, output } = &self.route;
        let flow = Flow::new(graph, *output, params, true)?;
        let nodes = graph.nodes.iter().enumerate().filter(|(at, _)| flow.reached[*at]);
        let names = nodes.filter_map(|(_, node)| match node.source {
            Source::Parameter(at) => Some(graph.specs[at].name.clone()),
            _ => None,
        });
        Ok(ActiveParameters::new(self.specs(), &names.collect::<Vec<_>>()))
    }

    pub(crate) fn verified_active(&self, params: &Params, x: &Tensor) -> Result<ActiveParameters> {
        let active = self.active(params)?;
        guard(&self.route.graph, self.route.output, params, &[self.check(params, x)?])?;
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

/// The table of its operations: [`Network::summary`].
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary().fmt(f)
    }
}

impl Graph {
    /// The network whose output is this value.
    ///
    /// # Errors
    /// An output that is no vector or depends on no input, a size of 0, a graph of several inputs,
    /// or a value of another graph.
    pub fn network(self, output: Value) -> Result<Network> {
        let &[outputs] = self.shape(output)? else {
            return Err(ModelError::shape("network output", "(N, outputs)", self.shape(output)?));
        };
        let (graph, output) = self.leading_to(output.0);
        let (&[kind], false) = (graph.inputs.as_slice(), graph.nodes[output].shared) else {
            return Err(ModelError::OneInput { inputs: graph.inputs.len() });
        };
        let input = graph.nodes.iter().find(|node| matches!(node.source, Source::Input(_)));
        let input = input.map_or_else(Vec::new, |node| node.shape.clone());
        if input.contains(&0) || outputs == 0 {
            return Err(ModelError::zero(format!("network: input {input:?}, {outputs} outputs")));
        }
        let route = Route { graph: Arc::new(graph), output };
        Ok(Network { input, kind, outputs, route, skip: true })
    }
}
