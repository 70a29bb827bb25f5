//! What `train` learns from: flags come in; a network at its start, inputs and targets go out, of a
//! data set, of synthetic data or of a user's files. Called by its main.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Tensor;
use entk::{
    models::{Activation, Model, Network, Params},
    spectral::BinaryTarget,
    train::{Examples, Targets},
};
use entk_cli::{
    CommonFlags, DataPool, Directions, Experiment, InputHeader, Labels, NetworkSource, Run,
    TargetRule, ensure_input, read_inputs, refused,
};

use crate::commands::train::flags::{Flags, TaskName};

/// A network and what it is trained on.
pub struct TrainingData {
    pub network: Network,
    pub theta0: Params,
    /// Training inputs first, then test inputs.
    pub inputs: Tensor,
    /// How many of them are training inputs.
    pub train: usize,
    /// The targets of all of them.
    pub targets: Targets,
    /// Where they come from.
    pub origin: String,
    /// The rule from labels to targets, of a user's own.
    pub rule: Option<TargetRule>,
}

impl TrainingData {
    /// What the flags ask for.
    pub fn read(run: &Run, flags: &Flags) -> Result<Self> {
        match (&flags.own.inputs, &flags.own.labels) {
            (Some(inputs), Some(labels)) => Self::of_files(run, flags, inputs, labels),
            _ => Self::of_task(run, flags),
        }
    }

    /// Training and, where there are any, test examples.
    pub fn examples(&self) -> Result<(Examples, Option<Examples>)> {
        let n = self.targets.count();
        let part = |from: usize, to: usize| -> Result<Examples> {
            let indices: Vec<u32> = (from..to).map(u32::try_from).collect::<Result<_, _>>()?;
            let inputs = self.inputs.narrow(0, from, to - from)?;
            Ok(Examples::new(inputs, self.targets.select(&indices))?)
        };
        let test = (self.train < n).then(|| part(self.train, n)).transpose()?;
        Ok((part(0, self.train)?, test))
    }

    fn of_files(run: &Run, flags: &Flags, inputs: &Path, labels: &Path) -> Result<Self> {
        let (own, device) = (&flags.own, flags.common.device.open()?);
        let networks =
            NetworkSource::open(run, &flags.common.network, flags.dtype.into(), &device)?;
        let read = |inputs: &Path, labels: &Path| -> Result<(Tensor, Labels)> {
            let (read, count) = read_inputs(run, &networks, inputs, own.layout, None)?;
            Ok((read, Labels::beside(inputs, labels, count)?))
        };
        let header = InputHeader::read(&networks, inputs, own.layout)?;
        flags.training.ensure_batch(header.count)?;
        let (seen, labels) = read(inputs, labels)?;
        let network = networks.network(&seen.dims()[1..], Activation::Relu)?;
        let outputs = network.outputs();
        let train = labels.targets(own.targets, outputs)?;
        let rule = train.rule;
        let mut targets = train.for_training(outputs)?;
        let mut inputs = seen;
        if let (Some(test), Some(test_labels)) = (&own.test_inputs, &own.test_labels) {
            let (unseen, test_labels) = read(test, test_labels)?;
            labels.ensure_same_classes(&test_labels)?;
            let test_targets = test_labels.targets(Some(rule), outputs)?.for_training(outputs)?;
            targets = concat(targets, test_targets).context("--test-labels")?;
            inputs = Tensor::cat(&[&inputs, &unseen], 0)
                .with_context(|| format!("--test-inputs {}", test.display()))?;
        }
        Ok(Self {
            theta0: networks.start(&network, flags.common.seed)?,
            network,
            inputs: inputs.to_device(&device)?,
            train: labels.count(),
            targets,
            origin: flags.own.inputs.as_deref().map_or_else(String::new, shown),
            rule: Some(rule),
        })
    }

    fn of_task(run: &Run, flags: &Flags) -> Result<Self> {
        let common = &flags.common;
        flags.training.ensure_batch(common.train)?;
        if flags.task == Some(TaskName::Eigenfunction) {
            common.check_index(flags.index)?;
        }
        if flags.task == Some(TaskName::Nad) {
            return Self::of_direction(run, flags);
        }
        let pool = DataPool::load(run, common)?;
        let origin = pool.origin().to_owned();
        let has_classes = match flags.task {
            Some(task) => task == TaskName::Classes,
            None => pool.network()?.outputs() > 1,
        };
        let experiment =
            if has_classes { pool.class_experiment(common)? } else { pool.experiment(common)? };
        let experiment = experiment.to_dtype(flags.dtype.into())?;
        let labels = match flags.task {
            Some(TaskName::Eigenfunction) => eigenfunction(run, flags, &experiment)?,
            _ => experiment.labels.clone(),
        };
        Self::of_experiment(experiment, labels, origin)
    }

    fn of_direction(run: &Run, flags: &Flags) -> Result<Self> {
        let CommonFlags { network, device, seed, .. } = &flags.common;
        let directions = Directions::find(run, network, &device.open()?, *seed)?;
        let (index, d) = (flags.index, directions.pairs.len());
        ensure_input((1..=d).contains(&index), || {
            format!("--index {index}: directions are counted from 1 to the number of pixels, {d}")
        })?;
        let experiment = directions.experiment(&flags.common, index)?;
        let experiment = experiment.to_dtype(flags.dtype.into())?;
        let labels = experiment.labels.clone();
        let origin = format!("synthetic, separated by direction {index}");
        Self::of_experiment(experiment, labels, origin)
    }

    fn of_experiment(experiment: Experiment, labels: Vec<u8>, origin: String) -> Result<Self> {
        let targets = experiment.targets(&labels)?;
        let Experiment { network, theta0, images: inputs, train, .. } = experiment;
        Ok(Self { network, theta0, inputs, train, targets, origin, rule: None })
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The signs of an eigenfunction of the kernel at the start.
fn eigenfunction(run: &Run, flags: &Flags, experiment: &Experiment) -> Result<Vec<u8>> {
    let index = flags.index;
    let pairs = experiment.kernel(run)?.eigenpairs(run, index)?;
    Ok(BinaryTarget::from_pair(&pairs, index - 1)?.labels().to_vec())
}

/// The targets of training and then of test examples.
fn concat(train: Targets, test: Targets) -> Result<Targets> {
    Ok(match (train, test) {
        (Targets::Binary(a), Targets::Binary(b)) => Targets::Binary([a, b].concat()),
        (Targets::Classes { labels: a, classes }, Targets::Classes { labels: b, .. }) => {
            Targets::classes([a, b].concat(), classes)?
        }
        (Targets::Values { values: a, outputs }, Targets::Values { values: b, .. }) => {
            Targets::values([a, b].concat(), outputs)?
        }
        _ => {
            return Err(refused(
                "--test-labels: targets of another kind than those of --labels; give both alike",
            ));
        }
    })
}
