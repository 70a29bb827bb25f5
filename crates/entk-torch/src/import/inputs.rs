//! What goes into a program and what comes out: parameters, buffers, constants, the one input and
//! the one output. Read from an archive before a run, and given their meaning at its start.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use entk_models::{Graph, Network, ParamKind, Params, Reshape};

use crate::{
    archive::{
        Archive, Elements, StoredTensor,
        argument::{Argument, Size},
        schema::{InputSpec, OutputSpec},
    },
    config::Import,
    error::{Result, TorchError},
    trace::{
        Held, Refusal, Ruled, Traced, Tracer,
        bindings::Item,
        ensure_size,
        run::{Computed, Run},
    },
};

/// The inputs and the output of a program.
#[derive(Debug)]
pub(crate) struct Signature<'a> {
    /// Stored tensors by their names in the graph.
    stored: Vec<StoredName<'a>>,
    /// Numbers that were given to the module.
    numbers: Vec<(&'a str, f64)>,
    input: &'a str,
    pub(crate) elements: Elements,
    /// Shape of one example.
    pub(crate) example: Vec<usize>,
    /// The batch that is baked in; none if it is free.
    pub(crate) batch: Option<usize>,
    output: &'a str,
    pub(crate) aliases: Vec<(String, String)>,
}

#[derive(Debug)]
struct StoredName<'a> {
    in_graph: &'a str,
    /// The name in the module.
    name: &'a str,
    is_parameter: bool,
    tensor: &'a StoredTensor,
}

fn refused(what: impl Into<String>, instead: &str) -> TorchError {
    TorchError::Program { what: what.into(), instead: instead.to_owned() }
}

const ONE_INPUT: &str = "wrap the module in one that takes one tensor and splits it";
const ONE_OUTPUT: &str = "wrap the module in one whose forward returns a tensor of shape (batch, outputs), as \
     `return self.module(x).logits` or `return self.module(x).mean(1)`";

impl<'a> Signature<'a> {
    pub(crate) fn of(archive: &'a Archive) -> Result<Self> {
        let module = &archive.program.graph_module;
        let (mut stored, mut numbers, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        for spec in &module.signature.input_specs {
            let (named, name, is_parameter) = match spec {
                InputSpec::Parameter { arg, parameter_name } => (arg, parameter_name, true),
                InputSpec::Buffer { arg, buffer_name } => (arg, buffer_name, false),
                InputSpec::TensorConstant { arg, tensor_constant_name } => {
                    (arg, tensor_constant_name, false)
                }
                InputSpec::UserInput { arg: Argument::Tensor(name) } => {
                    inputs.push(name.as_str());
                    continue;
                }
                InputSpec::UserInput { arg: Argument::None | Argument::Placement } => continue,
                InputSpec::ConstantInput { name, value } => {
                    match value {
                        Argument::Int(number) => numbers.push((name.as_str(), *number as f64)),
                        Argument::Float(number) => numbers.push((name.as_str(), *number)),
                        _ => {}
                    }
                    continue;
                }
                other => {
                    let what = format!("the program has an input that is no tensor: {other:?}");
                    return Err(refused(what, ONE_INPUT));
                }
            };
            let tensor = archive.tensors.get(name.as_str()).ok_or_else(|| TorchError::Tensor {
                name: name.clone(),
                reason: "is not in the archive; save it again".to_owned(),
            })?;
            stored.push(StoredName { in_graph: &named.name, name, is_parameter, tensor });
        }
        let &[input] = inputs.as_slice() else {
            return Err(refused(format!("the module takes {} tensors", inputs.len()), ONE_INPUT));
        };
        let output = output_of(&module.signature.output_specs)?;
        let (elements, example, batch) = input_of(archive, input)?;
        let aliases = Vec::new();
        Ok(Self { stored, numbers, input, elements, example, batch, output, aliases }
            .with_aliases())
    }

    /// What is to be known of the element type: parameters in f64 that become f32.
    pub(crate) fn narrowed(&self, config: &Import) -> Option<String> {
        let is_double = |stored: &StoredName<'_>| {
            stored.is_parameter && stored.tensor.tensor.dtype() == DType::F64
        };
        let narrows = config.dtype == DType::F32 && self.stored.iter().any(is_double);
        narrows.then(|| {
            "the parameters of the module are float64, and are rounded to float32 here; ask for \
             float64 to keep them"
                .to_owned()
        })
    }

    fn with_aliases(mut self) -> Self {
        let mut first: HashMap<_, &str> = HashMap::new();
        for stored in self.stored.iter().filter(|stored| stored.is_parameter) {
            match first.get(&stored.tensor.place) {
                Some(name) => self.aliases.push((stored.name.to_owned(), (*name).to_owned())),
                None => {
                    first.insert(&stored.tensor.place, stored.name);
                }
            }
        }
        self
    }

    /// Runs the program for a batch of so many examples, each a part of one input of the graph.
    ///
    /// `rebatch` is the batch that is baked in where that is another; with `repeated`, the input is
    /// one example that is repeated, and the output that of the first.
    pub(crate) fn trace(
        &self,
        archive: &Archive,
        batch: usize,
        rebatch: Option<usize>,
        repeated: bool,
    ) -> Result<TracedNetwork> {
        let mut run = Run::new(&archive.program, rebatch);
        let at_start = |refusal| named("the inputs of the program", refusal);
        self.bind(&mut run, batch, repeated).map_err(at_start)?;
        run.trace()?;
        let at_end = |refusal| named("the output of the program", refusal);
        let y = run.tensor(self.output).map_err(at_end)?;
        ensure_vectors(&y, batch)?;
        let output = vector_of(&mut run, y, repeated).map_err(at_end)?;
        Ok(TracedNetwork { tracer: run.tracer, output, computed: run.computed })
    }

    fn bind(&self, run: &mut Run<'_>, batch: usize, repeated: bool) -> Ruled<()> {
        let mut known: HashMap<_, Traced> = HashMap::new();
        for stored in &self.stored {
            let is_real = stored.tensor.elements == Elements::Real;
            let traced = match known.get(&stored.tensor.place) {
                Some(traced) if stored.is_parameter => traced.clone(),
                _ if stored.is_parameter && is_real => {
                    let kind = match stored.tensor.requires_grad {
                        true => ParamKind::Trainable,
                        false => ParamKind::Frozen,
                    };
                    let traced = run.tracer.parameter(stored.name, &stored.tensor.tensor, kind)?;
                    known.insert(&stored.tensor.place, traced.clone());
                    traced
                }
                _ => run.tracer.buffer(stored.name, stored.tensor)?,
            };
            run.bind(stored.in_graph, Item::Tensor(traced));
        }
        for (name, number) in &self.numbers {
            run.bind(name, Item::Number(*number));
        }
        let whole = [&[batch], self.example.as_slice()].concat();
        ensure_size(&whole)?;
        let given = if repeated || batch == 1 { &self.example } else { &whole };
        let x = match self.elements {
            Elements::Real => run.tracer.input(given),
            elements => run.tracer.ids(given)?.with_elements(elements),
        };
        let x = match (repeated, batch) {
            (true, _) => run.tracer.apply(entk_models::Expand::new(&whole), &[&x])?,
            (false, 1) => run.tracer.apply(Reshape::new(&whole), &[&x])?,
            _ => x,
        };
        run.bind(self.input, Item::Tensor(x));
        Ok(())
    }
}

/// Refuses an output that is not one vector of numbers for each example.
fn ensure_vectors(y: &Traced, batch: usize) -> Result<()> {
    if y.elements != Elements::Real {
        let what = format!("the output of the program is of {:?} numbers", y.elements);
        return Err(refused(format!("{what}, which have no derivative"), ONE_OUTPUT));
    }
    if !matches!(y.shape.as_slice(), [n] | [n, _] if *n == batch) {
        let what = format!("the output of the program has shape {:?}", y.shape);
        let why = format!("{batch} the batch, which is not one vector for each example");
        return Err(refused(format!("{what}, {why}"), ONE_OUTPUT));
    }
    Ok(())
}

/// The output as a vector, of the first example where it was repeated.
fn vector_of(run: &mut Run<'_>, y: Traced, repeated: bool) -> Ruled<Traced> {
    let y = match repeated {
        true => run.tracer.apply(entk_models::Slice::new(0, 0..1), &[&y])?,
        false => y,
    };
    let y = run.tracer.apply(Reshape::new(&[y.count()]), &[&y])?;
    run.tracer.value(&y)?;
    Ok(y)
}

fn named(what: &str, refusal: Refusal) -> TorchError {
    match refusal {
        Refusal::Reason(reason) | Refusal::NoRule(reason) => refused(what, &reason),
        Refusal::Model(error) => error.into(),
    }
}

/// The name of the one output.
fn output_of(specs: &[OutputSpec]) -> Result<&str> {
    let mut names = Vec::new();
    for spec in specs {
        match spec {
            OutputSpec::UserOutput { arg: Argument::Tensor(name) } => names.push(name.as_str()),
            OutputSpec::UserOutput { arg } => {
                return Err(refused(format!("the output is no tensor: {arg:?}"), ONE_OUTPUT));
            }
            OutputSpec::Token(_) => {}
            other => {
                let what = format!("the program changes what it is given: {other:?}");
                return Err(refused(what, "export it with `model.eval()`"));
            }
        }
    }
    match names.as_slice() {
        [name] => Ok(name),
        _ => Err(refused(format!("the module gives {} tensors", names.len()), ONE_OUTPUT)),
    }
}

/// Kind of the numbers of the input, shape of one example, and the batch if it is fixed.
fn input_of(archive: &Archive, name: &str) -> Result<(Elements, Vec<usize>, Option<usize>)> {
    let free = "export with `dynamic_shapes=({0: torch.export.Dim(\"batch\")},)`, the batch first \
                and nothing else free";
    let meta = archive.program.graph_module.graph.tensor_values.get(name);
    let meta = meta.ok_or_else(|| refused(format!("{name} has no shape in the archive"), free))?;
    let Some((elements, _)) = Elements::of_code(meta.dtype) else {
        let what = format!("the input has an element type (code {}) that is not read", meta.dtype);
        return Err(refused(what, "convert it in a wrapper"));
    };
    let size = |size: &Size| match size {
        Size::Known(size) => usize::try_from(*size).ok().filter(|size| *size > 0),
        _ => None,
    };
    let Some((first, rest)) = meta.sizes.split_first() else {
        return Err(refused("the input has no axes", free));
    };
    let example = rest.iter().map(size).collect::<Option<Vec<_>>>();
    let example =
        example.ok_or_else(|| refused("the input has a free axis beside the batch", free));
    Ok((elements, example?, size(first)))
}

/// The values of a program in its graph, to find out where numbers begin to differ.
#[derive(Debug, Clone)]
pub(crate) struct ProgramValues {
    pub(crate) graph: Graph,
    pub(crate) computed: Vec<Computed>,
}

/// A program as a graph.
#[derive(Debug)]
pub(crate) struct TracedNetwork {
    tracer: Tracer,
    output: Traced,
    computed: Vec<Computed>,
}

impl TracedNetwork {
    /// Rows of the smallest table that ids are looked up in.
    pub(crate) fn least_rows(&self) -> Option<usize> {
        self.tracer.least_rows
    }

    /// Its graph, and which of its values are those of the program.
    pub(crate) fn values(&self) -> ProgramValues {
        ProgramValues { graph: self.tracer.graph.clone(), computed: self.computed.clone() }
    }

    /// The network, and its parameters as they were stored.
    pub(crate) fn network(self, config: &Import) -> Result<(Network, Params)> {
        let Held::Value(output) = self.output.held else {
            let what = "the output depends on no input";
            return Err(refused(what, "nothing can be learned from it"));
        };
        let convert = |(name, tensor): (String, Tensor)| -> Result<(String, Tensor)> {
            Ok((name, tensor.to_dtype(config.dtype)?.to_device(&config.device)?))
        };
        let network = self.tracer.graph.network(output)?;
        let tensors = self.tracer.tensors.into_iter().map(convert).collect::<Result<Vec<_>>>()?;
        let params = Params::from_named(&entk_models::Model::specs(&network), tensors)?;
        Ok((network, params))
    }
}
