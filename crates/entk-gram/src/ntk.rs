//! Which kernel: a model at its parameters on its inputs, and what is contracted. Made and checked
//! by [`Assembly`](crate::Assembly); plans, engines and stores read it and ask it for gradient
//! factors.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use candle_core::{DType, Tensor};
use entk_device::memory::ensure;
use entk_models::{
    Factor, InputKind, Model, ModelError, ParamKind, ParamSpec, Params, ensure_finite,
};
use entk_spectral::EntryType;
use rayon::prelude::*;

use crate::{
    config::{Accumulate, GramConfig, Outputs},
    error::{GramError, Result},
    factors::{
        form::FactorSizes,
        outputs::{all_sizes, of_outputs},
    },
};

/// Examples and numbers checked for NaN and infinity at a time, so that no second copy of a large
/// set is made.
const CHECKED: usize = 1024;
const CHECKED_NUMBERS: usize = 4 << 20;
/// Examples that the model is verified on at most.
const VERIFIED: usize = 4;

/// Takes the number of a group of outputs and their factors in a micro-batch, layer by layer: one
/// of each layer, or with [`Outputs::Full`] one for each output of the group.
pub(crate) type OutputSink<'a> = dyn FnMut(usize, Vec<Vec<Factor>>) -> Result<()> + 'a;

/// A type of entries as eigensolvers name it.
pub(crate) fn entry_type(dtype: DType) -> EntryType {
    if dtype == DType::F64 { EntryType::F64 } else { EntryType::F32 }
}

/// A kernel, not yet computed.
#[derive(Clone)]
pub(crate) struct Ntk<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) params: Params,
    pub(crate) inputs: Tensor,
    pub(crate) config: GramConfig,
    pub(crate) stop: Option<&'a AtomicBool>,
    /// Numbers of the inputs of which these are a copied part, held beside it; 0 if they are all.
    pub(crate) held_inputs: usize,
    /// Numbers of all values of one example.
    pub(crate) values: usize,
    /// Bytes of a sweep on a GPU, whatever the examples and for each; none where not measured.
    pub(crate) sweep_cost: OnceLock<Option<[u64; 2]>>,
    layers: OnceLock<Vec<FactorSizes>>,
}

impl<'a> Ntk<'a> {
    /// Checks settings and inputs, and on a few examples that gradients which the model leaves out
    /// as exactly zero are so.
    pub(crate) fn new(
        model: &'a dyn Model,
        params: &Params,
        inputs: &Tensor,
        config: &GramConfig,
    ) -> Result<Self> {
        config.check()?;
        check_layers(model, config)?;
        check_outputs(model, config.outputs)?;
        check_inputs(inputs)?;
        if !matches!(params.dtype(), DType::F32 | DType::F64) {
            return Err(GramError::DType(params.dtype()));
        }
        let inputs = as_read(inputs, model)?;
        check_shape(model, &inputs)?;
        let values = model.network().summary().values();
        let verified = 2 * VERIFIED.min(inputs.dim(0)?) as u64;
        let bytes = verified.saturating_mul((values * params.dtype().size_in_bytes()) as u64);
        ensure(
            "a sweep of a few examples",
            bytes,
            None,
            "use smaller inputs or a narrower network",
        )?;
        model.verify(params, &inputs)?;
        Ok(Self {
            model,
            params: params.clone(),
            inputs,
            config: config.clone(),
            stop: None,
            held_inputs: 0,
            values,
            sweep_cost: OnceLock::new(),
            layers: OnceLock::new(),
        })
    }

    /// Parameters and inputs elsewhere: on another device, in another type.
    pub(crate) fn moved(&self, params: Params, inputs: Tensor) -> Self {
        let (config, layers) = (self.config.clone(), self.layers.clone());
        let sweep_cost = self.sweep_cost.clone();
        let Self { model, stop, held_inputs, values, .. } = *self;
        Self { model, params, inputs, config, stop, held_inputs, values, sweep_cost, layers }
    }

    /// The element type of the kernel.
    pub(crate) fn dtype(&self) -> DType {
        match self.config.accumulate {
            Accumulate::F64 => DType::F64,
            Accumulate::Native => self.params.dtype(),
        }
    }

    /// Rows of the kernel that an example has.
    pub(crate) fn rows_per_example(&self) -> usize {
        self.config.outputs.rows_per_example(self.model.outputs())
    }

    /// Rows of the kernel for these inputs: N, or N C for [`Outputs::Full`].
    pub(crate) fn rows_of(&self, inputs: &Tensor) -> Result<usize> {
        let (n, per) = (inputs.dim(0)?, self.rows_per_example());
        n.checked_mul(per).ok_or(GramError::TooLarge { rows: n, cols: per })
    }

    /// Rows of the kernel.
    pub(crate) fn rows(&self) -> Result<usize> {
        self.rows_of(&self.inputs)
    }

    /// Numbers of one input.
    pub(crate) fn example_len(&self) -> Result<usize> {
        Ok(self.inputs.elem_count() / self.inputs.dim(0)?)
    }

    /// The layers with a gradient, last first, as the first sweep showed them, or one of a single
    /// example shows them now; for a trace over outputs once for each group of them.
    pub(crate) fn layers(&self) -> Result<&[FactorSizes]> {
        if self.layers.get().is_none() {
            let one = self.inputs.narrow(0, 0, 1)?;
            self.sweep(&one, Some(&[0]), &mut |_, _| Ok(()))?;
        }
        Ok(self.layers.get().map_or(&[], Vec::as_slice))
    }

    /// [`GramError::Stopped`] once the caller has asked for it.
    pub(crate) fn check_stop(&self) -> Result<()> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(GramError::Stopped),
            _ => Ok(()),
        }
    }

    /// Sweeps a micro-batch, and hands over the factors of one group of outputs after the other: of
    /// all groups, or of those asked for.
    pub(crate) fn sweep(
        &self,
        batch: &Tensor,
        wanted: Option<&[usize]>,
        sink: &mut OutputSink<'_>,
    ) -> Result<()> {
        let sweep = self.model.sweep(&self.params, batch)?;
        ensure_finite(sweep.outputs(), "model outputs")?;
        let (kernel, outputs, groups) =
            (self.config.outputs, self.model.outputs(), self.output_groups());
        for (at, range) in groups.iter().enumerate() {
            if wanted.is_some_and(|wanted| !wanted.contains(&at)) {
                continue;
            }
            let includes = |name: &str| self.config.includes(name);
            let layers = of_outputs(&sweep, kernel, range.clone(), includes)?;
            self.layers.get_or_init(|| all_sizes(&layers, kernel, &groups, outputs));
            let contracted = layers.into_iter().map(|layer| layer.contracted(kernel, at, outputs));
            sink(at, contracted.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())?;
        }
        Ok(())
    }

    /// Consecutive outputs whose factors are at hand at the same time; one group for a kernel of
    /// one output or of their sum.
    pub(crate) fn output_groups(&self) -> Vec<Range<usize>> {
        let (count, at_once) = (self.swept_outputs(), self.outputs_at_once());
        let group = |start: usize| start..(start + at_once).min(count);
        (0..count).step_by(at_once).map(group).collect()
    }

    /// Outputs with a pass backward of their own.
    pub(crate) fn swept_outputs(&self) -> usize {
        match self.config.outputs {
            Outputs::Trace | Outputs::Full => self.model.outputs(),
            Outputs::SumOfLogits | Outputs::One(_) => 1,
        }
    }
}

/// Refuses names of layers that are not those of trained weights.
fn check_layers(model: &dyn Model, config: &GramConfig) -> Result<()> {
    let is_weight =
        |spec: &ParamSpec| spec.kind == ParamKind::Trainable && !spec.name.ends_with(".bias");
    let specs = model.specs().into_iter().filter(is_weight);
    let weights: Vec<String> = specs.map(|spec| spec.name).collect();
    match config.layers.iter().find(|layer| !weights.contains(layer)) {
        None => Ok(()),
        Some(name) => Err(GramError::Layer { name: name.clone(), weights }),
    }
}

/// Refuses inputs of another shape than the model's, with the shape of the whole set.
pub(crate) fn check_shape(model: &dyn Model, inputs: &Tensor) -> Result<()> {
    let (expected, found) = (model.input_shape(), inputs.dims());
    if found.get(1..) == Some(expected) {
        return Ok(());
    }
    let sizes: Vec<String> = expected.iter().map(|size| format!(", {size}")).collect();
    Err(ModelError::shape("inputs", format!("(N{})", sizes.concat()), found).into())
}

/// Refuses an output that the model does not have.
fn check_outputs(model: &dyn Model, kernel: Outputs) -> Result<()> {
    match (kernel, model.outputs()) {
        (Outputs::One(asked), outputs) if asked >= outputs => {
            Err(ModelError::NoOutput { asked, outputs }.into())
        }
        _ => Ok(()),
    }
}

/// Ids of any integer type as u32, where the model reads ids.
pub(crate) fn as_read(inputs: &Tensor, model: &dyn Model) -> Result<Tensor> {
    let are_ids = inputs.dtype().is_int() && model.network().input_kind() == InputKind::Ids;
    Ok(if are_ids { inputs.to_dtype(DType::U32)? } else { inputs.clone() })
}

/// Refuses an empty set and NaN or infinity in it.
pub(crate) fn check_inputs(inputs: &Tensor) -> Result<()> {
    if inputs.elem_count() == 0 {
        return Err(GramError::Setting { field: "number of examples", got: 0, least: 1 });
    }
    let n = inputs.dim(0)?;
    let example = inputs.elem_count() / n;
    if inputs.dtype().is_int() {
        return Ok(());
    }
    let at_once = (CHECKED_NUMBERS / example.max(1)).clamp(1, CHECKED);
    let check = |start: usize| {
        let block = inputs.narrow(0, start, at_once.min(n - start))?;
        ensure_finite(&block, "inputs").map_err(|error| match error {
            ModelError::NonFinite { what, index, value } => {
                ModelError::NonFinite { what, index: index + start * example, value }
            }
            other => other,
        })
    };
    let starts: Vec<usize> = (0..n).step_by(at_once).collect();
    if !inputs.device().is_cpu() {
        return Ok(starts.into_iter().try_for_each(check)?); // one thread talks to a device
    }
    // The first error is the one that is told.
    let results: Vec<_> = starts.into_par_iter().map(check).collect();
    Ok(results.into_iter().collect::<std::result::Result<(), ModelError>>()?)
}
