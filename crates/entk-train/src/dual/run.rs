//! The run of [`DualSgd`](crate::DualSgd) from epoch to epoch: coefficients a and velocities b of
//! all tasks, and what is measured of them.
//!
//! In come the kernels, f_0 and targets; out come a record an epoch and task, and at the end
//! [`DualFit`].

use entk_spectral::{CrossGram, KernelRows};
use rayon::prelude::*;

use crate::{
    config::SgdConfig,
    dual::{
        logits::{Coefficients, Logits, product, zeros},
        outputs::KernelOutputs,
        recurrence::{EpochMap, StepMap},
    },
    error::{Result, TrainError},
    history::{EpochRecord, History},
    loss::sigmoid::check_logits,
    metrics::distance::Distance,
    steps::{Step, StepSchedule},
    targets::Targets,
};

/// Columns that one task of a parallel loop takes at least.
const MIN_COLUMNS: usize = 10;

/// The step of an example that no minibatch of the epoch holds.
const NEVER: usize = usize::MAX;

/// What [`DualSgd::fit`](crate::DualSgd::fit) returns for one task.
#[derive(Debug, Clone, PartialEq)]
pub struct DualFit {
    /// What was measured on the way; `distance.cosine` is none, since theta_0 itself is not given.
    pub history: History,
    /// The coefficients a (N, C) on the training examples: theta - theta_0 = J^T a, where the
    /// kernel is J J^T.
    pub coefficients: Vec<f64>,
    /// The logits (N, C) at the end, of the training examples and then of the test examples.
    pub logits: Vec<f64>,
}

/// The kernels of a run, and the outputs at theta_0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) kernel: &'a dyn KernelRows,
    pub(super) cross: Option<&'a CrossGram>,
    /// What the rows of both are.
    pub(super) outputs: KernelOutputs,
    /// Examples of the kernel that are trained on: the first ones.
    pub(super) train: usize,
    /// The outputs (N, C) at theta_0 of all examples; those of the cross-Gram come last.
    pub(super) f0: &'a [f64],
}

impl Problem<'_> {
    /// Training and test examples.
    pub(super) fn count(&self) -> usize {
        (self.kernel.n() + self.cross.map_or(0, CrossGram::rows)) / self.outputs.rows()
    }

    /// Rows of the kernel that are trained on.
    fn rows(&self) -> usize {
        self.train * self.outputs.rows()
    }
}

/// The targets of one task.
struct Task {
    train: Targets,
    test: Targets,
}

pub(super) struct DualRun<'a> {
    problem: Problem<'a>,
    tasks: Vec<Task>,
    steps: StepSchedule,
    /// K b and K a on the training examples.
    logits: Logits<'a>,
    /// The velocities b at the end of the last epoch; like the next two fields, columns of a
    /// number for each row of the kernel, for each task as many as [`KernelOutputs`] says.
    velocity: Vec<f64>,
    /// The coefficients a, at the same time.
    coefficients: Vec<f64>,
    /// The residual that each row has added to b in this epoch.
    residuals: Vec<f64>,
    /// The step of this epoch, from 0, in which each row added it.
    visited: Vec<usize>,
}

impl<'a> DualRun<'a> {
    pub(crate) fn new(
        problem: Problem<'a>,
        targets: &[Targets],
        config: &SgdConfig,
    ) -> Result<Self> {
        if targets.is_empty() {
            return Err(TrainError::Setting {
                field: "targets",
                found: 0.0,
                range: "at least one vector of labels",
            });
        }
        let (n, columns) = (problem.rows(), problem.outputs.columns() * targets.len());
        let steps = StepSchedule::new(config, problem.train)?;
        StepMap::of(config, config.learning_rate)?;
        let task = |targets: &Targets| {
            let (train, test) = targets.split_at(problem.train);
            Task { train, test }
        };
        Ok(Self {
            problem,
            tasks: targets.iter().map(task).collect(),
            steps,
            logits: Logits::new(problem.kernel, n, columns)?,
            velocity: zeros(n, columns)?,
            coefficients: zeros(n, columns)?,
            residuals: zeros(n, columns)?,
            visited: vec![NEVER; n],
        })
    }

    /// One pass over the data, and what is measured after it.
    pub(crate) fn epoch(&mut self, epoch: usize) -> Result<Vec<EpochRecord>> {
        self.visited.fill(NEVER);
        let mut losses = Vec::new();
        let mut maps = Vec::with_capacity(self.steps.batches().per_epoch());
        for (index, examples) in self.steps.batches().epoch(epoch).iter().enumerate() {
            let at = Step { epoch, index: index + 1 };
            let map = StepMap::of(self.steps.config(), self.steps.rate(at))?;
            losses = self.step(at, map, examples)?;
            maps.push(map);
        }
        self.move_coefficients(&EpochMap::new(&maps));
        self.records(epoch, &losses)
    }

    /// Whether all tasks have reached the loss at which to stop.
    pub(crate) fn converged(&self, records: &[EpochRecord]) -> bool {
        records.iter().all(|record| self.steps.converged(record))
    }

    /// One step on the given examples; returns their loss before it, for each task.
    fn step(&mut self, at: Step, map: StepMap, examples: &[u32]) -> Result<Vec<f64>> {
        let outputs = self.problem.outputs;
        let of_task = examples.len() * outputs.outputs();
        let mut columns = vec![0.0; of_task * self.tasks.len()];
        let losses: Vec<Result<f64>> = columns
            .par_chunks_mut(of_task)
            .with_min_len(MIN_COLUMNS.div_ceil(outputs.outputs()))
            .enumerate()
            .map(|(task, columns)| {
                let loss = self.residual(at, task, examples, columns);
                loss.map_err(|error| error.of_target(task))
            })
            .collect();
        // Collected in order, so that the first of several tasks that diverge is reported.
        let losses = losses.into_iter().collect::<Result<_>>()?;
        let rows = outputs.rows_of(examples);
        self.keep_residuals(at.index - 1, &rows, &columns);
        outputs.scale_all(&mut columns);
        self.logits.step(map, Coefficients { rows: &rows, columns: &columns })?;
        Ok(losses)
    }

    /// Fills `columns` with the gradient of the loss in the logits and returns the loss.
    fn residual(
        &self,
        at: Step,
        task: usize,
        examples: &[u32],
        columns: &mut [f64],
    ) -> Result<f64> {
        let targets = self.tasks[task].train.select(examples);
        let logits: Vec<f64> =
            examples.iter().flat_map(|&n| self.train_logits(task, n as usize)).collect();
        let loss = self.steps.loss(at, &logits, &targets)?;
        let cotangent = self.steps.config().objective().cotangent(&logits, &targets)?;
        columns.copy_from_slice(&self.problem.outputs.to_columns(cotangent));
        Ok(loss)
    }

    /// The C logits of a training example.
    fn train_logits(&self, task: usize, example: usize) -> impl Iterator<Item = f64> {
        let (outputs, c) = (self.problem.outputs, self.problem.outputs.outputs());
        let first = task * outputs.columns();
        self.problem.f0[example * c..(example + 1) * c].iter().enumerate().map(move |(c, f0)| {
            let (row, column) = outputs.place(example, c);
            f0 + self.logits.displacement(row, first + column)
        })
    }

    fn keep_residuals(&mut self, step: usize, rows: &[u32], columns: &[f64]) {
        for &row in rows {
            self.visited[row as usize] = step;
        }
        let all = self.residuals.chunks_exact_mut(self.problem.rows());
        for (all, column) in all.zip(columns.chunks_exact(rows.len())) {
            for (&row, residual) in rows.iter().zip(column) {
                all[row as usize] = *residual;
            }
        }
    }

    /// Brings a and b to the end of the epoch. No step reads them: only K a and K b.
    fn move_coefficients(&mut self, map: &EpochMap) {
        let n = self.problem.rows();
        let pairs = self.velocity.par_chunks_mut(n).zip(self.coefficients.par_chunks_mut(n));
        pairs.zip(self.residuals.par_chunks(n)).with_min_len(MIN_COLUMNS).for_each(
            |((velocity, coefficients), residuals)| {
                map.apply(velocity, coefficients, residuals, &self.visited);
            },
        );
    }

    fn records(&self, epoch: usize, losses: &[f64]) -> Result<Vec<EpochRecord>> {
        let test =
            if self.steps.evaluates(epoch) { self.test_displacements()? } else { Vec::new() };
        let records: Vec<Result<EpochRecord>> = losses
            .par_iter()
            .enumerate()
            .map(|(task, &loss)| {
                let record = self.record(epoch, task, loss, &test);
                record.map_err(|error| error.of_target(task))
            })
            .collect();
        records.into_iter().collect()
    }

    fn record(
        &self,
        epoch: usize,
        task: usize,
        minibatch_loss: f64,
        test: &[f64],
    ) -> Result<EpochRecord> {
        let at = self.steps.end_of(epoch);
        let l2 = self.distance(task);
        if !l2.is_finite() {
            return Err(self.steps.diverged_by(at, "the norm of theta - theta_0", l2));
        }
        let measure = |logits: &[f64], targets: &Targets| self.steps.metrics(at, logits, targets);
        let (mut train_metrics, mut test_metrics) = (None, None);
        if self.steps.evaluates(epoch) {
            let logits = self.all_logits(task, test);
            let targets = &self.tasks[task];
            let (train, test) =
                logits.split_at(self.problem.train * self.problem.outputs.outputs());
            train_metrics = Some(measure(train, &targets.train)?);
            test_metrics = (!test.is_empty()).then(|| measure(test, &targets.test)).transpose()?;
        }
        Ok(EpochRecord {
            epoch,
            learning_rate: self.steps.rate(Step { epoch, index: 1 }),
            train: train_metrics,
            test: test_metrics,
            minibatch_loss,
            distance: Distance { l2, cosine: None },
        })
    }

    /// (a^T K a)^(1/2); round-off below zero, where the kernel is singular, counts as zero.
    fn distance(&self, task: usize) -> f64 {
        let of_task = self.problem.outputs.columns();
        let columns = (task * of_task..(task + 1) * of_task).flat_map(|at| self.logits.column(at));
        let a = self.of_task(task, &self.coefficients);
        let squared: f64 = a.iter().zip(columns).map(|(a, u)| a * u).sum();
        // Not `max`, which would turn NaN into 0.
        if squared < 0.0 { 0.0 } else { squared.sqrt() }
    }

    /// The columns of one task among those of all.
    fn of_task<'c>(&self, task: usize, columns: &'c [f64]) -> &'c [f64] {
        let length = columns.len() / self.tasks.len();
        &columns[task * length..(task + 1) * length]
    }

    /// K a on the test examples, in columns of their rows.
    fn test_displacements(&self) -> Result<Vec<f64>> {
        let (n, all) = (self.problem.rows(), self.problem.kernel.n());
        let mut displacements = match self.problem.cross {
            Some(cross) => cross.product(&self.coefficients)?,
            None if n == all => Vec::new(),
            None => product(self.problem.kernel, n..all, &self.coefficients, n)?,
        };
        self.problem.outputs.scale_all(&mut displacements);
        Ok(displacements)
    }

    /// The logits f_0 + K a of one task; `test` is K a on the test examples, of all tasks.
    fn all_logits(&self, task: usize, test: &[f64]) -> Vec<f64> {
        let mut logits: Vec<f64> =
            (0..self.problem.train).flat_map(|n| self.train_logits(task, n)).collect();
        let test = self.problem.outputs.to_rows(self.of_task(task, test));
        let f0 = &self.problem.f0[logits.len()..];
        logits.extend(f0.iter().zip(test).map(|(f0, displacement)| f0 + displacement));
        logits
    }

    /// The results, with the histories given.
    pub(crate) fn finish(self, histories: Vec<History>) -> Result<Vec<DualFit>> {
        let test = self.test_displacements()?;
        let outputs = self.problem.outputs;
        let fits = histories.into_iter().enumerate().map(|(task, history)| {
            let logits = self.all_logits(task, &test);
            check_logits(&logits, outputs.outputs())?;
            let coefficients = outputs.to_rows(self.of_task(task, &self.coefficients));
            Ok(DualFit { history, coefficients, logits })
        });
        fits.collect()
    }
}
