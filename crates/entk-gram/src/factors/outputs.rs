//! The factors of several outputs of a micro-batch, layer by layer: what a kernel makes of them,
//! and the sizes that follow. In come sweeps of outputs, out go the layers that engines contract.

use std::ops::Range;

use candle_core::Tensor;
use entk_models::{Factor, Sweep};

use crate::{
    config::Outputs,
    error::Result,
    factors::form::{FactorSizes, without_single_token},
};

/// The factors of one layer for consecutive outputs, one each.
#[derive(Debug)]
pub(crate) struct LayerOutputs {
    factors: Vec<Factor>,
    /// Whether its outputs are those of the model, so that the cotangents of output c are 1 there
    /// and 0 elsewhere, for all examples.
    is_head: bool,
}

/// Sweeps some outputs, or their sum, and puts the factors of each layer together.
pub(crate) fn of_outputs(
    sweep: &Sweep<'_>,
    kernel: Outputs,
    outputs: Range<usize>,
    includes: impl Fn(&str) -> bool,
) -> Result<Vec<LayerOutputs>> {
    let mut layers: Vec<LayerOutputs> = Vec::new();
    for output in outputs {
        let u = cotangent(sweep.outputs(), kernel, output)?;
        let factors = sweep.factors(&u)?.into_iter();
        let included = factors.filter(|f| f.names().iter().all(|name| includes(name)));
        for (at, factor) in included.enumerate() {
            let is_head =
                matches!(&factor, Factor::Dense { cotangents, .. } if cotangents.id() == u.id());
            let factor = without_single_token(factor)?;
            match layers.get_mut(at) {
                Some(layer) => layer.factors.push(factor),
                None => layers.push(LayerOutputs { factors: vec![factor], is_head }),
            }
        }
    }
    Ok(layers)
}

/// The cotangent of the outputs, (N, C), whose gradient is that of one output, or of their sum.
fn cotangent(like: &Tensor, kernel: Outputs, output: usize) -> Result<Tensor> {
    let output = match kernel {
        Outputs::SumOfLogits => return Ok(like.ones_like()?),
        Outputs::One(output) => output,
        Outputs::Trace | Outputs::Full => output,
    };
    let (batch, outputs) = like.dims2()?;
    let mut one_hot = vec![0f32; batch * outputs];
    one_hot.iter_mut().skip(output).step_by(outputs).for_each(|u| *u = 1.0);
    Ok(Tensor::from_vec(one_hot, (batch, outputs), like.device())?.to_dtype(like.dtype())?)
}

impl LayerOutputs {
    /// What is contracted: for a trace one factor of all these outputs where they have one input,
    /// else the factor of each output.
    ///
    /// The last dense layer of a trace is `sum_c (e_c . e_c) (a . a' + 1)`: the first group has it
    /// for all outputs, with ones in place of cotangents.
    pub(crate) fn contracted(
        self,
        kernel: Outputs,
        group: usize,
        outputs: usize,
    ) -> Result<Vec<Vec<Factor>>> {
        if kernel != Outputs::Trace {
            return Ok(vec![self.factors]);
        }
        if self.is_head_of(outputs) {
            let head = self.factors.into_iter().take(usize::from(group == 0));
            return head.map(|factor| Ok(vec![with_ones(factor)?])).collect();
        }
        if Factor::have_one_input(&self.factors) {
            return Ok(vec![vec![Factor::side_by_side(&self.factors)?]]);
        }
        Ok(self.factors.into_iter().map(|factor| vec![factor]).collect())
    }

    /// The sizes of what [`contracted`](Self::contracted) gives, for a group of so many of all
    /// outputs.
    fn sizes(
        &self,
        kernel: Outputs,
        group: usize,
        count: usize,
        outputs: usize,
    ) -> Vec<FactorSizes> {
        let Some(first) = self.factors.first() else { return Vec::new() };
        let of_one = FactorSizes { group, ..FactorSizes::of(first) };
        let one_input = Factor::have_one_input(&self.factors);
        match kernel {
            Outputs::Full if one_input => vec![FactorSizes { shared_by: outputs, ..of_one }],
            Outputs::Trace if self.is_head_of(outputs) => {
                vec![of_one; usize::from(group == 0)]
            }
            Outputs::Trace if one_input => vec![of_one.wide(count)],
            Outputs::Trace => vec![of_one; count],
            _ => vec![of_one],
        }
    }

    fn is_head_of(&self, outputs: usize) -> bool {
        self.is_head && outputs > 1
    }
}

/// The sizes of all layers of a kernel, group after group of a trace, from the factors of the
/// first group.
pub(crate) fn all_sizes(
    layers: &[LayerOutputs],
    kernel: Outputs,
    groups: &[Range<usize>],
    outputs: usize,
) -> Vec<FactorSizes> {
    let groups = if kernel == Outputs::Trace { groups } else { &groups[..1.min(groups.len())] };
    let of_group = |(group, range): (usize, &Range<usize>)| {
        let count = range.len();
        layers.iter().flat_map(move |layer| layer.sizes(kernel, group, count, outputs))
    };
    groups.iter().enumerate().flat_map(of_group).collect()
}

/// A dense layer with cotangents 1 of all outputs.
fn with_ones(mut factor: Factor) -> Result<Factor> {
    if let Factor::Dense { cotangents, .. } = &mut factor {
        *cotangents = cotangents.ones_like()?;
    }
    Ok(factor)
}
