//! How the pass backward moves when parameters or inputs move: the mixed second derivatives. In
//! come the tangents of all values, out come the tangents of gradient factors, and that of the
//! input's gradient. Called by [`MixedSweep`](crate::MixedSweep).

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    graph::{
        Graph, Source,
        backward::{broken, ensure_one_each},
        flow::Flow,
        forward::{Kept, expanded},
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
        let cache = self.cache(value, operation, inputs)?;
        let mut moving = self.graph.moving(value, inputs, kept, flow, tangents)?;
        if self.graph.nodes[value].shared {
            let each = moving.iter_mut().enumerate().filter(|(at, _)| !operation.needs_shared(*at));
            for tangent in each.filter_map(|(_, tangent)| tangent.as_mut()) {
                *tangent = expanded(tangent, kept.batch)?;
            }
        }
        let moving: Vec<Option<&Tensor>> = moving.iter().map(Option::as_ref).collect();
        let mut wanted = flow.wanted(value, inputs, of_inputs);
        let structured = operation.structured();
        if inputs.iter().enumerate().any(|(at, _)| structured.contains(&at) && wanted[at]) {
            self.structured(operation, &cache, inputs, (&wanted, &moving), pair)?;
        }
        wanted.iter_mut().enumerate().for_each(|(at, wanted)| *wanted &= !structured.contains(&at));
        if !wanted.contains(&true) {
            return Ok(());
        }
        let cotangents = operation.mixed_vjp(&cache, &moving, &pair.0, &pair.1, &wanted)?;
        ensure_one_each(operation, cotangents.len(), inputs.len())?;
        for ((&input, pair), wanted) in inputs.iter().zip(cotangents).zip(wanted) {
            if let Some(pair) = pair.filter(|_| wanted) {
                self.arrive(operation, input, pair)?;
            }
        }
        Ok(())
    }

    fn cache(
        &self,
        value: usize,
        operation: &dyn ErasedOperation,
        inputs: &[usize],
    ) -> Result<AnyCache> {
        let kept = self.at.kept;
        if self.graph.nodes[value].shared {
            let inputs = kept.expanded_inputs(inputs, operation)?;
            let refs: Vec<&Tensor> = inputs.iter().collect();
            return Ok(operation.forward(&refs, kept.mode)?.1);
        }
        kept.caches[value].clone().ok_or(ModelError::Cache { what: "pass" })
    }

    fn arrive(
        &mut self,
        operation: &dyn ErasedOperation,
        input: usize,
        (fixed, moved): Pair,
    ) -> Result<()> {
        let shape = self.graph.nodes[input].shape.as_slice();
        let promised = [&[self.at.kept.batch], shape].concat();
        for tensor in [&fixed, &moved] {
            if tensor.dims() != promised {
                return Err(broken(operation, "cotangent", promised, tensor.dims()));
            }
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
        let missing = || ModelError::NoFactor { operation: format!("{operation:?}") };
        let moved = MixedFactor {
            cotangents: operation.factor(cache, &names, ddy)?.ok_or_else(missing)?,
            inputs: operation.moved_factor(cache, &names, moving, dy)?,
        };
        let weights: Vec<usize> =
            operation.structured().filter(|place| *place < inputs.len()).collect();
        let alone = |place: &usize| {
            wanted[*place] && self.readers[inputs[*place]] == 1 && !names[*place].is_empty()
        };
        if weights.iter().all(alone) {
            return (self.sink)(moved);
        }
        let fixed = operation.factor(cache, &names, dy)?.ok_or_else(missing)?.rows()?;
        let (moved, mut start) = (moved.rows()?, 0);
        for place in weights {
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
