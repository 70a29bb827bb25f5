//! Figures 3 (ResNet18), 13 (MLP) and 14 (LeNet5): how long a network trains on an eigenfunction of
//! its kernel, and how far its parameters move, against the index of the eigenfunction.

#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use entk_examples::{
    Bands, DataPool, Defaults, Experiment, FigureFlags, INDICES, IndexList, ModelName, Run, Size,
    indices, last_epoch, parse_flags,
    plot::{Axis, Baseline, Figure, FigureGrid, Series},
};
use serde::Serialize;

/// Training time and distance of a network on the eigenfunctions of its kernel (Figures 3, 13, 14).
#[derive(Parser, Serialize)]
#[command(name = "fig03", version)]
struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    figure: FigureFlags,

    /// Eigenfunctions, counted from 1, by falling eigenvalue [default:
    /// 1,2,5,10,20,50,100,200,500,1000, as far as there are]
    #[arg(long, value_name = "LIST")]
    indices: Option<IndexList>,

    /// Loss over all training images that ends the training time
    #[arg(long, value_name = "LOSS", default_value_t = 0.01)]
    threshold: f64,
}

/// One task and seed.
#[derive(Serialize, Clone, Copy)]
struct Row {
    /// Index of the eigenfunction, from 1; 0 is the class task.
    index: usize,
    seed: u64,
    /// Epochs until the loss was at most the threshold; none if it never was.
    convergence_epoch: Option<usize>,
    distance: f64,
    cosine_distance: Option<f64>,
    train_loss: f64,
    test_accuracy: f64,
}

fn main() -> Result<()> {
    let flags: Flags = parse_flags(&Defaults {
        model: ModelName::Mlp,
        train: Size::new(3_000, 1_000).for_resnet18(1_500),
        test: Size::new(1_000, 500),
        epochs: Size::new(100, 100).for_resnet18(15),
        ..Defaults::default()
    });
    let common = &flags.figure.common;
    let mut run = common.start("fig03")?;
    let source = DataPool::load(common)?;
    let rows = flags.figure.rows(&mut run, "tasks", |run, figure| {
        one_seed(run, &flags, figure, &source.experiment(&figure.common)?)
    })?;
    run.save_figure("fig03", &figure(&flags, &rows)?)?;
    let results = serde_json::json!({
        "origin": source.origin(),
        "not_converged": rows.iter().filter(|row| row.convergence_epoch.is_none()).count(),
        "tasks": rows.len(),
    });
    run.finish(common.seed, &flags, &results)?;
    Ok(())
}

fn one_seed(
    run: &mut Run,
    flags: &Flags,
    figure: &FigureFlags,
    experiment: &Experiment,
) -> Result<Vec<Row>> {
    let indices = indices(flags.indices.as_ref(), &INDICES, experiment.labels.len())?;
    let last = indices.last().copied().unwrap_or(1);
    let pairs = experiment.kernel(run)?.eigenpairs(run, last)?;
    let tasks = experiment.tasks(&pairs, &indices)?;
    let fits = experiment.networks(run, &tasks, &figure.sgd())?;
    let rows = tasks.iter().zip(&fits).map(|(task, fit)| {
        let (end, train, test) = last_epoch(&fit.history)?;
        Ok(Row {
            index: task.index,
            seed: figure.common.seed,
            convergence_epoch: fit.history.convergence_epoch(flags.threshold),
            distance: end.distance.l2,
            cosine_distance: end.distance.cosine,
            train_loss: train.loss,
            test_accuracy: test.accuracy,
        })
    });
    rows.collect()
}

fn figure(flags: &Flags, rows: &[Row]) -> Result<FigureGrid> {
    let (common, limit) = (&flags.figure.common, flags.figure.common.epochs);
    let epochs = |row: &Row| Some(row.convergence_epoch.unwrap_or(limit) as f64);
    let label = format!("epochs to a loss of {}", flags.threshold);
    let panels = vec![
        panel(flags, rows, Axis::linear(label), epochs)?,
        panel(flags, rows, Axis::linear("l2 distance"), |row| Some(row.distance))?,
        panel(flags, rows, Axis::linear("cosine distance"), |row| row.cosine_distance)?,
    ];
    let never = rows.iter().filter(|row| row.convergence_epoch.is_none()).count();
    let never = format!(
        "{never} of {} trainings did not reach the loss and are drawn at {limit}.",
        rows.len()
    );
    let note = format!("{} {never}", flags.figure.note());
    Ok(FigureGrid::row(panels).title(common.title()).note(note))
}

/// One measure against the index, and its value on the class task as a dashed line.
fn panel(
    flags: &Flags,
    rows: &[Row],
    axis: Axis,
    value: impl Fn(&Row) -> Option<f64>,
) -> Result<Figure> {
    let points = rows.iter().filter_map(|row| Some((row.index, value(row)?)));
    let (eigen, class) = Bands::of_tasks(points)?;
    Ok(Figure::new(Axis::log("eigenfunction index"), axis)
        .series(Series::from_bands("eigenfunctions", &eigen))
        .baseline(Baseline::horizontal(flags.figure.common.data.class_task(), class)))
}
