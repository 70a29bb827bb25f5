//! What a rule is: a call of an operation goes in, its results come out. Written by the families,
//! carried out by the run.

use crate::trace::{Ruled, Traced, Tracer, call::Call};

/// How the results of a call follow from its arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// One tensor.
    One(fn(&mut Tracer, &Call) -> Ruled<Traced>),
    /// Several tensors.
    Many(fn(&mut Tracer, &Call) -> Ruled<Vec<Traced>>),
    /// A number.
    Number(fn(&Call) -> Ruled<f64>),
    /// A check of the program that says nothing about values.
    Nothing,
}
