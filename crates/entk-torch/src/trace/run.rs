//! One run of a program: a batch size goes in, the nodes pass by in order, each by its rule, and
//! the graph and its output come out. Writes in place reach every name of the storage.

use entk_models::{Concat, IndexSelect, Reshape, Value};

use crate::{
    archive::{
        Elements,
        argument::{Argument, Size},
        schema::{Program, ProgramNode, TensorMeta},
    },
    error::{Result, TorchError},
    rules::{self, Sharing, rule::Rule},
    trace::{
        Held, Refusal, Ruled, Traced, Tracer,
        bindings::{Bindings, Found, Item, ViewOf, is_uncertain},
        call::{Bound, Call},
        sizes::arithmetic,
    },
};

/// A run under way.
#[derive(Debug)]
pub(crate) struct Run<'p> {
    program: &'p Program,
    pub(crate) tracer: Tracer,
    bindings: Bindings,
    /// The batch that is baked into the program, where another is traced.
    rebatch: Option<usize>,
    /// Values that were computed, in order.
    pub(crate) computed: Vec<Computed>,
}

/// A value of the program that is one of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Computed {
    /// Its name in the program.
    pub(crate) name: String,
    pub(crate) value: Value,
    /// The operation that gives it, and where the module calls it.
    pub(crate) origin: String,
}

impl<'p> Run<'p> {
    pub(crate) fn new(program: &'p Program, rebatch: Option<usize>) -> Self {
        let (tracer, bindings) = (Tracer::default(), Bindings::default());
        Self { program, tracer, bindings, rebatch, computed: Vec::new() }
    }

    /// Gives an input of the program its meaning.
    pub(crate) fn bind(&mut self, name: &str, item: Item) {
        self.bindings.bind(name, item, None);
    }

    /// All nodes in order.
    pub(crate) fn trace(&mut self) -> Result<()> {
        let nodes = &self.program.graph_module.graph.nodes;
        for (at, node) in nodes.iter().enumerate() {
            self.node(at, node).map_err(|refusal| named(node, refusal))?;
        }
        Ok(())
    }

    /// The tensor of a name.
    pub(crate) fn tensor(&mut self, name: &str) -> Ruled<Traced> {
        match self.item(name)? {
            Item::Tensor(tensor) => Ok(tensor),
            Item::Number(_) => Err(Refusal::new(format!("{name} is a number, not a tensor"))),
        }
    }

    fn item(&mut self, name: &str) -> Ruled<Item> {
        let views = match self.bindings.find(name)? {
            Found::Item(item) => return Ok(item),
            Found::Stale(views) => views,
        };
        for (view, of) in views {
            let base = self.tensor(&of.base)?;
            let fresh = self.viewed(&of, base)?;
            self.bindings.refresh(&view, fresh);
        }
        self.item(name)
    }

    /// What a view shows of these numbers.
    fn viewed(&mut self, view: &ViewOf, base: Traced) -> Ruled<Traced> {
        let Some((node, result)) = view.made_by else { return Ok(base) };
        let node = &self.program.graph_module.graph.nodes[node];
        let mut results = self.ruled(node, Some((&view.base, base)))?;
        Ok(results.swap_remove(result))
    }

    fn node(&mut self, at: usize, node: &'p ProgramNode) -> Ruled<()> {
        if let Some(operator) = node.target.strip_prefix("_operator.") {
            let number = self.operator(operator, node)?;
            return self.bind_number(node, number);
        }
        let results = self.ruled(node, None)?;
        let sharing = rules::sharing(operation(node));
        let first = node.inputs.iter().find_map(|input| match &input.arg {
            Argument::Tensor(name) => Some(name.as_str()),
            _ => None,
        });
        if let (Sharing::Written, Some(written)) = (sharing, first) {
            let result = one(results)?;
            self.write(written, result.clone())?;
            let view = ViewOf { base: written.to_owned(), made_by: None, certain: true };
            self.bindings.bind(one_name(node)?, Item::Tensor(result), Some(view));
            return Ok(());
        }
        let names = result_names(node);
        if names.len() > results.len() {
            return Err(Refusal::new(format!(
                "has {} results, and the rule gives {}",
                names.len(),
                results.len()
            )));
        }
        for (result, (name, tensor)) in names.into_iter().zip(results).enumerate() {
            let Some(name) = name else { continue };
            self.ensure_filed_shape(name, &tensor)?;
            let made_by = Some((at, result));
            let view = match (sharing, first) {
                (Sharing::View | Sharing::Maybe, Some(base)) => Some(ViewOf {
                    base: base.to_owned(),
                    made_by,
                    certain: matches!(sharing, Sharing::View),
                }),
                _ => None,
            };
            self.remember(name, &tensor, node);
            self.bindings.bind(name, Item::Tensor(tensor), view);
        }
        Ok(())
    }

    fn remember(&mut self, name: &str, tensor: &Traced, node: &ProgramNode) {
        if let (Held::Value(value), Elements::Real) = (&tensor.held, tensor.elements) {
            let origin = format!("aten.{} {}", operation(node), place(node));
            self.computed.push(Computed { name: name.to_owned(), value: *value, origin });
        }
    }

    /// The results of a node by its rule, with one tensor in place of the present one.
    fn ruled(
        &mut self,
        node: &'p ProgramNode,
        instead: Option<(&str, Traced)>,
    ) -> Ruled<Vec<Traced>> {
        let operation = operation(node);
        let Some(rule) = rules::rule(operation) else {
            return Err(Refusal::NoRule(rules::instead(operation)));
        };
        let mut arguments = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            arguments.push((input.name.as_str(), self.bound(&input.arg, instead.as_ref())?));
        }
        let call = Call::new(operation, arguments, self.rebatch, self.filed_shape(node));
        let results = match rule {
            Rule::One(rule) => vec![rule(&mut self.tracer, &call)?],
            Rule::Many(rule) => rule(&mut self.tracer, &call)?,
            Rule::Number(rule) => {
                let number = rule(&call)?;
                self.bind_number(node, number)?;
                Vec::new()
            }
            Rule::Nothing => {
                return Ok(Vec::new());
            }
        };
        call.ensure_read()?;
        self.tracer.count_known(&results)?;
        Ok(results)
    }

    fn bound(&mut self, argument: &Argument, instead: Option<&(&str, Traced)>) -> Ruled<Bound> {
        let mut tensor = |name: &String| match instead {
            Some((other, tensor)) if other == name => Ok(tensor.clone()),
            _ => self.tensor(name),
        };
        Ok(match argument {
            Argument::None => Bound::None,
            Argument::Tensor(name) => Bound::Tensor(tensor(name)?),
            Argument::Tensors(names) => {
                Bound::Tensors(names.iter().map(tensor).collect::<Ruled<_>>()?)
            }
            Argument::OptionalTensors(names) => {
                let mut optional =
                    |name: &Option<String>| name.as_ref().map(&mut tensor).transpose();
                Bound::OptionalTensors(names.iter().map(&mut optional).collect::<Ruled<_>>()?)
            }
            Argument::Int(number) => Bound::Int(*number),
            Argument::Ints(list) => Bound::Ints(list.clone()),
            Argument::Size(size) => self.number_of_size(size)?,
            Argument::Sizes(sizes) => {
                let number = |size| match self.number_of_size(size)? {
                    Bound::Int(number) => Ok(number),
                    other => Err(Refusal::new(format!("a size that is {other:?}"))),
                };
                Bound::Ints(sizes.iter().map(number).collect::<Ruled<_>>()?)
            }
            Argument::Float(number) => Bound::Float(*number),
            Argument::Floats(list) => Bound::Floats(list.clone()),
            Argument::Bool(truth) => Bound::Bool(*truth),
            Argument::Text(text) => Bound::Text(text.clone()),
            Argument::ElementType(code) => Bound::ElementType(*code),
            Argument::Placement => Bound::Placement,
            Argument::Unknown(kind) => {
                return Err(Refusal::new(format!(
                    "has an argument of kind {kind}, which is not read: no branches or loops that \
                     depend on data, no objects"
                )));
            }
        })
    }

    fn number_of_size(&mut self, size: &Size) -> Ruled<Bound> {
        let number = match size {
            Size::Known(number) => return Ok(Bound::Int(*number)),
            Size::Of(name) => match self.item(name)? {
                Item::Number(number) => number,
                Item::Tensor(_) => return Err(Refusal::new(format!("{name} is no number"))),
            },
            Size::Free(_) => return Err(Refusal::new("a size without a name")),
        };
        Ok(if number.fract() == 0.0 { Bound::Int(number as i64) } else { Bound::Float(number) })
    }

    /// Arithmetic of sizes.
    fn operator(&mut self, operator: &str, node: &ProgramNode) -> Ruled<f64> {
        let mut numbers = Vec::with_capacity(2);
        for input in &node.inputs {
            numbers.push(match self.bound(&input.arg, None)? {
                Bound::Int(number) => number as f64,
                Bound::Float(number) => number,
                Bound::Bool(truth) => f64::from(u8::from(truth)),
                other => return Err(Refusal::new(format!("arithmetic of {other:?}"))),
            });
        }
        arithmetic(operator, &numbers)
    }

    fn bind_number(&mut self, node: &ProgramNode, number: f64) -> Ruled<()> {
        let name = match node.outputs.as_slice() {
            [Argument::Size(Size::Of(name))] => name,
            _ => return Err(Refusal::new("has no number as its result")),
        };
        self.bindings.bind(name, Item::Number(number), None);
        Ok(())
    }

    /// Gives the tensor of a name new numbers, and every name of its storage with it.
    fn write(&mut self, name: &str, new: Traced) -> Ruled<()> {
        let old = self.tensor(name)?;
        if old.shape != new.shape || (old.elements != new.elements) {
            return Err(Refusal::new(format!(
                "writes {:?} of shape {:?} into {:?} of shape {:?}",
                new.elements, new.shape, old.elements, old.shape
            )));
        }
        let (root, views) = self.bindings.chain(name);
        if views.iter().any(is_uncertain) {
            self.bindings.write_apart(&root, name, new);
            return Ok(());
        }
        let whole = match views.iter().all(|(_, view)| view.made_by.is_none()) {
            true => new.clone(),
            false => self.with_part(&root, &views, &new)?,
        };
        self.bindings.write(&root, whole, name, new);
        Ok(())
    }

    /// The numbers of a storage with those of a view replaced: the view of the numbers of places
    /// says where they are.
    fn with_part(&mut self, root: &str, views: &[(String, ViewOf)], new: &Traced) -> Ruled<Traced> {
        let whole = self.tensor(root)?;
        let count = whole.count();
        let places = (0..count).map(|place| place as f64).collect();
        let mut places = Traced::constant(Elements::Whole, &whole.shape, places)?;
        for (_, view) in views {
            places = self.viewed(view, places)?;
        }
        let mut source: Vec<usize> = (0..count).collect();
        for (at, place) in places.known_indices("a place in memory")?.into_iter().enumerate() {
            source[place as usize] = count + at;
        }
        let flat = |tensor: &Traced| Reshape::new(&[tensor.count()]);
        let old = self.tracer.apply(flat(&whole), &[&whole])?;
        let new = self.tracer.apply(flat(new), &[new])?;
        let both = self.tracer.apply(Concat::new(0), &[&old, &new])?;
        let merged = self.tracer.apply(IndexSelect::new(0, source), &[&both])?;
        self.tracer.apply(Reshape::new(&whole.shape), &[&merged])
    }

    fn meta(&self, name: &str) -> Option<&'p TensorMeta> {
        self.program.graph_module.graph.tensor_values.get(name)
    }

    fn filed_shape(&self, node: &ProgramNode) -> Option<Vec<usize>> {
        let name = result_names(node).first().copied().flatten()?;
        let known = |size: &Size| match size {
            Size::Known(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        self.meta(name)?.sizes.iter().map(known).collect()
    }

    /// Refuses a result of another shape or kind than the file says.
    fn ensure_filed_shape(&self, name: &str, tensor: &Traced) -> Ruled<()> {
        let Some(meta) = self.meta(name) else { return Ok(()) };
        let fits = |(size, got): (&Size, &usize)| match size {
            Size::Known(number) => *number == *got as i64 || self.rebatch.is_some(),
            _ => true,
        };
        let sizes = &meta.sizes;
        let kind = Elements::of_code(meta.dtype).map(|(elements, _)| elements);
        if sizes.len() != tensor.rank()
            || !sizes.iter().zip(&tensor.shape).all(fits)
            || kind != Some(tensor.elements)
        {
            return Err(Refusal::new(format!(
                "gives {:?} of shape {:?}, and the file says code {} of shape {sizes:?}",
                tensor.elements, tensor.shape, meta.dtype
            )));
        }
        Ok(())
    }
}

/// `conv2d.default` of `torch.ops.aten.conv2d.default`.
fn operation(node: &ProgramNode) -> &str {
    let target = node.target.as_str();
    target.strip_prefix("torch.ops.aten.").unwrap_or(target)
}

/// Names of a node's results; none where a result is not there.
fn result_names(node: &ProgramNode) -> Vec<Option<&str>> {
    let mut names = Vec::new();
    for output in &node.outputs {
        match output {
            Argument::Tensor(name) => names.push(Some(name.as_str())),
            Argument::Tensors(list) => names.extend(list.iter().map(|name| Some(name.as_str()))),
            Argument::OptionalTensors(list) => names.extend(list.iter().map(Option::as_deref)),
            Argument::None => names.push(None),
            _ => {}
        }
    }
    names
}

fn one_name(node: &ProgramNode) -> Ruled<&str> {
    match result_names(node).as_slice() {
        [Some(name)] => Ok(name),
        names => Err(Refusal::new(format!("has {} results in place of one", names.len()))),
    }
}

fn one(mut results: Vec<Traced>) -> Ruled<Traced> {
    match results.len() {
        1 => Ok(results.remove(0)),
        count => Err(Refusal::new(format!("has {count} results in place of one"))),
    }
}

/// Where the module calls a node: the path of the module, and the line of its source if the archive
/// has it.
fn place(node: &ProgramNode) -> String {
    let stack = node.metadata.get("nn_module_stack").map_or("", String::as_str);
    let module = stack.rsplit(';').next().and_then(|last| last.split(',').nth(1));
    let module = module.filter(|path| !path.is_empty()).unwrap_or("the module itself");
    let line = node
        .metadata
        .get("stack_trace")
        .and_then(|trace| trace.lines().map(str::trim).rfind(|line| line.starts_with("File ")));
    match line {
        Some(line) => format!("in {module}, {line}"),
        None => format!("in {module}"),
    }
}

fn named(node: &ProgramNode, refusal: Refusal) -> TorchError {
    let (operation, place) = (format!("aten.{}", operation(node)), place(node));
    match refusal {
        Refusal::Reason(reason) => TorchError::Call { operation, place, reason },
        Refusal::NoRule(instead) => TorchError::Unsupported { operation, place, instead },
        Refusal::Model(source) => TorchError::Graph { operation, place, source: Box::new(source) },
    }
}
