//! The run of [`DualSgd`](crate::DualSgd) from epoch to epoch: coefficients a and velocities b of
//! all targets, and what is measured of them.
//!
//! In come the kernels, f_0 and labels; out come a record an epoch and target, and at the end
//! [`DualFit`].

use entk_spectral::{CrossGram, KernelRows};
use rayon::prelude::*;

use crate::{
    config::SgdConfig,
    dual::{
        logits::{Coefficients, Logits, product, zeros},
        recurrence::{EpochMap, StepMap},
    },
    error::{Result, TrainError},
    history::{EpochRecord, History},
    loss::check_logits,
    metrics::Distance,
    steps::{Step, StepSchedule},
};

/// Targets that one task of a parallel loop takes at least.
const MIN_TARGETS: usize = 10;

/// The step of an example that no minibatch of the epoch holds.
const NEVER: usize = usize::MAX;

/// What [`DualSgd::fit`](crate::DualSgd::fit) returns for one target.
#[derive(Debug, Clone, PartialEq)]
pub struct DualFit {
    /// What was measured on the way; `distance.cosine` is none, since theta_0 itself is not given.
    pub history: History,
    /// The coefficients a, one for each training example: theta - theta_0 = J^T a.
    pub coefficients: Vec<f64>,
    /// The logits at the end, of the training examples and then of the test examples.
    pub logits: Vec<f64>,
}

/// The kernels of a run, and the outputs at theta_0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) kernel: &'a dyn KernelRows,
    pub(super) cross: Option<&'a CrossGram>,
    /// Samples of the kernel that are trained on: the first ones.
    pub(super) train: usize,
    /// The outputs at theta_0 of all samples; those of the cross-Gram come last.
    pub(super) f0: &'a [f64],
}

impl Problem<'_> {
    /// Training and test examples.
    pub(super) fn count(&self) -> usize {
        self.kernel.n() + self.cross.map_or(0, CrossGram::rows)
    }
}

pub(super) struct DualRun<'a, L> {
    problem: Problem<'a>,
    targets: &'a [L],
    steps: StepSchedule,
    /// K b and K a on the training examples.
    logits: Logits<'a>,
    /// The velocities b at the end of the last epoch; like the next two fields, one column of n
    /// numbers for each target.
    velocity: Vec<f64>,
    /// The coefficients a, at the same time.
    coefficients: Vec<f64>,
    /// The residual that each example has added to b in this epoch.
    residuals: Vec<f64>,
    /// The step of this epoch, from 0, in which each example added it.
    visited: Vec<usize>,
}

impl<'a, L: AsRef<[u8]> + Sync> DualRun<'a, L> {
    pub(crate) fn new(problem: Problem<'a>, targets: &'a [L], config: &SgdConfig) -> Result<Self> {
        if targets.is_empty() {
            return Err(TrainError::Setting {
                field: "targets",
                found: 0.0,
                range: "at least one vector of labels",
            });
        }
        let (n, count) = (problem.train, targets.len());
        let steps = StepSchedule::new(config, n)?;
        StepMap::of(config, config.learning_rate)?;
        Ok(Self {
            problem,
            targets,
            steps,
            logits: Logits::new(problem.kernel, n, count)?,
            velocity: zeros(n, count)?,
            coefficients: zeros(n, count)?,
            residuals: zeros(n, count)?,
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

    /// Whether all targets have reached the loss at which to stop.
    pub(crate) fn converged(&self, records: &[EpochRecord]) -> bool {
        records.iter().all(|record| self.steps.converged(record))
    }

    /// One step on the given examples; returns their loss before it, for each target.
    fn step(&mut self, at: Step, map: StepMap, examples: &[u32]) -> Result<Vec<f64>> {
        let mut columns = vec![0.0; examples.len() * self.targets.len()];
        let losses: Vec<Result<f64>> = columns
            .par_chunks_mut(examples.len())
            .with_min_len(MIN_TARGETS)
            .enumerate()
            .map(|(target, column)| {
                let loss = self.residual(at, target, examples, column);
                loss.map_err(|error| error.of_target(target))
            })
            .collect();
        // Collected in order, so that the first of several targets that diverge is reported.
        let losses = losses.into_iter().collect::<Result<_>>()?;
        self.logits.step(map, Coefficients { rows: examples, columns: &columns })?;
        self.keep_residuals(at.index - 1, examples, &columns);
        Ok(losses)
    }

    /// Fills `column` with the gradient of the loss in the logits and returns the loss.
    fn residual(
        &self,
        at: Step,
        target: usize,
        examples: &[u32],
        column: &mut [f64],
    ) -> Result<f64> {
        let labels = self.targets[target].as_ref();
        let labels: Vec<u8> = examples.iter().map(|&i| labels[i as usize]).collect();
        let logit = |i: usize| self.problem.f0[i] + self.logits.displacement(i, target);
        let logits: Vec<f64> = examples.iter().map(|&i| logit(i as usize)).collect();
        let loss = self.steps.loss(at, &logits, &labels)?;
        column.copy_from_slice(&self.steps.config().loss.cotangent(&logits, &labels)?);
        Ok(loss)
    }

    fn keep_residuals(&mut self, step: usize, examples: &[u32], columns: &[f64]) {
        for &i in examples {
            self.visited[i as usize] = step;
        }
        let all = self.residuals.chunks_exact_mut(self.problem.train);
        for (all, column) in all.zip(columns.chunks_exact(examples.len())) {
            for (&i, residual) in examples.iter().zip(column) {
                all[i as usize] = *residual;
            }
        }
    }

    /// Brings a and b to the end of the epoch. No step reads them: only K a and K b.
    fn move_coefficients(&mut self, map: &EpochMap) {
        let n = self.problem.train;
        let pairs = self.velocity.par_chunks_mut(n).zip(self.coefficients.par_chunks_mut(n));
        pairs.zip(self.residuals.par_chunks(n)).with_min_len(MIN_TARGETS).for_each(
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
            .map(|(target, &loss)| {
                let record = self.record(epoch, target, loss, &test);
                record.map_err(|error| error.of_target(target))
            })
            .collect();
        records.into_iter().collect()
    }

    fn record(
        &self,
        epoch: usize,
        target: usize,
        minibatch_loss: f64,
        test: &[f64],
    ) -> Result<EpochRecord> {
        let at = self.steps.end_of(epoch);
        let l2 = self.distance(target);
        if !l2.is_finite() {
            return Err(self.steps.diverged_by(at, "the norm of theta - theta_0", l2));
        }
        let measure = |logits: &[f64], labels: &[u8]| self.steps.metrics(at, logits, labels);
        let (mut train_metrics, mut test_metrics) = (None, None);
        if self.steps.evaluates(epoch) {
            let logits = self.all_logits(target, test);
            let labels = self.targets[target].as_ref().split_at(self.problem.train);
            let (train, test) = logits.split_at(self.problem.train);
            train_metrics = Some(measure(train, labels.0)?);
            test_metrics = (!test.is_empty()).then(|| measure(test, labels.1)).transpose()?;
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
    fn distance(&self, target: usize) -> f64 {
        let a = self.column(target);
        let squared: f64 = a.iter().zip(self.logits.column(target)).map(|(a, u)| a * u).sum();
        // Not `max`, which would turn NaN into 0.
        if squared < 0.0 { 0.0 } else { squared.sqrt() }
    }

    fn column(&self, target: usize) -> &[f64] {
        let n = self.problem.train;
        &self.coefficients[target * n..(target + 1) * n]
    }

    /// K a on the test examples, one column of them for each target.
    fn test_displacements(&self) -> Result<Vec<f64>> {
        let (n, all) = (self.problem.train, self.problem.kernel.n());
        if let Some(cross) = self.problem.cross {
            return Ok(cross.product(&self.coefficients)?);
        }
        if n == all {
            return Ok(Vec::new());
        }
        product(self.problem.kernel, n..all, &self.coefficients, n)
    }

    /// The logits f_0 + K a of one target; `test` is K a on the test examples, of all targets.
    fn all_logits(&self, target: usize, test: &[f64]) -> Vec<f64> {
        let m = test.len() / self.targets.len();
        let test = &test[target * m..(target + 1) * m];
        let displacements = self.logits.column(target).chain(test.iter().copied());
        self.problem
            .f0
            .iter()
            .zip(displacements)
            .map(|(f0, displacement)| f0 + displacement)
            .collect()
    }

    /// The results, with the histories given.
    pub(crate) fn finish(self, histories: Vec<History>) -> Result<Vec<DualFit>> {
        let test = self.test_displacements()?;
        let fits = histories.into_iter().enumerate().map(|(target, history)| {
            let logits = self.all_logits(target, &test);
            check_logits(&logits)?;
            Ok(DualFit { history, coefficients: self.column(target).to_vec(), logits })
        });
        fits.collect()
    }
}
