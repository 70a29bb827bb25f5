//! The pass forward over a graph: parameters and a batch go in, the output and what every operation
//! kept for its derivatives come out. A value is freed as soon as its last reader is done.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Source},
    operation::{AnyCache, ErasedOperation, NormMode, in_operation},
    params::Params,
};

/// What a pass forward leaves for the passes after it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Examples.
    pub(crate) batch: usize,
    pub(crate) mode: NormMode,
    /// What operations kept, by value.
    pub(crate) caches: Vec<Option<AnyCache>>,
    /// Values that follow from parameters alone and are read by others of that kind.
    pub(crate) shared: Vec<Option<Tensor>>,
}

/// The values of a pass and how often each is still to be read.
struct Values<'g> {
    graph: &'g Graph,
    tensors: Vec<Option<Tensor>>,
    readers: Vec<usize>,
    batch: usize,
}

impl<'g> Values<'g> {
    fn new(graph: &'g Graph, batch: usize) -> Self {
        let readers = graph.readers();
        Self { graph, tensors: vec![None; readers.len()], readers, batch }
    }

    /// The inputs of an operation, expanded to the batch where it asks for that.
    fn read(
        &mut self,
        operation: &dyn ErasedOperation,
        inputs: &[usize],
        shared: bool,
    ) -> Result<Vec<Tensor>> {
        let mut read = Vec::with_capacity(inputs.len());
        for (place, &input) in inputs.iter().enumerate() {
            let tensor = self.tensors[input].clone().ok_or(ModelError::Cache { what: "value" })?;
            let expands =
                !shared && self.graph.nodes[input].shared && !operation.takes_shared(place);
            read.push(if expands { expanded(&tensor, self.batch)? } else { tensor });
        }
        for &input in inputs {
            self.readers[input] -= 1;
            if self.readers[input] == 0 {
                self.tensors[input] = None;
            }
        }
        Ok(read)
    }
}

/// A value with a leading axis of 1 as one of `batch` equal examples, without a copy.
pub(crate) fn expanded(tensor: &Tensor, batch: usize) -> Result<Tensor> {
    if tensor.dims()[0] == batch {
        return Ok(tensor.clone());
    }
    Ok(tensor.broadcast_as([&[batch], &tensor.dims()[1..]].concat())?)
}

impl Graph {
    /// The value `output`, and what derivatives need of the way to it.
    pub(crate) fn forward(
        &self,
        output: usize,
        params: &Params,
        inputs: &[Tensor],
        mode: NormMode,
    ) -> Result<(Tensor, Kept)> {
        let mut kept = Kept {
            batch: inputs.first().map_or(Ok(1), |x| x.dim(0))?,
            mode,
            caches: vec![None; self.nodes.len()],
            shared: vec![None; self.nodes.len()],
        };
        let result = self.visit(output, params, inputs, mode, |at, cache, read| {
            kept.caches[at] = Some(cache);
            if let (true, Source::Result { inputs, .. }) =
                (self.nodes[at].shared, &self.nodes[at].source)
            {
                for (input, tensor) in inputs.iter().zip(read) {
                    kept.shared[*input] = Some(tensor);
                }
            }
        })?;
        Ok((result, kept))
    }

    /// The value `output` alone; nothing else is kept.
    pub(crate) fn value(
        &self,
        output: usize,
        params: &Params,
        inputs: &[Tensor],
    ) -> Result<Tensor> {
        self.visit(output, params, inputs, NormMode::Frozen, |_, _, _| {})
    }

    /// Hands what each operation kept, and what it read, to `keep`, and gives the value `output`.
    pub(crate) fn visit(
        &self,
        output: usize,
        params: &Params,
        inputs: &[Tensor],
        mode: NormMode,
        mut keep: impl FnMut(usize, AnyCache, Vec<Tensor>),
    ) -> Result<Tensor> {
        let batch = inputs.first().map_or(Ok(1), |x| x.dim(0))?;
        let mut values = Values::new(self, batch);
        values.readers[output] += 1;
        for (at, node) in self.nodes.iter().enumerate() {
            let tensor = match &node.source {
                Source::Input(number) => {
                    let values = inputs.len();
                    let given = inputs.get(*number);
                    given.ok_or(ModelError::NoValue { asked: *number, values })?.clone()
                }
                Source::Parameter(spec) => params.get(&self.specs[*spec].name)?.unsqueeze(0)?,
                Source::Result { operation, inputs } => {
                    let read = values.read(&**operation, inputs, node.shared)?;
                    let refs: Vec<&Tensor> = read.iter().collect();
                    let passed = operation.forward(&refs, mode);
                    let (result, cache) = in_operation(&**operation, passed)?;
                    self.ensure_promised(at, operation, &result, batch)?;
                    keep(at, cache, read);
                    result
                }
            };
            if values.readers[at] > 0 {
                values.tensors[at] = Some(tensor);
            }
        }
        values.tensors[output].take().ok_or(ModelError::Cache { what: "output" })
    }

    /// Refuses a result of another shape than the operation has promised.
    fn ensure_promised(
        &self,
        at: usize,
        operation: &Arc<dyn ErasedOperation>,
        result: &Tensor,
        batch: usize,
    ) -> Result<()> {
        let node = &self.nodes[at];
        let promised = [&[if node.shared { 1 } else { batch }], node.shape.as_slice()].concat();
        if result.dims() == promised {
            return Ok(());
        }
        Err(ModelError::Promise {
            operation: format!("{operation:?}"),
            what: "result".to_owned(),
            promised,
            got: result.dims().to_vec(),
        })
    }

    /// The running statistics that a pass in batch mode leaves, by name.
    pub(crate) fn new_statistics(&self, kept: &Kept) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for (node, cache) in self.nodes.iter().zip(&kept.caches) {
            let (Source::Result { operation, inputs }, Some(cache)) = (&node.source, cache) else {
                continue;
            };
            for (place, tensor) in operation.new_statistics(cache)? {
                let names = self.names(inputs);
                all.push((names[place].to_owned(), tensor.squeeze(0)?));
            }
        }
        Ok(all)
    }
}
