//! Beyond the paper: which layers align with a task in training. The alignment ||J^T y||^2 / N^2 of
//! the task that a network is trained on is a sum over its parameters; here it is split by layer,
//! epoch by epoch, for the class task and for the signs of one eigenfunction of the kernel at
//! initialisation.
//!
//! Writes `layers.csv`, the picture `layer_alignment` (SVG, PNG and the numbers drawn) and
//! `record.json`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use entk::linearize::Jacobian;
use entk_cli::{
    Defaults, FigureFlags, FigureProgram, Moment, OneSeed, Run, exit, parse_size,
    plot::{Axis, Figure, FigureGrid, Series},
};
use serde::Serialize;

/// Alignment of a task with the kernel, layer by layer, over the epochs of training on it.
#[derive(Args, Clone, Serialize)]
struct Own {
    /// The eigenfunction, counted from 1, by falling eigenvalue
    #[arg(long, value_name = "J", default_value_t = 20, value_parser = parse_size)]
    index: usize,
}

/// One layer after one epoch.
#[derive(Serialize, Clone)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    index: usize,
    seed: u64,
    epoch: usize,
    /// A layer, or for ResNet18 a stage.
    layer: String,
    /// y^T K_l y / N^2 over the training images, K_l the part of this layer's parameters in the
    /// kernel.
    alignment: f64,
    /// Alignment of this layer over that of all layers.
    share: f64,
}

fn main() -> ExitCode {
    exit(draw())
}

fn draw() -> Result<()> {
    let check = |flags: &FigureFlags<Own>| {
        flags.common.check_index(flags.own.index)?;
        flags.ensure_batch()
    };
    FigureProgram::start("layer_alignment", &Defaults::FOLLOWED, check)?
        .draw("layers", one_seed, figure)
}

fn one_seed(seed: &OneSeed<'_, Own>) -> Result<Vec<Row>> {
    seed.along_training(seed.flags.own.index, |moment| {
        let layers = layers(seed.run, moment)?;
        let whole: f64 = layers.iter().map(|(_, alignment)| alignment).sum();
        let row = |(layer, alignment)| Row {
            index: moment.task.index,
            seed: seed.flags.common.seed,
            epoch: moment.epoch,
            layer,
            alignment,
            share: alignment / whole,
        };
        Ok(layers.into_iter().map(row).collect())
    })
}

/// Alignment of each layer, in the order of the network: of all parameters up to the first dot of
/// their names.
fn layers(run: &Run, moment: &Moment<'_>) -> Result<Vec<(String, f64)>> {
    let Moment { experiment, task, params, .. } = *moment;
    let images = experiment.images.narrow(0, 0, experiment.train)?;
    let signs = &task.targets()?.column(0)[..experiment.train];
    let key = experiment.key("layer-alignments", params, &images)?.with("target", signs)?;
    let parameters: Vec<(String, f64)> = run.cache().value(&key, || {
        run.stage("alignments", 1, |_| {
            Ok(Jacobian::new(&experiment.network, params, &images)?.layer_alignments(signs)?)
        })
    })?;
    let mut layers: Vec<(String, f64)> = Vec::new();
    for (name, alignment) in parameters {
        let layer = name.split('.').next().unwrap_or(&name);
        match layers.last_mut() {
            Some((last, sum)) if last == layer => *sum += alignment,
            _ => layers.push((layer.to_owned(), alignment)),
        }
    }
    Ok(layers)
}

fn figure(flags: &FigureFlags<Own>, rows: &[Row]) -> Result<FigureGrid> {
    let common = &flags.common;
    let mut layers: Vec<&str> = rows.iter().map(|row| row.layer.as_str()).collect();
    let mut seen = std::collections::HashSet::new();
    layers.retain(|layer| seen.insert(*layer));
    let panel = |index: usize, title: String| -> Result<Figure> {
        let mut figure = Figure::new(Axis::linear("epoch"), Axis::log("alignment")).title(title);
        for (color, layer) in layers.iter().enumerate() {
            let of_layer = rows.iter().filter(|row| row.index == index && row.layer == *layer);
            let points = of_layer.map(|row| (row.epoch, row.alignment));
            figure = figure.series(Series::of_runs(*layer, points)?.color(color));
        }
        Ok(figure)
    };
    let panels = vec![
        panel(0, common.data.class_task().to_owned())?,
        panel(flags.own.index, format!("eigenfunction {}", flags.own.index))?,
    ];
    Ok(FigureGrid::row(panels).title(common.title()).note(flags.note()))
}
