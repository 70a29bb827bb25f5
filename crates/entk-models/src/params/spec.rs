//! What a network says of each of its tensors: name, shape, initial law, kind. Listed by layers,
//! read where parameters are drawn, loaded or checked.

use candle_core::DType;
use entk_device::memory;

use crate::{
    error::{ModelError, Result},
    params::init::Initializer,
};

/// Whether training changes a tensor through its gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParamKind {
    /// Part of theta.
    Trainable,
    /// A parameter that keeps its value: no part of theta.
    Frozen,
    /// A running statistic of a batch norm: state beside theta.
    Statistic,
}

/// Name, shape and initial law of one tensor of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpec {
    /// Unique name, as in the weight file (`fc1.weight`).
    pub name: String,
    /// Shape; dense weights are (out, in), convolution weights (out, in, height, width).
    pub shape: Vec<usize>,
    /// How it is drawn.
    pub init: Initializer,
    /// Trainable, frozen or statistic.
    pub kind: ParamKind,
}

impl ParamSpec {
    /// A trainable tensor.
    pub fn trainable(name: impl Into<String>, shape: &[usize], init: Initializer) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), init, kind: ParamKind::Trainable }
    }

    /// A running statistic.
    pub fn statistic(name: impl Into<String>, shape: &[usize], init: Initializer) -> Self {
        Self { kind: ParamKind::Statistic, ..Self::trainable(name, shape, init) }
    }

    /// Values from its initial law, row-major: [`Initializer::draw`] under its name.
    pub fn draw(&self, seed: u64) -> Vec<f64> {
        self.init.draw(&self.name, self.elem_count(), seed)
    }

    /// Number of scalars; the largest number there is where they cannot be counted.
    pub fn elem_count(&self) -> usize {
        self.shape.iter().fold(1, |count: usize, size| count.saturating_mul(*size))
    }
}

/// Refuses tensors that memory cannot hold beside what the process has: all of them in `dtype`, and
/// the largest twice while it is made.
pub(crate) fn ensure_memory(specs: &[ParamSpec], dtype: DType) -> Result<()> {
    let counts = || specs.iter().map(|spec| spec.elem_count() as u64);
    let item = dtype.size_in_bytes() as u64;
    let all = counts().fold(0, u64::saturating_add).saturating_mul(item);
    let drawn = counts().max().unwrap_or(0).saturating_mul(item);
    let what = format!("a set of {} parameters", counts().fold(0, u64::saturating_add));
    let remedy = "use a narrower network, smaller inputs or fewer classes";
    Ok(memory::ensure(&what, all.saturating_add(drawn), None, remedy)?)
}

/// Lists every missing, unexpected and wrongly shaped name of `found` against `expected`.
pub(crate) fn name_differences(
    expected: &[(&str, &[usize])],
    found: &[(&str, &[usize])],
) -> ModelError {
    let shape_of = |list: &[(&str, &[usize])], name: &str| {
        list.iter().find(|(n, _)| *n == name).map(|(_, s)| s.to_vec())
    };
    let (mut missing, mut misshaped) = (Vec::new(), Vec::new());
    for (name, shape) in expected {
        match shape_of(found, name) {
            None => missing.push((*name).to_string()),
            Some(got) if got != *shape => {
                let is_turned = shape.len() > 1 && got.iter().rev().eq(shape.iter());
                let why = if is_turned { ", its axes reversed: transpose it" } else { "" };
                misshaped.push(format!("{name}: expected {shape:?}, got {got:?}{why}"));
            }
            Some(_) => {}
        }
    }
    let unexpected = (found.iter())
        .filter(|(name, _)| shape_of(expected, name).is_none())
        .map(|(name, _)| (*name).to_string())
        .collect();
    ModelError::Names { missing, unexpected, misshaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_called_reversed_where_they_are() {
        let said = |expected: &[usize], found: &[usize]| {
            name_differences(&[("w", expected)], &[("w", found)]).to_string()
        };
        assert!(said(&[2, 3], &[3, 2]).contains("axes reversed"));
        for (expected, found) in
            [(&[2, 3][..], &[2, 4][..]), (&[3], &[2]), (&[2, 3, 4], &[4, 2, 3])]
        {
            let said = said(expected, found);
            assert!(said.contains("expected [") && !said.contains("reversed"), "{said}");
        }
    }
}
