//! The rules against what PyTorch says of each operation, entry by entry: on known numbers, and on
//! values of a graph.

mod chosen;
mod functions;
mod images;
mod parts;
mod products;
mod reductions;
mod shapes;
mod values;
mod windows;

use candle_core::{DType, Device, Tensor};
use entk_models::{Add, Function, Initializer, Model, Multiply, ParamKind, Params, Reshape, Sum};

use crate::{
    archive::Elements,
    rules::{self, FAMILIES, rule::Rule},
    trace::{
        Held, Refusal, Ruled, Traced, Tracer,
        call::{Bound, Call},
    },
};

/// Round-off of some hundred terms in f64.
const DOUBLE: f64 = 1e-12;

/// Arguments by name.
type Arguments<'a> = &'a [(&'static str, Bound)];

/// A tensor by the places of its entries.
#[derive(Debug, Clone)]
struct Numbers {
    shape: Vec<usize>,
    numbers: Vec<f64>,
}

impl Numbers {
    /// What `entry` says of each place, row-major.
    fn of(shape: &[usize], mut entry: impl FnMut(&[usize]) -> f64) -> Self {
        let place = |at: usize| -> Vec<usize> {
            let place = shape.iter().rev().scan(at, |rest, size| {
                let index = *rest % size;
                *rest /= size;
                Some(index)
            });
            let mut place: Vec<usize> = place.collect();
            place.reverse();
            place
        };
        let numbers = (0..shape.iter().product()).map(|at| entry(&place(at))).collect();
        Self { shape: shape.to_vec(), numbers }
    }

    fn normal(name: &str, shape: &[usize]) -> Self {
        let numbers = Initializer::Normal.draw(name, shape.iter().product(), 0);
        Self { shape: shape.to_vec(), numbers }
    }

    fn given(shape: &[usize], numbers: &[f64]) -> Self {
        Self { shape: shape.to_vec(), numbers: numbers.to_vec() }
    }

    fn at(&self, place: &[usize]) -> f64 {
        assert_eq!(place.len(), self.shape.len(), "{place:?}");
        let along = |at, (index, size): (&usize, &usize)| {
            assert!(index < size, "{place:?} of {:?}", self.shape);
            at * size + index
        };
        self.numbers[place.iter().zip(&self.shape).fold(0, along)]
    }

    /// The entry, zero where an index lies outside.
    fn or_zero(&self, place: &[i64]) -> f64 {
        let inside: Option<Vec<usize>> = place
            .iter()
            .zip(&self.shape)
            .map(|(index, size)| usize::try_from(*index).ok().filter(|index| index < size))
            .collect();
        inside.map_or(0.0, |place| self.at(&place))
    }

    fn map(&self, function: impl Fn(f64) -> f64) -> Self {
        Self { numbers: self.numbers.iter().map(|x| function(*x)).collect(), ..self.clone() }
    }

    fn traced(&self, elements: Elements) -> Traced {
        Traced::constant(elements, &self.shape, self.numbers.clone()).expect("a tensor")
    }

    fn real(&self) -> Bound {
        Bound::Tensor(self.traced(Elements::Real))
    }

    fn whole(&self) -> Bound {
        Bound::Tensor(self.traced(Elements::Whole))
    }

    fn truth(&self) -> Bound {
        Bound::Tensor(self.traced(Elements::Truth))
    }
}

fn reals(all: &[&Numbers]) -> Bound {
    Bound::Tensors(all.iter().map(|one| one.traced(Elements::Real)).collect())
}

fn ints(list: &[i64]) -> Bound {
    Bound::Ints(list.to_vec())
}

fn text(text: &str) -> Bound {
    Bound::Text(text.to_owned())
}

/// The results of an operation, as a run has them.
fn results(t: &mut Tracer, operation: &str, arguments: Vec<(&str, Bound)>) -> Ruled<Vec<Traced>> {
    let call = Call::new(operation, arguments, None, None);
    let results = match rules::rule(operation) {
        Some(Rule::One(rule)) => vec![rule(t, &call)?],
        Some(Rule::Many(rule)) => rule(t, &call)?,
        other => panic!("{operation}: {other:?}"),
    };
    call.ensure_read()?;
    Ok(results)
}

/// The results on known numbers.
fn known(operation: &str, arguments: Arguments<'_>) -> Ruled<Vec<Traced>> {
    results(&mut Tracer::default(), operation, arguments.to_vec())
}

/// Real tensors among the arguments.
fn real_tensors<'a>(arguments: &'a mut [(&str, Bound)]) -> Vec<&'a mut Traced> {
    let tensors = arguments.iter_mut().flat_map(|(_, bound)| match bound {
        Bound::Tensor(tensor) => vec![tensor],
        Bound::Tensors(list) => list.iter_mut().collect(),
        _ => Vec::new(),
    });
    tensors.filter(|tensor| tensor.elements == Elements::Real).collect()
}

/// The results where one real tensor is the input and the others are parameters; none if there are
/// not so many.
fn in_a_graph(operation: &str, given: Arguments<'_>, input: usize) -> Ruled<Option<Vec<Numbers>>> {
    let (mut t, mut arguments, mut x) = (Tracer::default(), given.to_vec(), None);
    for (at, tensor) in real_tensors(&mut arguments).into_iter().enumerate() {
        let Held::Constant(numbers) = tensor.held.clone() else { continue };
        let name = format!("p{at}");
        if at != input {
            *tensor = t.parameter(&name, &numbers.squeeze(0)?, ParamKind::Trainable)?;
            continue;
        }
        // A network has a parameter: the input is multiplied by ones.
        let ones = vec![1; tensor.rank()];
        let one = Tensor::ones(ones, DType::F64, &Device::Cpu)?;
        let one = t.parameter(&name, &one, ParamKind::Trainable)?;
        let read = t.input(&tensor.shape);
        *tensor = t.apply(Multiply, &[&read, &one])?;
        x = Some((tensor.clone(), numbers));
    }
    let Some((read, x)) = x else { return Ok(None) };
    let results = results(&mut t, operation, arguments)?;
    let zeros = t.apply(Function::scale(0.0), &[&read])?;
    let zero = match read.rank() {
        0 => zeros,
        rank => t.apply(Sum::over(&(0..rank).collect::<Vec<_>>()), &[&zeros])?,
    };
    let results = results.iter().map(|result| evaluated(&mut t, result, &zero, &x));
    results.collect::<Ruled<_>>().map(Some)
}

/// The numbers of a value for this input, of which `zero` makes a zero: a network depends on its
/// input.
fn evaluated(t: &mut Tracer, result: &Traced, zero: &Traced, x: &Tensor) -> Ruled<Numbers> {
    let shape = result.shape.clone();
    if let Held::Constant(_) = result.held {
        return Ok(Numbers { shape, numbers: result.known("a result")? });
    }
    let flat = t.apply(Reshape::new(&[result.count()]), &[result])?;
    let flat = t.apply(Add, &[&flat, zero])?;
    let output = t.value(&flat)?;
    let network = t.graph.clone().network(output)?;
    let used: Vec<String> = network.specs().into_iter().map(|spec| spec.name).collect();
    let tensors = t.tensors.iter().filter(|(name, _)| used.contains(name)).cloned();
    let params = Params::from_named(&network.specs(), tensors)?;
    Ok(Numbers { shape, numbers: network.forward(&params, x)?.flatten_all()?.to_vec1()? })
}

fn assert_same(what: &str, found: &[Numbers], expected: &[Numbers]) {
    let shapes = |all: &[Numbers]| all.iter().map(|x| x.shape.clone()).collect::<Vec<_>>();
    assert_eq!(shapes(found), shapes(expected), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        for (place, (a, b)) in found.numbers.iter().zip(&expected.numbers).enumerate() {
            let same = a == b || (a - b).abs() <= DOUBLE * (1.0 + b.abs());
            assert!(same, "{what}: result {at}, entry {place}: {a} for {b}");
        }
    }
}

/// The results on known numbers, as numbers.
fn known_numbers(operation: &str, arguments: Arguments<'_>) -> Vec<Numbers> {
    let found =
        known(operation, arguments).unwrap_or_else(|error| panic!("{operation}: {error:?}"));
    let numbers = found.iter().map(|result| {
        let numbers = result.known("a result").expect("known numbers");
        Numbers { shape: result.shape.clone(), numbers }
    });
    numbers.collect()
}

/// Known numbers give the expected results.
fn same_known(operation: &str, arguments: Arguments<'_>, expected: &[Numbers]) {
    assert_same(operation, &known_numbers(operation, arguments), expected);
}

/// So do values of a graph, where the first real tensor is the input.
fn same(operation: &str, arguments: Arguments<'_>, expected: &[Numbers]) {
    same_for(operation, arguments, expected, 1);
}

/// Values of a graph give the expected results with each of the first so many real tensors for the
/// input.
fn same_for(operation: &str, arguments: Arguments<'_>, expected: &[Numbers], inputs: usize) {
    same_known(operation, arguments, expected);
    for input in 0..inputs {
        match in_a_graph(operation, arguments, input) {
            Ok(Some(found)) => assert_same(&format!("{operation} of {input}"), &found, expected),
            other => panic!("{operation} of {input}: {other:?}"),
        }
    }
}

fn reason(refusal: Refusal) -> String {
    match refusal {
        Refusal::Reason(reason) | Refusal::NoRule(reason) => reason,
        Refusal::Model(error) => error.to_string(),
    }
}

/// The call is refused, and the reason says this.
fn refused(operation: &str, arguments: Arguments<'_>, why: &str) {
    match known(operation, arguments) {
        Ok(found) => panic!("{operation} is taken: {found:?}"),
        Err(refusal) => {
            let reason = reason(refusal);
            assert!(reason.contains(why), "{operation}: {reason}");
        }
    }
}

/// The shape of the result in a program whose batch of 4 is traced for one example.
fn for_one(operation: &str, arguments: Arguments<'_>, filed: Option<&[usize]>) -> Vec<usize> {
    let call = Call::new(operation, arguments.to_vec(), Some(4), filed.map(<[usize]>::to_vec));
    match rules::rule(operation) {
        Some(Rule::One(rule)) => rule(&mut Tracer::default(), &call).expect("a tensor").shape,
        other => panic!("{operation}: {other:?}"),
    }
}

#[test]
fn no_operation_has_two_rules() {
    let mut names: Vec<&str> =
        FAMILIES.iter().flat_map(|(_, rules)| rules.iter().map(|(name, _)| *name)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
