//! The arguments of one operation of a program, by their names in PyTorch's schema. Rules read
//! them; one that no rule has read is refused, so that nothing is ignored in silence.

use std::cell::RefCell;

use crate::{
    archive::Elements,
    trace::{MOST_ENTRIES, Refusal, Ruled, Traced},
};

/// An argument with its values found.
#[derive(Debug, Clone)]
pub(crate) enum Bound {
    None,
    Tensor(Traced),
    Tensors(Vec<Traced>),
    OptionalTensors(Vec<Option<Traced>>),
    Int(i64),
    Ints(Vec<i64>),
    Float(f64),
    Floats(Vec<f64>),
    Bool(bool),
    Text(String),
    ElementType(u64),
    Placement,
}

/// One operation with its arguments.
#[derive(Debug)]
pub(crate) struct Call<'p> {
    /// Without the name space, as `conv2d.default`.
    pub(crate) operation: &'p str,
    arguments: Vec<(&'p str, Bound)>,
    read: RefCell<Vec<&'p str>>,
    /// The batch that a file without a free one was written with, where it is to be another.
    pub(crate) rebatch: Option<usize>,
    /// Shape of the result in the file.
    pub(crate) filed: Option<Vec<usize>>,
}

macro_rules! scalar {
    ($(#[$doc:meta])* $name:ident, $or:ident, $type:ty, $($pattern:pat => $value:expr),+) => {
        $(#[$doc])*
        pub(crate) fn $or(&self, name: &str, default: $type) -> Ruled<$type> {
            match self.argument(name) {
                None | Some(Bound::None) => Ok(default),
                $(Some($pattern) => Ok($value),)+
                Some(other) => Err(unexpected(name, stringify!($type), other)),
            }
        }

        $(#[$doc])*
        #[allow(dead_code)]
        pub(crate) fn $name(&self, name: &str) -> Ruled<$type> {
            match self.argument(name) {
                $(Some($pattern) => Ok($value),)+
                Some(other) => Err(unexpected(name, stringify!($type), other)),
                None => Err(missing(name)),
            }
        }
    };
}

impl<'p> Call<'p> {
    pub(crate) fn new(
        operation: &'p str,
        arguments: Vec<(&'p str, Bound)>,
        rebatch: Option<usize>,
        filed: Option<Vec<usize>>,
    ) -> Self {
        Self { operation, arguments, read: RefCell::default(), rebatch, filed }
    }

    /// The name without its overload.
    pub(crate) fn base(&self) -> &'p str {
        self.operation.split('.').next().unwrap_or_default()
    }

    fn argument(&self, name: &str) -> Option<&Bound> {
        let found = self.arguments.iter().find(|(given, _)| *given == name)?;
        self.read.borrow_mut().push(found.0);
        Some(&found.1)
    }

    /// Reads arguments that no value here depends on.
    pub(crate) fn ignore(&self, names: &[&str]) {
        names.iter().for_each(|name| {
            self.argument(name);
        });
    }

    /// Refuses arguments that were not read.
    pub(crate) fn ensure_read(&self) -> Ruled<()> {
        let read = self.read.borrow();
        let unread = |(name, bound): &&(&str, Bound)| {
            !read.contains(name) && !matches!(bound, Bound::None | Bound::Placement)
        };
        match self.arguments.iter().find(unread) {
            None => Ok(()),
            Some((name, bound)) => {
                Err(Refusal::new(format!("argument {name} = {bound:?} is not understood here")))
            }
        }
    }

    pub(crate) fn tensor(&self, name: &str) -> Ruled<&Traced> {
        self.optional_tensor(name)?.ok_or_else(|| missing(name))
    }

    pub(crate) fn optional_tensor(&self, name: &str) -> Ruled<Option<&Traced>> {
        match self.argument(name) {
            None | Some(Bound::None) => Ok(None),
            Some(Bound::Tensor(tensor)) => Ok(Some(tensor)),
            Some(other) => Err(unexpected(name, "tensor", other)),
        }
    }

    /// A tensor, or a number as a tensor without axes.
    pub(crate) fn tensor_or_number(&self, name: &str) -> Ruled<Traced> {
        match self.argument(name).ok_or_else(|| missing(name))? {
            Bound::Tensor(tensor) => Ok(tensor.clone()),
            Bound::Int(number) => Traced::number(Elements::Whole, *number as f64),
            Bound::Float(number) => Traced::number(Elements::Real, *number),
            Bound::Bool(truth) => Traced::number(Elements::Truth, f64::from(u8::from(*truth))),
            other => Err(unexpected(name, "tensor or number", other)),
        }
    }

    pub(crate) fn tensors(&self, name: &str) -> Ruled<&[Traced]> {
        match self.argument(name).ok_or_else(|| missing(name))? {
            Bound::Tensors(tensors) => Ok(tensors),
            other => Err(unexpected(name, "list of tensors", other)),
        }
    }

    pub(crate) fn optional_tensors(&self, name: &str) -> Ruled<Vec<Option<Traced>>> {
        match self.argument(name).ok_or_else(|| missing(name))? {
            Bound::OptionalTensors(tensors) => Ok(tensors.clone()),
            Bound::Tensors(tensors) => Ok(tensors.iter().cloned().map(Some).collect()),
            other => Err(unexpected(name, "list of tensors", other)),
        }
    }

    scalar!(
        /// A whole number.
        int, int_or, i64, Bound::Int(number) => *number
    );
    scalar!(
        /// A real number.
        float, float_or, f64,
        Bound::Float(number) => *number,
        Bound::Int(number) => *number as f64,
        Bound::Bool(truth) => f64::from(u8::from(*truth))
    );
    scalar!(
        /// A truth value.
        bool, bool_or, bool, Bound::Bool(truth) => *truth
    );

    /// A text.
    pub(crate) fn text_or(&self, name: &str, default: &str) -> Ruled<String> {
        match self.argument(name) {
            None | Some(Bound::None) => Ok(default.to_owned()),
            Some(Bound::Text(text)) => Ok(text.clone()),
            Some(other) => Err(unexpected(name, "text", other)),
        }
    }

    /// Whole numbers, if they are given; one stands for a list of itself.
    pub(crate) fn optional_ints(&self, name: &str) -> Ruled<Option<Vec<i64>>> {
        let list = match self.argument(name) {
            None | Some(Bound::None) => return Ok(None),
            Some(Bound::Ints(list)) => list.clone(),
            Some(Bound::Int(number)) => vec![*number],
            Some(other) => return Err(unexpected(name, "list of whole numbers", other)),
        };
        match list.iter().find(|number| number.unsigned_abs() > MOST_ENTRIES as u64) {
            None => Ok(Some(list)),
            Some(number) => Err(Refusal::new(format!("{name}: {number} is no size"))),
        }
    }

    /// A whole number of the size of an axis.
    pub(crate) fn small_int_or(&self, name: &str, default: i64) -> Ruled<i64> {
        let list = self.optional_ints(name)?.unwrap_or_default();
        Ok(list.first().copied().unwrap_or(default))
    }

    pub(crate) fn ints(&self, name: &str) -> Ruled<Vec<i64>> {
        self.optional_ints(name)?.ok_or_else(|| missing(name))
    }

    /// Numbers from 0 on for each of `axes` axes; one stands for all, none or an empty list for the
    /// default.
    pub(crate) fn per_axis(&self, name: &str, axes: usize, default: usize) -> Ruled<Vec<usize>> {
        let list = self.optional_ints(name)?.unwrap_or_default();
        let number = |number: &i64| {
            let refused = || Refusal::new(format!("{name} = {list:?}: no sizes from 0 on"));
            let number = usize::try_from(*number).ok().filter(|number| *number <= MOST_ENTRIES);
            number.ok_or_else(refused)
        };
        let list = list.iter().map(number).collect::<Ruled<Vec<_>>>()?;
        match list.as_slice() {
            [] => Ok(vec![default; axes]),
            [one] => Ok(vec![*one; axes]),
            many if many.len() == axes => Ok(list),
            _ => Err(Refusal::new(format!("{name} = {list:?} is not one for each of {axes} axes"))),
        }
    }

    /// A number of things.
    pub(crate) fn count(&self, name: &str, default: usize) -> Ruled<usize> {
        Ok(self.per_axis(name, 1, default)?[0])
    }

    /// Real numbers, if they are given.
    pub(crate) fn optional_floats(&self, name: &str) -> Ruled<Option<Vec<f64>>> {
        match self.argument(name) {
            None | Some(Bound::None) => Ok(None),
            Some(Bound::Floats(list)) => Ok(Some(list.clone())),
            Some(other) => Err(unexpected(name, "list of numbers", other)),
        }
    }

    /// Kind of the numbers of an element type, if one is given.
    pub(crate) fn elements(&self, name: &str) -> Ruled<Option<Elements>> {
        match self.argument(name) {
            None | Some(Bound::None) => Ok(None),
            Some(Bound::ElementType(code)) => match Elements::of_code(*code) {
                Some((elements, _)) => Ok(Some(elements)),
                None => Err(Refusal::new(format!("element type of code {code} is not known here"))),
            },
            Some(other) => Err(unexpected(name, "element type", other)),
        }
    }

    /// An axis of a tensor of so many, counted from the end where it is below zero.
    pub(crate) fn axis_or(&self, name: &str, default: i64, rank: usize) -> Ruled<usize> {
        axis_of(self.int_or(name, default)?, rank)
    }

    /// Axes, if they are given.
    pub(crate) fn optional_axes(&self, name: &str, rank: usize) -> Ruled<Option<Vec<usize>>> {
        let Some(list) = self.optional_ints(name)? else { return Ok(None) };
        list.into_iter().map(|axis| axis_of(axis, rank)).collect::<Ruled<_>>().map(Some)
    }
}

/// The number of an axis, counted from the end where it is below zero.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Ruled<usize> {
    let from_front = if axis < 0 { axis + rank as i64 } else { axis };
    match usize::try_from(from_front) {
        Ok(found) if found < rank => Ok(found),
        _ => Err(Refusal::new(format!("axis {axis} of a tensor of {rank} axes"))),
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new(format!("argument {name} is missing"))
}

fn unexpected(name: &str, expected: &str, got: &Bound) -> Refusal {
    Refusal::new(format!("argument {name}: expected a {expected}, got {got:?}"))
}
