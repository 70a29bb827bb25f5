//! What operations promise, checked where it arrives: an operation and what it gave come in, a
//! refusal that names both comes out. Called by the passes over a graph.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    graph::Graph,
    operation::{AnyCache, ErasedOperation, in_operation},
};

/// Refuses sizes other than those promised.
pub(crate) fn ensure_sizes(
    operation: &dyn ErasedOperation,
    what: &str,
    promised: &[usize],
    got: &[usize],
) -> Result<()> {
    if got == promised {
        return Ok(());
    }
    Err(ModelError::Promise {
        operation: format!("{operation:?}"),
        what: what.to_owned(),
        promised: promised.to_vec(),
        got: got.to_vec(),
    })
}

/// Refuses a tensor that is not one of so many examples of a shape.
pub(crate) fn ensure_shape(
    operation: &dyn ErasedOperation,
    what: &str,
    (count, shape): (usize, &[usize]),
    got: &Tensor,
) -> Result<()> {
    ensure_sizes(
        operation,
        &format!("shape of its {what}"),
        &[&[count], shape].concat(),
        got.dims(),
    )
}

/// Refuses a result of no entries on a GPU.
pub(crate) fn ensure_entries(
    operation: &dyn ErasedOperation,
    shape: &[usize],
    device: &Device,
) -> Result<()> {
    if !device.is_cuda() || !shape.contains(&0) {
        return Ok(());
    }
    Err(ModelError::NoEntries { operation: format!("{operation:?}"), shape: shape.to_vec() })
}

/// Refuses a result of real numbers in another type than that of the parameters.
pub(crate) fn ensure_type(
    operation: &dyn ErasedOperation,
    expected: DType,
    result: &Tensor,
) -> Result<()> {
    let got = result.dtype();
    if got == expected || !got.is_float() {
        return Ok(());
    }
    Err(ModelError::DType { what: format!("{operation:?}: its result"), expected, got })
}

/// Which of the wanted inputs have their gradients from a factor, and which from cotangents.
pub(crate) fn by_factor_or_cotangent(
    operation: &dyn ErasedOperation,
    wanted: &[bool],
) -> [Vec<bool>; 2] {
    let structured = operation.structured();
    let of = |by_factor: bool| {
        let each = wanted.iter().enumerate();
        each.map(|(place, wanted)| *wanted && structured.contains(&place) == by_factor).collect()
    };
    [of(true), of(false)]
}

impl Graph {
    /// Places of the structured inputs that an operation has.
    pub(crate) fn weights(operation: &dyn ErasedOperation, inputs: &[usize]) -> Vec<usize> {
        operation.structured().filter(|place| *place < inputs.len()).collect()
    }

    /// The factor of the structured inputs, with the names, the width and the examples that it has
    /// to have.
    pub(crate) fn factor(
        &self,
        operation: &dyn ErasedOperation,
        cache: &AnyCache,
        inputs: &[usize],
        dy: &Tensor,
    ) -> Result<Factor> {
        let names = self.names(inputs);
        let factor = in_operation(operation, operation.factor(cache, &names, dy))?;
        let Some(factor) = factor else {
            return Err(ModelError::NoFactor { operation: format!("{operation:?}") });
        };
        let weights = Self::weights(operation, inputs);
        if !weights.iter().map(|place| names[*place]).eq(factor.names()) {
            let (operation, got) = (format!("{operation:?}"), factor.names().join(", "));
            return Err(ModelError::FactorNames { operation, got });
        }
        let count = |place: &usize| self.nodes[inputs[*place]].shape.iter().product::<usize>();
        let width: usize = weights.iter().map(count).sum();
        ensure_sizes(operation, "width of its factor", &[width], &[factor.width()])?;
        for tensor in factor.tensors() {
            let (promised, got) = (&dy.dims()[..1], &tensor.dims()[..1]);
            ensure_sizes(operation, "number of examples of its factor", promised, got)?;
        }
        Ok(factor)
    }

    /// Whether a factor is the whole gradient of its parameters: all are wanted, and none is read
    /// elsewhere or follows from others.
    pub(crate) fn is_whole(
        &self,
        operation: &dyn ErasedOperation,
        inputs: &[usize],
        wanted: &[bool],
        readers: &[usize],
    ) -> bool {
        let names = self.names(inputs);
        let whole = |place: &usize| {
            wanted[*place] && readers[inputs[*place]] == 1 && !names[*place].is_empty()
        };
        Self::weights(operation, inputs).iter().all(whole)
    }
}
