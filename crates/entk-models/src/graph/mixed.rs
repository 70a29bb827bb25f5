//! How the pass backward moves when parameters or inputs move: the mixed second derivatives. In
//! come the tangents of all values, out come the tangents of gradient factors, and that of the
//! input's gradient. Called by [`MixedSweep`](crate::MixedSweep).

use candle_core::Tensor;

use crate::{
    error::Result,
    graph::{
        Graph, Source,
        flow::Flow,
        forward::{Kept, expanded},
        promise::{by_factor_or_cotangent, ensure_shape, ensure_sizes},
    },
    loops::entrywise::add,
    mixed::{MixedFactor, MixedSink},
    operation::{AnyCache, ErasedOperation},
};

/// A cotangent and its tangent.
type Pair = (Tensor, Tensor);

/// Where a mixed pass is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MixedPoint<'g> {
    pub(crate) kept: &'g Kept,
    pub(crate) flow: &'g Flow,
    pub(crate) tangents: &'g [Option<Tensor>],
    /// Whether the inputs' gradients are asked for.
    pub(crate) of_inputs: bool,
}

struct MixedBackward<'g, 's> {
    graph: &'g Graph,
    at: MixedPoint<'g>,
    sink: &'s mut MixedSink<'s>,
    readers: Vec<usize>,
    cotangents: Vec<Option<Pair>>,
}

impl Graph {
    /// Passes the tangents of the factors of `dy` to `sink`; returns those of the gradients of
    /// inputs if they are asked for, `None` where zero.
    pub(crate) fn mixed_backward<'s>(
        &self,
        output: usize,
        at: MixedPoint<'_>,
        dy: &Tensor,
        sink: &'s mut MixedSink<'s>,
    ) -> Result<Vec<Option<Tensor>>> {
        let mut pass = MixedBackward {
            graph: self,
            at,
            sink,
            readers: self.readers(),
            cotangents: vec![None; self.nodes.len()],
        };
        pass.cotangents[output] = Some((dy.clone(), dy.zeros_like()?));
        let mut of_inputs = vec![None; self.inputs.len()];
        for value in (0..=output).rev().filter(|value| at.flow.carries(*value, at.of_inputs)) {
            let Some(pair) = pass.cotangents[value].take() else { continue };
            match &self.nodes[value].source {
                Source::Input(number) => of_inputs[*number] = Some(pair.1),
                Source::Parameter(spec) => pass.parameter(*spec, pair.1)?,
                Source::Result { operation, inputs } => {
                    pass.result(value, &**operation, inputs, &pair)?;
                }
            }
        }
        Ok(of_inputs)
    }
}

impl MixedBackward<'_, '_> {
    fn parameter(&mut self, spec: usize, moved: Tensor) -> Result<()> {
        let cotangents = self.graph.rows(spec, &moved)?;
        (self.sink)(MixedFactor { inputs: None, cotangents })
    }

    fn result(
        &mut self,
        value: usize,
        operation: &dyn ErasedOperation,
        inputs: &[usize],
        pair: &Pair,
    ) -> Result<()> {
        let MixedPoint { kept, flow, tangents, of_inputs } = self.at;
        let cache = kept.cache_of_each(self.graph, value, operation)?;
        let mut moving = self.graph.moving(value, inputs, kept, flow, tangents)?;
        if self.graph.nodes[value].shared {
            let each = moving.iter_mut().enumerate().filter(|(at, _)| !operation.needs_shared(*at));
            for tangent in each.filter_map(|(_, tangent)| tangent.as_mut()) {
                *tangent = expanded(tangent, kept.batch)?;
            }
        }
        let moving: Vec<Option<&Tensor>> = moving.iter().map(Option::as_ref).collect();
        let wanted = flow.wanted(value, inputs, of_inputs);
        let [by_factor, wanted] = by_factor_or_cotangent(operation, &wanted);
        if by_factor.contains(&true) {
            self.structured(operation, &cache, inputs, (&by_factor, &moving), pair)?;
        }
        if !wanted.contains(&true) {
            return Ok(());
        }
        let cotangents = operation.mixed_vjp(&cache, &moving, &pair.0, &pair.1, &wanted)?;
        ensure_sizes(operation, "number of its cotangents", &[inputs.len()], &[cotangents.len()])?;
        for ((&input, pair), wanted) in inputs.iter().zip(cotangents).zip(wanted) {
            if let Some(pair) = pair.filter(|_| wanted) {
                self.arrive(operation, input, pair)?;
            }
        }
        Ok(())
    }

    fn arrive(
        &mut self,
        operation: &dyn ErasedOperation,
        input: usize,
        (fixed, moved): Pair,
    ) -> Result<()> {
        let promised = (self.at.kept.batch, self.graph.nodes[input].shape.as_slice());
        for tensor in [&fixed, &moved] {
            ensure_shape(operation, "cotangent", promised, tensor)?;
        }
        self.cotangents[input] = Some(match self.cotangents[input].take() {
            Some((a, b)) => (add(&a, &fixed)?, add(&b, &moved)?),
            None => (fixed, moved),
        });
        Ok(())
    }

    fn structured(
        &mut self,
        operation: &dyn ErasedOperation,
        cache: &AnyCache,
        inputs: &[usize],
        (wanted, moving): (&[bool], &[Option<&Tensor>]),
        (dy, ddy): &Pair,
    ) -> Result<()> {
        let names = self.graph.names(inputs);
        let moved = MixedFactor {
            cotangents: self.graph.factor(operation, cache, inputs, ddy)?,
            inputs: operation.moved_factor(cache, &names, moving, dy)?,
        };
        if self.graph.is_whole(operation, inputs, wanted, &self.readers) {
            return (self.sink)(moved);
        }
        let fixed = self.graph.factor(operation, cache, inputs, dy)?.rows()?;
        let (moved, mut start) = (moved.rows()?, 0);
        for place in Graph::weights(operation, inputs) {
            let shape = &self.graph.nodes[inputs[place]].shape;
            let count = shape.iter().product();
            let part = |rows: &Tensor| {
                let shape = [&[self.at.kept.batch], shape.as_slice()].concat();
                rows.narrow(1, start, count)?.contiguous()?.reshape(shape)
            };
            let pair = (part(&fixed)?, part(&moved)?);
            start += count;
            if wanted[place] {
                self.arrive(operation, inputs[place], pair)?;
            }
        }
        Ok(())
    }
}
