//! Predictions with all eigenpairs in memory: ridges, gradient flow and, if asked, a Gaussian
//! process. A problem comes in, tables and pictures are written. Called by main.

use anyhow::Result;
use entk::{
    data::npy,
    predict::{
        Cholesky, CholeskyConfig, Columns, Criterion, RidgePath, SquaredLossFlow,
        class_probabilities, posterior_variance, predict, predict_all,
    },
    spectral::{Eigenpairs, Gram, eigh},
};
use entk_cli::{
    Run,
    plot::{Axis, Figure, FigureGrid, Series},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::predict::{
    flags::Flags,
    problem::Problem,
    quality::{Calibration, Quality},
};

/// The grid of ridges, over the mean of the diagonal: 1e-6 to 10, two a decade.
const RIDGES: i32 = 15;
/// Times of gradient flow that are no flag's: as many over eight decades.
const TIMES: i32 = 33;

/// One ridge, as a line of the table.
#[derive(Serialize)]
struct RidgeRow {
    /// Over the mean of the diagonal.
    ridge: f64,
    absolute_ridge: f64,
    log_likelihood: f64,
    scaled_log_likelihood: f64,
    left_out_accuracy: Option<f64>,
    left_out_mean_square: f64,
    test_accuracy: Option<f64>,
    test_mean_square: f64,
}

/// One time, as a line of the table.
#[derive(Serialize)]
struct TimeRow {
    time: f64,
    train_accuracy: Option<f64>,
    train_mean_square: f64,
    test_accuracy: Option<f64>,
    test_mean_square: f64,
}

/// A problem with its kernel in memory and its tables.
struct Dense<'a> {
    problem: &'a Problem,
    gram: &'a Gram,
    /// The mean of the diagonal.
    unit: f64,
    targets: Columns,
    offset: Option<&'a Columns>,
    test_offset: Option<&'a Columns>,
}

/// Computes and writes everything; returns the numbers of record.json.
pub fn solve(run: &Run, flags: &Flags, problem: &Problem, gram: &Gram) -> Result<Value> {
    let offsets = problem.offsets.as_ref();
    let dense = Dense {
        problem,
        gram,
        unit: gram.trace()? / gram.n() as f64,
        targets: problem.table(&problem.targets)?,
        offset: offsets.map(|[train, _]| train),
        test_offset: offsets.map(|[_, test]| test),
    };
    let pairs = run.stage("eigenpairs", 1, |_| Ok(eigh(gram)?))?;
    let path = RidgePath::new(&pairs, &dense.targets, dense.offset)?;
    let ridge = run.stage("ridges", 1, |_| dense.ridges(run, flags, &pairs, &path))?;
    let times = run.stage("gradient flow", 1, |_| dense.flow(run, flags, &pairs))?;
    let factor = run.stage("cholesky", 1, |_| {
        let config = CholeskyConfig { tolerance: flags.tolerance, ..CholeskyConfig::default() };
        Ok(Cholesky::new(gram, ridge * dense.unit, config)?)
    })?;
    let solution = factor.solve_from(&dense.targets, dense.offset)?;
    let predictions = predict(&problem.cross, &solution.coefficients, dense.test_offset)?;
    write_table(run, "predictions.npy", problem, &predictions)?;
    let amplitude = path.amplitude(factor.ridge())?;
    let process = match &problem.test {
        Some(test) if flags.gp => run.stage("gaussian process", 1, |_| {
            Ok(Some(dense.process(run, &factor, test, &predictions, amplitude)?))
        })?,
        _ => None,
    };
    pictures(run, &times, process.as_ref())?;
    Ok(json!({
        "ridge": ridge,
        "absolute_ridge": factor.ridge(),
        "residual": solution.worst(),
        "refinements": solution.refinements,
        "regression": Quality::new(&predictions, &problem.test_targets),
        "amplitude": amplitude,
        "gaussian_process": process.map(|process| process.record),
        "best_time": best(&times),
        "limit": times.last(),
    }))
}

impl Dense<'_> {
    /// Writes the table of all ridges, and returns the best or that of the flags.
    fn ridges(
        &self,
        run: &Run,
        flags: &Flags,
        pairs: &Eigenpairs,
        path: &RidgePath<'_>,
    ) -> Result<f64> {
        let grid: Vec<f64> = match flags.ridge {
            Some(ridge) => vec![ridge],
            None => self.grid(pairs),
        };
        let absolute: Vec<f64> = grid.iter().map(|ridge| ridge * self.unit).collect();
        let scores = |criterion| Ok::<_, anyhow::Error>(path.select(&absolute, criterion)?);
        let (likely, scaled) =
            (scores(Criterion::Likelihood)?, scores(Criterion::ScaledLikelihood)?);
        let coefficients = path.coefficients(&absolute)?;
        let test = predict_all(&self.problem.cross, &coefficients, self.test_offset)?;
        let rows = (0..grid.len()).map(|k| {
            let test = Quality::new(&test[k], &self.problem.test_targets);
            let left_out = self.left_out(path, absolute[k])?;
            Ok(RidgeRow {
                ridge: grid[k],
                absolute_ridge: absolute[k],
                log_likelihood: likely.scores[k],
                scaled_log_likelihood: scaled.scores[k],
                left_out_accuracy: left_out.accuracy,
                left_out_mean_square: left_out.mean_square,
                test_accuracy: test.accuracy,
                test_mean_square: test.mean_square,
            })
        });
        run.save_table("ridges", &rows.collect::<Result<Vec<_>>>()?)?;
        // Other outputs of an example tell a full kernel about one that is left out.
        let index = match self.problem.rows {
            1 => scores(Criterion::LeaveOneOut)?.index,
            _ => scaled.index,
        };
        Ok(grid[index])
    }

    /// Ridges that lift what round-off has made negative well above zero.
    fn grid(&self, pairs: &Eigenpairs) -> Vec<f64> {
        let least = -10.0 * pairs.values().last().copied().unwrap_or(0.0) / self.unit;
        let ridges = (0..RIDGES).map(|k| 10.0_f64.powf(f64::from(k) / 2.0 - 6.0));
        ridges.filter(|&ridge| ridge > least).collect()
    }

    /// How good predictions of every training example by the others are.
    fn left_out(&self, path: &RidgePath<'_>, ridge: f64) -> Result<Quality> {
        let missed = path.leave_one_out(ridge)?;
        let predicted = self.targets.values().iter().zip(missed.values()).map(|(y, e)| y - e);
        let (rows, cols) = (missed.rows(), missed.cols());
        let predicted = Columns::from_columns(rows, cols, predicted.collect())?;
        Ok(Quality::new(&predicted, &self.problem.targets))
    }

    /// Accuracies along gradient flow, written as a table.
    fn flow(&self, run: &Run, flags: &Flags, pairs: &Eigenpairs) -> Result<Vec<TimeRow>> {
        let examples = self.gram.n() / self.problem.rows;
        let flow = SquaredLossFlow::new(pairs, &self.targets, self.offset, examples)?;
        let times = match flags.times.as_slice() {
            [] => self.times(pairs, examples),
            times => times.to_vec(),
        };
        // The kernel is so many times that of the network's mean output.
        let own: Vec<f64> = times.iter().map(|time| time / self.problem.scale).collect();
        let train = flow.train_outputs(&own)?;
        let test = predict_all(&self.problem.cross, &flow.coefficients(&own)?, self.test_offset)?;
        let rows: Vec<TimeRow> = (times.iter().zip(train.iter().zip(&test)))
            .map(|(&time, (train, test))| {
                let train = Quality::new(train, &self.problem.targets);
                let test = Quality::new(test, &self.problem.test_targets);
                TimeRow {
                    time,
                    train_accuracy: train.accuracy,
                    train_mean_square: train.mean_square,
                    test_accuracy: test.accuracy,
                    test_mean_square: test.mean_square,
                }
            })
            .collect();
        run.save_table("times", &rows)?;
        Ok(rows)
    }

    fn times(&self, pairs: &Eigenpairs, examples: usize) -> Vec<f64> {
        let first = 0.1 * examples as f64 * self.problem.scale / pairs.values()[0];
        let time = |k| first * 10.0_f64.powf(8.0 * f64::from(k) / f64::from(TIMES - 1));
        (0..TIMES).map(time).chain([f64::INFINITY]).collect()
    }

    /// Variances, probabilities of classes, and how well they are calibrated.
    fn process(
        &self,
        run: &Run,
        factor: &Cholesky<'_>,
        test: &Gram,
        predictions: &Columns,
        amplitude: f64,
    ) -> Result<Process> {
        let problem = self.problem;
        let variances = posterior_variance(factor, &problem.cross, &test.diagonal())?;
        let scaled: Vec<f64> = variances.values.iter().map(|v| amplitude * v).collect();
        let shape = [scaled.len() / problem.rows, problem.rows];
        let shape = if problem.rows == 1 { &shape[..1] } else { &shape };
        npy::write(run.folder().file("variances.npy"), shape, &scaled)?;
        let columns = problem.targets.columns;
        let calibration = (columns > 1).then(|| {
            // Of a new observation; a full kernel has a variance for each output, whose mean it is.
            let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
            let noise = amplitude * factor.ridge();
            let variances = scaled.chunks_exact(problem.rows).map(|v| mean(v) + noise);
            let variances: Vec<f64> = variances.collect();
            let means = Columns::from_rows(variances.len(), columns, &predictions.to_rows())?;
            let probabilities = class_probabilities(&means, &variances)?.to_rows();
            let shape = [variances.len(), columns];
            npy::write(run.folder().file("probabilities.npy"), &shape, &probabilities)?;
            Calibration::new(&probabilities, &problem.test_targets)
        });
        let calibration = calibration.transpose()?;
        let mean = scaled.iter().sum::<f64>() / scaled.len() as f64;
        let record = json!({
            "mean_variance": mean,
            "noise": amplitude * factor.ridge(),
            "clipped": variances.clipped,
            "most_negative": amplitude * variances.most_negative,
            "calibration": calibration,
        });
        Ok(Process { calibration, record })
    }
}

/// What a Gaussian process leaves behind.
struct Process {
    calibration: Option<Calibration>,
    record: Value,
}

/// Writes a table of the test inputs, (M, C).
pub fn write_table(run: &Run, name: &str, problem: &Problem, table: &Columns) -> Result<()> {
    run.begin_results()?;
    let columns = problem.targets.columns;
    let values = table.to_rows();
    Ok(npy::write(run.folder().file(name), &[values.len() / columns, columns], &values)?)
}

/// The time of the best test accuracy, or of the smallest mean square.
fn best(times: &[TimeRow]) -> Option<&TimeRow> {
    let score = |row: &TimeRow| row.test_accuracy.unwrap_or(-row.test_mean_square);
    times.iter().rev().max_by(|a, b| score(a).total_cmp(&score(b)))
}

/// Accuracy, or mean square, against time, and calibration beside it.
fn pictures(run: &Run, times: &[TimeRow], process: Option<&Process>) -> Result<()> {
    let accuracies = times.iter().all(|row| row.test_accuracy.is_some());
    let curve = |name, value: fn(&TimeRow) -> f64| {
        let finite = times.iter().filter(|row| row.time.is_finite());
        Series::new(name, finite.map(|row| (row.time, value(row))).collect())
    };
    let axis = Axis::log("time of gradient flow");
    let of_time = if accuracies {
        Figure::new(axis, Axis::linear("accuracy").percent())
            .series(curve("training", |row| row.train_accuracy.unwrap_or(f64::NAN)))
            .series(curve("test", |row| row.test_accuracy.unwrap_or(f64::NAN)).color(1))
    } else {
        Figure::new(axis, Axis::linear("mean square error"))
            .series(curve("training", |row| row.train_mean_square))
            .series(curve("test", |row| row.test_mean_square).color(1))
    };
    let calibration = process.and_then(|process| process.calibration.as_ref());
    let is_drawn = times.iter().any(|row| row.time > 0.0 && row.time.is_finite());
    if !is_drawn {
        run.note("no time is positive and finite: the picture of times, on a logarithmic axis, is left out");
    }
    let panels = [is_drawn.then_some(of_time), calibration.map(Calibration::figure)];
    let panels: Vec<Figure> = panels.into_iter().flatten().collect();
    if panels.is_empty() { Ok(()) } else { run.save_figure("predict", &FigureGrid::row(panels)) }
}
