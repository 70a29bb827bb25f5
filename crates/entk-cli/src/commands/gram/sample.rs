//! What `gram` works on: flags come in; inputs and targets go out, each checked with a message that
//! names the file, and counted before it is read. Called by its main.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use entk::{data::embedded, models::Network};
use entk_cli::{
    InputHeader, KernelChoice, LabelTargets, Labels, NetworkSource, Run, ensure_input, read_inputs,
    say,
};

use crate::commands::gram::flags::Flags;

/// Images taken from the embedded slice where --n says nothing.
const EMBEDDED_N: usize = 1_000;

/// Classes of the embedded slice.
const EMBEDDED_CLASSES: usize = 10;

/// The network for the inputs of the flags, found from the headers of their files. Refused where
/// parameters and inputs, which are not read yet, do not fit the memory.
pub fn network(networks: &NetworkSource, flags: &Flags) -> Result<Network> {
    let (input, n) = match &flags.inputs {
        Some(path) => {
            let header = InputHeader::read(networks, path, flags.layout)?;
            let n = header.first(flags.n)?;
            (header.input, n)
        }
        None => (embedded_input(networks)?, flags.n.unwrap_or(EMBEDDED_N)),
    };
    let network = networks.network(&input, flags.activation.into())?;
    let dtype = DType::from(flags.dtype);
    let numbers = input.iter().fold(n as u64, |numbers, size| numbers.saturating_mul(*size as u64));
    let bytes = numbers.saturating_mul(dtype.size_in_bytes() as u64);
    networks.ensure_memory(&network, bytes, flags.max_memory)?;
    if let Some(cross) = &flags.cross {
        let header = InputHeader::read(networks, cross, flags.layout)?;
        ensure_input(header.input == input, || {
            format!(
                "--cross {}: expected inputs of shape {input:?} as those of --inputs, found {:?}",
                cross.display(),
                header.input
            )
        })?;
    }
    Ok(network)
}

fn embedded_input(networks: &NetworkSource) -> Result<Vec<usize>> {
    let (channels, height, width) = embedded()?.train.images().image_shape();
    let input = vec![channels, height, width];
    let advice = "the embedded slice of Fashion-MNIST does not fit; give --inputs FILE";
    networks.ensure_input(&input).context(advice)?;
    Ok(input)
}

/// Inputs, examples first, and labels where there are any.
pub struct Sample {
    pub inputs: Tensor,
    labels: Option<Labels>,
}

impl Sample {
    /// The inputs on `device`; of files for a dry run as many zeros, which take no memory before
    /// they are read.
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
        embedded_input(networks)?;
        let (split, _) = embedded()?.standardized()?;
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
        let header = InputHeader::read(networks, path, flags.layout)?;
        let (count, n) = (header.count, header.first(flags.n)?);
        let labels = flags.labels.as_deref().map(|labels| Labels::beside(path, labels, count));
        let labels = labels.transpose()?.map(|labels| labels.first(n));
        let inputs = match flags.dry_run {
            true => header.zeros(networks, n)?,
            false => read_inputs(run, networks, path, flags.layout, flags.n)?.0,
        };
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
