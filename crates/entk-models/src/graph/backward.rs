//! The pass backward over a graph: a cotangent of the output goes in, the gradient factors of the
//! parameters come out one by one. Called by sweeps.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    graph::{
        Graph, Source,
        flow::Flow,
        forward::Kept,
        promise::{by_factor_or_cotangent, ensure_shape, ensure_sizes},
    },
    operation::{AnyCache, ErasedOperation, add_tangents, in_operation},
};

/// Takes the factors of a backward sweep one by one, last layer first.
pub type FactorSink<'a> = dyn FnMut(Factor) -> Result<()> + 'a;

/// What becomes of the factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Each example's gradient: one factor a parameter, or a weight with its bias.
    PerExample,
    /// Their sum over the batch: factors of one parameter may come one after another.
    Sum,
}

/// A pass backward under way.
pub(crate) struct Backward<'g, 's> {
    pub(crate) graph: &'g Graph,
    pub(crate) kept: &'g Kept,
    pub(crate) flow: &'g Flow,
    pub(crate) wanted: Wanted,
    pub(crate) sink: &'s mut FactorSink<'s>,
    /// Whether the inputs' cotangents are asked for.
    of_inputs: bool,
    readers: Vec<usize>,
    cotangents: Vec<Option<Tensor>>,
    /// Factors of parameters that are used several times, until their last use is reached.
    waiting: Vec<Vec<Factor>>,
}

impl Graph {
    /// Passes the factors of `dy`, a cotangent of `output`, to `sink`; returns the cotangents of
    /// inputs if they are asked for, `None` where zero.
    pub(crate) fn backward<'s>(
        &self,
        output: usize,
        (kept, flow): (&Kept, &Flow),
        dy: &Tensor,
        (wanted, of_inputs): (Wanted, bool),
        sink: &'s mut FactorSink<'s>,
    ) -> Result<Vec<Option<Tensor>>> {
        let count = self.nodes.len();
        let mut pass = Backward {
            graph: self,
            kept,
            flow,
            wanted,
            sink,
            of_inputs,
            readers: self.readers(),
            cotangents: vec![None; count],
            waiting: vec![Vec::new(); count],
        };
        pass.cotangents[output] = Some(dy.clone());
        let mut inputs = vec![None; self.inputs.len()];
        for at in (0..=output).rev().filter(|at| flow.carries(*at, of_inputs)) {
            match self.nodes[at].source {
                Source::Input(number) => inputs[number] = pass.cotangents[at].take(),
                _ => pass.visit(at)?,
            }
        }
        Ok(inputs)
    }
}

impl Graph {
    /// The gradients of a parameter for every example as rows.
    pub(crate) fn rows(&self, spec: usize, gradients: &Tensor) -> Result<Factor> {
        let spec = &self.specs[spec];
        let rows = gradients.reshape((gradients.dim(0)?, spec.elem_count()))?;
        Ok(Factor::Rows { name: spec.name.clone(), rows })
    }
}

impl Backward<'_, '_> {
    fn visit(&mut self, at: usize) -> Result<()> {
        let graph = self.graph;
        let dy = self.cotangents[at].take();
        match (&graph.nodes[at].source, dy) {
            (Source::Parameter(spec), dy) => self.parameter(at, *spec, dy),
            (Source::Result { operation, inputs }, Some(dy)) => {
                self.result(at, &**operation, inputs, dy)
            }
            _ => Ok(()),
        }
    }

    /// Hands over what has arrived at a parameter: the rows of its gradient, and waiting factors.
    fn parameter(&mut self, at: usize, spec: usize, dy: Option<Tensor>) -> Result<()> {
        let mut factors = std::mem::take(&mut self.waiting[at]);
        if let Some(dy) = dy {
            factors.push(self.graph.rows(spec, &dy)?);
        }
        if !factors.is_empty() {
            (self.sink)(Factor::join(factors)?)?;
        }
        Ok(())
    }

    fn result(
        &mut self,
        at: usize,
        operation: &dyn ErasedOperation,
        inputs: &[usize],
        dy: Tensor,
    ) -> Result<()> {
        // For the sum of all gradients, the cotangent of a shared value has been summed.
        let cache = match self.wanted {
            Wanted::Sum => self.kept.cache(at)?,
            Wanted::PerExample => self.kept.cache_of_each(self.graph, at, operation)?,
        };
        let wanted = self.flow.wanted(at, inputs, self.of_inputs);
        let [by_factor, wanted] = by_factor_or_cotangent(operation, &wanted);
        if by_factor.contains(&true) {
            self.structured(operation, &cache, inputs, &by_factor, &dy)?;
        }
        if !wanted.contains(&true) {
            return Ok(());
        }
        let cotangents = in_operation(operation, operation.vjp(&cache, &dy, &wanted))?;
        ensure_sizes(operation, "number of its cotangents", &[inputs.len()], &[cotangents.len()])?;
        for ((&input, cotangent), wanted) in inputs.iter().zip(cotangents).zip(wanted) {
            if let Some(cotangent) = cotangent.filter(|_| wanted) {
                self.arrive(operation, input, dy.dims()[0], cotangent)?;
            }
        }
        Ok(())
    }

    /// A cotangent of so many examples that arrives at a value.
    fn arrive(
        &mut self,
        operation: &dyn ErasedOperation,
        input: usize,
        count: usize,
        cotangent: Tensor,
    ) -> Result<()> {
        let promised = (count, self.graph.nodes[input].shape.as_slice());
        ensure_shape(operation, "cotangent", promised, &cotangent)?;
        let sum = self.cotangents[input].take();
        let is_shared_result =
            self.graph.nodes[input].shared && !self.graph.read_by(input).is_empty();
        let differ = sum.as_ref().is_some_and(|sum| sum.dims()[0] != count);
        let sums_batch = self.wanted == Wanted::Sum && (is_shared_result || differ);
        let one = |t: Tensor| if sums_batch { t.sum_keepdim(0) } else { Ok(t) };
        self.cotangents[input] = add_tangents(sum.map(one).transpose()?, Some(one(cotangent)?))?;
        Ok(())
    }

    /// The factor of a weight and maybe a bias.
    fn structured(
        &mut self,
        operation: &dyn ErasedOperation,
        cache: &AnyCache,
        inputs: &[usize],
        wanted: &[bool],
        dy: &Tensor,
    ) -> Result<()> {
        let factor = self.graph.factor(operation, cache, inputs, dy)?;
        if self.graph.is_whole(operation, inputs, wanted, &self.readers) {
            return (self.sink)(factor);
        }
        let weights = Graph::weights(operation, inputs);
        let (weight, bias) = factor.split_bias()?;
        for (place, factor) in weights.into_iter().zip([Some(weight), bias]) {
            if let Some(factor) = factor.filter(|_| wanted[place]) {
                self.one_of_several(operation, inputs[place], factor)?;
            }
        }
        Ok(())
    }

    /// The factor of a parameter that other factors may join, or of a value that follows from
    /// parameters, where its rows go on.
    fn one_of_several(
        &mut self,
        operation: &dyn ErasedOperation,
        input: usize,
        factor: Factor,
    ) -> Result<()> {
        let node = &self.graph.nodes[input];
        match (&node.source, self.wanted) {
            (Source::Parameter(_), Wanted::Sum) => (self.sink)(factor),
            (Source::Parameter(_), Wanted::PerExample) => {
                self.waiting[input].push(factor);
                Ok(())
            }
            (_, Wanted::Sum) => {
                let sums = factor.sum()?;
                let sum = sums.into_iter().next().map(|(_, sum)| sum);
                let sum = sum.ok_or(ModelError::Cache { what: "sum of a factor" })?;
                let shape = [&[1], node.shape.as_slice()].concat();
                self.arrive(operation, input, 1, sum.reshape(shape)?)
            }
            (_, Wanted::PerExample) => {
                let shape = [&[self.kept.batch], node.shape.as_slice()].concat();
                self.arrive(operation, input, self.kept.batch, factor.rows()?.reshape(shape)?)
            }
        }
    }
}
