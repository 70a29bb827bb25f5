//! Beyond the paper: which layers align with a task in training. The alignment ||J^T y||^2 / N^2 of
//! the task that a network is trained on is a sum over its parameters; here it is split by layer,
//! epoch by epoch, for the class task and for the signs of one eigenfunction of the kernel at
//! initialisation.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use entk::{linearize::Jacobian, models::Params};
use entk_examples::{
    Bands, BinaryTask, DataPool, Defaults, Experiment, FigureFlags, ModelName, Run, Size,
    parse_flags,
    plot::{Axis, Figure, FigureGrid, Series},
};
use serde::Serialize;

/// Alignment of a task with the kernel, layer by layer, over the epochs of training on it.
#[derive(Parser, Serialize)]
#[command(name = "layer_alignment", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

    /// The eigenfunction, counted from 1, by falling eigenvalue
    #[arg(long, value_name = "J", default_value_t = 20)]
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
    /// As a part of the whole alignment.
    share: f64,
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::LeNet5,
        train: Size::new(3_000, 1_000).for_resnet18(1_000),
        test: Size::new(1_000, 500),
        epochs: Size::new(100, 60).for_resnet18(15),
        seeds: 3,
        ..Defaults::default()
    });
    let (index, common) = (flags.index, &flags.figure.common);
    common.check_index(index)?;
    let mut run = common.start("layer_alignment")?;
    let source = DataPool::load(common)?;
    let rows = flags.figure.rows(&mut run, "layers", |run, figure| {
        let experiment = source.experiment(&figure.common)?;
        let pairs = experiment.kernel(run)?.eigenpairs(run, index)?;
        let mut rows = Vec::new();
        for task in experiment.tasks(&pairs, &[index])? {
            let snapshots = experiment.snapshots(run, &task, &figure.sgd())?;
            for (epoch, params) in &snapshots.params {
                let layers = layers(run, &experiment, &task, params)?;
                let whole: f64 = layers.iter().map(|(_, alignment)| alignment).sum();
                rows.extend(layers.into_iter().map(|(layer, alignment)| Row {
                    index: task.index,
                    seed: figure.common.seed,
                    epoch: *epoch,
                    layer,
                    alignment,
                    share: alignment / whole,
                }));
            }
        }
        Ok(rows)
    })?;
    run.save_figure("layer_alignment", &figure(&flags, &rows)?)?;
    run.finish(common.seed, &flags, &serde_json::json!({ "origin": source.origin() }))?;
    Ok(())
}

/// Alignment of each layer, in the order of the network: of all parameters up to the first dot of
/// their names.
fn layers(
    run: &mut Run,
    experiment: &Experiment,
    task: &BinaryTask,
    params: &Params,
) -> Result<Vec<(String, f64)>> {
    let images = experiment.images.narrow(0, 0, experiment.train)?;
    let signs = &task.target.signs()[..experiment.train];
    let key = experiment.key("layer-alignments", params, &images)?.with("target", signs)?;
    let cache = run.cache().clone();
    let parameters: Vec<(String, f64)> = cache.value(&key, || {
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

fn figure(flags: &Flags, rows: &[Row]) -> Result<FigureGrid> {
    let common = &flags.figure.common;
    let mut layers: Vec<&str> = rows.iter().map(|row| row.layer.as_str()).collect();
    let mut seen = std::collections::HashSet::new();
    layers.retain(|layer| seen.insert(*layer));
    let panel = |index: usize, title: String| -> Result<Figure> {
        let mut figure = Figure::new(Axis::linear("epoch"), Axis::log("alignment")).title(title);
        for (color, layer) in layers.iter().enumerate() {
            let of_layer = rows.iter().filter(|row| row.index == index && row.layer == *layer);
            let points: Vec<_> = of_layer.map(|row| (row.epoch as f64, row.alignment)).collect();
            let series = Series::from_bands(*layer, &Bands::of_points(&points)?);
            figure = figure.series(series.color(color));
        }
        Ok(figure)
    };
    let panels = vec![
        panel(0, common.data.class_task().to_owned())?,
        panel(flags.index, format!("eigenfunction {}", flags.index))?,
    ];
    Ok(FigureGrid::row(panels).title(common.title()).note(flags.figure.note()))
}
