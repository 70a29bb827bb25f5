//! What `gram` works on: flags come in; inputs and targets go out, each checked with a message that
//! names the file. Called by its main.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use entk::data::embedded;
use entk_examples::{
    KernelChoice, LabelTargets, Labels, NetworkSource, Run, ensure_input, read_inputs, say,
};

use crate::flags::Flags;

/// Images taken from the embedded slice where --n says nothing.
const EMBEDDED_N: usize = 1_000;

/// Classes of the embedded slice.
const EMBEDDED_CLASSES: usize = 10;

/// Inputs, examples first, and labels where there are any.
pub struct Sample {
    pub inputs: Tensor,
    labels: Option<Labels>,
}

impl Sample {
    /// The inputs on `device`.
    pub fn read(
        run: &Run,
        flags: &Flags,
        networks: &NetworkSource,
        device: &Device,
    ) -> Result<Self> {
        let sample = match &flags.inputs {
            Some(path) => Self::of_files(run, path, flags, networks),
            None => Self::of_embedded(flags, networks),
        }?;
        Ok(Self { inputs: sample.inputs.to_device(device)?, ..sample })
    }

    fn of_embedded(flags: &Flags, networks: &NetworkSource) -> Result<Self> {
        let (split, _) = embedded()?.standardized()?;
        let (channels, height, width) = split.train.images().image_shape();
        networks
            .ensure_input(&[channels, height, width])
            .context("the embedded slice of Fashion-MNIST does not fit; give --inputs FILE.npy")?;
        let count = split.train.images().count();
        let n = flags.n.unwrap_or(EMBEDDED_N);
        ensure_input(n <= count, || {
            format!(
                "--n {n}: the embedded slice has {count} training images; lower --n or give --inputs"
            )
        })?;
        let subset = split.train.stratified_subset(n, flags.seed)?;
        let labels = Labels::of_classes("of the embedded slice", subset.labels());
        let inputs = subset.images().tensor().to_dtype(flags.dtype.into())?;
        Ok(Self { inputs, labels: Some(labels) })
    }

    fn of_files(run: &Run, path: &Path, flags: &Flags, networks: &NetworkSource) -> Result<Self> {
        let (inputs, count) = read_inputs(run, networks, path, flags.layout.into(), flags.n)?;
        let labels = flags.labels.as_deref().map(|labels| Labels::read(labels, count));
        let labels = labels.transpose()?.map(|labels| labels.first(flags.n.unwrap_or(count)));
        Ok(Self { inputs, labels })
    }

    /// The targets of the labels by --targets, for this kernel.
    pub fn targets(&self, flags: &Flags, kernel: &KernelChoice) -> Result<Option<LabelTargets>> {
        let (rule, classes) = (flags.targets, kernel.classes);
        let Some(labels) = &self.labels else {
            ensure_input(rule.is_none(), || {
                "--targets: there are no labels; give --labels".into()
            })?;
            return Ok(None);
        };
        let is_embedded = flags.inputs.is_none() && rule.is_none();
        if is_embedded && classes != 1 && classes != EMBEDDED_CLASSES {
            say(format_args!(
                "{classes} outputs, and the embedded slice has ten classes: no alignments and \
                 energies; --targets would name some"
            ));
            return Ok(None);
        }
        let targets = labels.targets(rule, classes)?;
        let (rows, columns) = (kernel.rows_per_example(), targets.columns);
        ensure_input(rows == 1 || rows == columns, || {
            let rule = targets.rule;
            format!(
                "--targets {rule} of {columns} columns: the full kernel of {rows} outputs needs a \
                 target for each; give --targets one-hot, or --outputs trace"
            )
        })?;
        Ok(Some(targets))
    }
}
