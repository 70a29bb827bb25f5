//! The pass forward over a graph: parameters and a batch go in, the output and what every operation
//! kept for its derivatives come out. A value is freed as soon as its last reader is done.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    graph::{
        Graph, Source,
        promise::{ensure_entries, ensure_shape, ensure_type},
    },
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

impl Kept {
    /// What the operation behind a value kept.
    pub(crate) fn cache(&self, at: usize) -> Result<AnyCache> {
        self.caches[at].clone().ok_or(ModelError::Cache { what: "pass" })
    }

    /// What the operation behind a value kept, for each example: what follows from parameters alone
    /// was computed once, and is computed again for all of them, without copies of its inputs.
    /// Those that the operation needs shared stay so.
    pub(crate) fn cache_of_each(
        &self,
        graph: &Graph,
        at: usize,
        operation: &dyn ErasedOperation,
    ) -> Result<AnyCache> {
        if !graph.nodes[at].shared {
            return self.cache(at);
        }
        let value = |(place, input): (usize, &usize)| {
            let value = self.shared[*input].as_ref().ok_or(ModelError::Cache { what: "value" })?;
            match operation.needs_shared(place) {
                true => Ok(value.clone()),
                false => expanded(value, self.batch),
            }
        };
        let inputs = graph.read_by(at).iter().enumerate().map(value).collect::<Result<Vec<_>>>()?;
        let refs: Vec<&Tensor> = inputs.iter().collect();
        Ok(operation.forward(&refs, self.mode)?.1)
    }
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

/// Examples of the inputs of a graph: one if it has none.
fn examples_of(inputs: &[Tensor]) -> Result<usize> {
    Ok(inputs.first().map_or(Ok(1), |x| x.dim(0))?)
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
            batch: examples_of(inputs)?,
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
        let batch = examples_of(inputs)?;
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
                    ensure_entries(&**operation, &node.shape, params.device())?;
                    let read = values.read(&**operation, inputs, node.shared)?;
                    let refs: Vec<&Tensor> = read.iter().collect();
                    let passed = operation.forward(&refs, mode);
                    let (result, cache) = in_operation(&**operation, passed)?;
                    let promised = (node.examples(batch), node.shape.as_slice());
                    ensure_shape(&**operation, "result", promised, &result)?;
                    ensure_type(&**operation, params.dtype(), &result)?;
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
