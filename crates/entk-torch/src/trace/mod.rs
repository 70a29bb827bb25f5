//! Running a program on values that are not known yet: its nodes go in, a graph of operations comes
//! out. What depends on no input and no parameter is computed at once.

pub(crate) mod bindings;
pub(crate) mod call;
pub(crate) mod run;
mod sizes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, TensorId};
use entk_models::{
    Graph, Initializer, ModelError, NormMode, Operation, ParamKind, ParamSpec, Value,
};

use crate::{
    archive::{Elements, StoredTensor},
    operations::ids::FromIds,
};

/// Entries of one example's tensor, at most: a damaged size is refused before memory is asked for.
pub(crate) const MOST_ENTRIES: usize = 1 << 26;

/// Entries of all known tensors of a program together, at most: a small file can ask for as many as
/// it likes.
const MOST_KNOWN: usize = 1 << 28;

/// Refuses a shape with more entries than anyone has memory for.
pub(crate) fn ensure_size(shape: &[usize]) -> Ruled<()> {
    // An axis of no entries bounds nothing: other shapes of the tensor may leave it out.
    let count = shape.iter().try_fold(1usize, |product, size| product.checked_mul((*size).max(1)));
    match count {
        Some(count) if count <= MOST_ENTRIES => Ok(()),
        _ => Err(Refusal::new(format!("has {shape:?} entries, of at most {MOST_ENTRIES}"))),
    }
}

/// Why a rule cannot take a call; the run adds which call.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Something about its arguments, and what to do.
    Reason(String),
    /// An operation without a rule, and what to write in its place.
    NoRule(String),
    /// The graph or the device.
    Model(ModelError),
}

impl Refusal {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self::Reason(reason.into())
    }

    /// Of a layer that is in training mode, by the module's own mode or by an argument.
    pub(crate) fn in_training(reason: &str) -> Self {
        Self::new(format!(
            "{reason}: export with `model.eval()`, and write `training=self.training` where \
             forward says `training=True`"
        ))
    }
}

impl From<ModelError> for Refusal {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<candle_core::Error> for Refusal {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// The result of a rule.
pub(crate) type Ruled<T> = Result<T, Refusal>;

/// A tensor of the program. Shapes are those of the program: the batch is one axis like others.
#[derive(Debug, Clone)]
pub(crate) struct Traced {
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Elements,
    pub(crate) held: Held,
}

/// What is known of a tensor. Whole numbers and truth values (0 and 1) are held as real ones.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// Its numbers: (1, shape), f64, on the host.
    Constant(Tensor),
    /// A value of the graph.
    Value(Value),
}

impl Traced {
    /// A tensor whose numbers are known, row-major.
    pub(crate) fn constant(elements: Elements, shape: &[usize], numbers: Vec<f64>) -> Ruled<Self> {
        let tensor = Tensor::from_vec(numbers, [&[1], shape].concat(), &Device::Cpu)?;
        Ok(Self { shape: shape.to_vec(), elements, held: Held::Constant(tensor) })
    }

    /// One number.
    pub(crate) fn number(elements: Elements, number: f64) -> Ruled<Self> {
        Self::constant(elements, &[], vec![number])
    }

    /// A buffer or constant of the archive.
    pub(crate) fn stored(stored: &StoredTensor) -> Ruled<Self> {
        ensure_size(stored.tensor.dims())?;
        let tensor = stored.tensor.to_dtype(DType::F64)?.unsqueeze(0)?;
        let (shape, elements) = (stored.tensor.dims().to_vec(), stored.elements);
        Ok(Self { shape, elements, held: Held::Constant(tensor) })
    }

    /// The numbers, row-major, if they are known.
    pub(crate) fn numbers(&self) -> Ruled<Option<Vec<f64>>> {
        Ok(match &self.held {
            Held::Constant(tensor) => Some(tensor.flatten_all()?.to_vec1()?),
            Held::Value(_) => None,
        })
    }

    /// The numbers, row-major.
    ///
    /// # Errors
    /// Numbers that depend on the input or on parameters.
    pub(crate) fn known(&self, what: &str) -> Ruled<Vec<f64>> {
        self.numbers()?.ok_or_else(|| {
            Refusal::new(format!("{what} may not depend on the input or on parameters"))
        })
    }

    /// Known numbers from 0 on.
    pub(crate) fn known_indices(&self, what: &str) -> Ruled<Vec<i64>> {
        Ok(self.known(what)?.into_iter().map(|number| number as i64).collect())
    }

    pub(crate) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn rank(&self) -> usize {
        self.shape.len()
    }

    pub(crate) fn is_constant(&self) -> bool {
        matches!(self.held, Held::Constant(_))
    }

    /// These numbers taken for numbers of another kind.
    pub(crate) fn with_elements(self, elements: Elements) -> Self {
        Self { elements, ..self }
    }
}

/// The graph that is being written, and the numbers of its parameters.
#[derive(Debug, Default)]
pub(crate) struct Tracer {
    pub(crate) graph: Graph,
    /// By the names that the graph has for them.
    pub(crate) tensors: Vec<(String, Tensor)>,
    /// Names of buffers, while nothing was computed of them.
    buffers: HashMap<TensorId, String>,
    /// Constants that are in the graph by now.
    lifted: HashMap<TensorId, Value>,
    /// Any parameter: it says in which element type and where numbers are.
    first: Option<Value>,
    /// Rows of the smallest table that whole numbers of the input are looked up in.
    pub(crate) least_rows: Option<usize>,
    /// Entries of known tensors so far.
    known: usize,
}

impl Tracer {
    /// A parameter of the archive.
    pub(crate) fn parameter(
        &mut self,
        name: &str,
        tensor: &Tensor,
        kind: ParamKind,
    ) -> Ruled<Traced> {
        let value =
            self.insert(name, tensor, |graph, spec| graph.parameter(ParamSpec { kind, ..spec }))?;
        let shape = tensor.dims().to_vec();
        Ok(Traced { shape, elements: Elements::Real, held: Held::Value(value) })
    }

    /// Puts a tensor into the graph.
    fn insert(
        &mut self,
        name: &str,
        tensor: &Tensor,
        add: impl FnOnce(&mut Graph, ParamSpec) -> Result<Value, ModelError>,
    ) -> Ruled<Value> {
        let spec = ParamSpec::statistic(name, tensor.dims(), Initializer::Given);
        let value = add(&mut self.graph, spec)?;
        self.first.get_or_insert(value);
        self.tensors.push((name.to_owned(), tensor.clone()));
        Ok(value)
    }

    /// Puts known numbers into the graph, once.
    fn lift(
        &mut self,
        tensor: &Tensor,
        add: impl FnOnce(&mut Graph, ParamSpec) -> Result<Value, ModelError>,
    ) -> Ruled<Value> {
        if let Some(value) = self.lifted.get(&tensor.id()) {
            return Ok(*value);
        }
        let numbered = || format!("constant.{}", self.lifted.len());
        let name = self.buffers.get(&tensor.id()).cloned().unwrap_or_else(numbered);
        let value = self.insert(&name, &tensor.squeeze(0)?, add)?;
        self.lifted.insert(tensor.id(), value);
        Ok(value)
    }

    /// A buffer: its numbers are known. In the graph it has its name.
    pub(crate) fn buffer(&mut self, name: &str, stored: &StoredTensor) -> Ruled<Traced> {
        let traced = Traced::stored(stored)?;
        if let Held::Constant(tensor) = &traced.held {
            self.buffers.insert(tensor.id(), name.to_owned());
        }
        Ok(traced)
    }

    /// A running statistic of a batch norm: a buffer, or any known numbers.
    pub(crate) fn statistic(&mut self, traced: &Traced, variance: bool) -> Ruled<Traced> {
        let Held::Constant(tensor) = &traced.held else { return Ok(traced.clone()) };
        let value = self.lift(tensor, |graph, spec| match variance {
            true => graph.variance(spec),
            false => graph.parameter(spec),
        })?;
        Ok(Traced { held: Held::Value(value), ..traced.clone() })
    }

    /// The input of whole numbers, as numbers.
    pub(crate) fn ids(&mut self, shape: &[usize]) -> Ruled<Traced> {
        let ids = self.graph.ids(shape);
        let Some(first) = self.first else { return Err(ModelError::NoParameters.into()) };
        let value = self.graph.apply(FromIds, &[ids, first])?;
        Ok(Traced { shape: shape.to_vec(), elements: Elements::Whole, held: Held::Value(value) })
    }

    /// The input of real numbers.
    pub(crate) fn input(&mut self, shape: &[usize]) -> Traced {
        let value = self.graph.input(shape);
        Traced { shape: shape.to_vec(), elements: Elements::Real, held: Held::Value(value) }
    }

    /// The result of an operation, of real numbers if one of its inputs is, else of whole ones.
    /// With known inputs it is known.
    pub(crate) fn apply(&mut self, operation: impl Operation, inputs: &[&Traced]) -> Ruled<Traced> {
        let elements = inputs.iter().map(|input| input.elements).max();
        let elements = elements.unwrap_or(Elements::Real);
        self.apply_as(elements, operation, inputs)
    }

    /// Counts the numbers that are known, and refuses more than anyone has memory for.
    pub(crate) fn count_known(&mut self, results: &[Traced]) -> Ruled<()> {
        let known = results.iter().filter(|result| result.is_constant()).map(Traced::count);
        self.known = known.fold(self.known, usize::saturating_add);
        if self.known <= MOST_KNOWN {
            return Ok(());
        }
        let known = self.known;
        Err(Refusal::new(format!(
            "makes {known} numbers that depend on no input, of at most {MOST_KNOWN}; make large \
             tables buffers of the module"
        )))
    }

    /// The result of an operation, of numbers of this kind.
    pub(crate) fn apply_as(
        &mut self,
        elements: Elements,
        operation: impl Operation,
        inputs: &[&Traced],
    ) -> Ruled<Traced> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.shape.as_slice()).collect();
        let shape = operation.output_shape(&shapes)?;
        ensure_size(&shape)?;
        let known = |input: &&Traced| match &input.held {
            Held::Constant(tensor) => Some(tensor.clone()),
            Held::Value(_) => None,
        };
        if let Some(known) = inputs.iter().map(known).collect::<Option<Vec<_>>>() {
            let known: Vec<&Tensor> = known.iter().collect();
            let (tensor, _) = operation.forward(&known, NormMode::Frozen)?;
            return Ok(Traced { shape, elements, held: Held::Constant(tensor) });
        }
        let values = inputs.iter().map(|input| self.value(input)).collect::<Ruled<Vec<_>>>()?;
        let value = self.graph.apply(operation, &values)?;
        Ok(Traced { shape, elements, held: Held::Value(value) })
    }

    /// A tensor as a value of the graph; known numbers become a frozen parameter, once.
    pub(crate) fn value(&mut self, traced: &Traced) -> Ruled<Value> {
        match &traced.held {
            Held::Value(value) => Ok(*value),
            Held::Constant(tensor) => self.lift(tensor, |graph, spec| {
                graph.parameter(ParamSpec { kind: ParamKind::Frozen, ..spec })
            }),
        }
    }

    /// Whether a value is one for all examples.
    pub(crate) fn is_shared(&self, traced: &Traced) -> bool {
        match traced.held {
            Held::Constant(_) => true,
            Held::Value(value) => self.graph.is_shared(value),
        }
    }
}
