//! The passes over the examples: a problem comes in, the exact sums and the state of the estimates
//! go out, with a plan of what they cost. Called by the main.

use std::{ops::Range, sync::atomic::Ordering};

use anyhow::Result;
use entk::{
    device::{SourceRange, memory::ensure},
    gram::{GramError, JacobianOperator, PassRate},
    spectral::{LinearOperator, StochasticLanczos},
};
use entk_cli::{Run, Stage, StreamedKernel};

use crate::commands::stats::{flags::Flags, passes::PassFolder, problem::Problem};

/// Examples on which rates are measured.
const MEASURED: usize = 256;

/// What the passes need.
pub struct Sums<'a> {
    pub run: &'a Run,
    pub flags: &'a Flags,
    pub problem: &'a Problem,
    pub folder: PassFolder<'a>,
}

/// What one pass gives exactly.
pub struct Exact {
    /// Diagonal of the kernel.
    pub diagonal: Vec<f64>,
    /// J^T y of every column of the targets.
    pub gradients: Vec<f64>,
}

impl Sums<'_> {
    /// The Jacobian of some examples, without anyone who sees its passes.
    pub fn jacobian<'s>(&'s self, source: &'s SourceRange<'s>) -> Result<JacobianOperator<'s>> {
        let StreamedKernel { network, params, config, .. } = &self.problem.of;
        Ok(JacobianOperator::new(network, params, source, config)?.stoppable(self.folder.stop))
    }

    /// All examples.
    pub fn all(&self) -> SourceRange<'_> {
        SourceRange { source: &*self.problem.of.source, range: 0..self.problem.examples() }
    }

    /// What a pass over one part gives, with progress; stopped where a signal has asked for it.
    fn of_part(
        &self,
        stage: &Stage,
        part: usize,
        work: impl FnOnce(&JacobianOperator<'_>, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let (n, parts) = (self.problem.examples(), self.folder.share.parts);
        let range = n * part / parts..n * (part + 1) / parts;
        let source = SourceRange { range: range.clone(), ..self.all() };
        let observe = |done, _| stage.set_progress(range.start + done, n);
        let jacobian = self.jacobian(&source)?.observed(&observe);
        let result = work(&jacobian, range.clone());
        match self.folder.stop.load(Ordering::Relaxed) {
            true => result.map_err(|_| GramError::Stopped.into()),
            false => result,
        }
    }

    /// The pass that gives the diagonal and the gradients of the targets.
    pub fn exact(&self, columns: usize) -> Result<Exact> {
        let (n, targets) = (self.problem.examples(), &self.problem.targets);
        let len = targets.count * columns;
        let mut sums = self.run.stage("exact", 1, |stage| {
            self.folder.sum(0, len + n, |part| {
                let mut sums = vec![0.0; len + n];
                self.of_part(stage, part, |jacobian, range| {
                    let of_part = |y: &[f64]| y[range.clone()].to_vec();
                    let own: Vec<f64> = targets.columns.chunks_exact(n).flat_map(of_part).collect();
                    let (gradients, diagonal) = sums.split_at_mut(len);
                    let norms = jacobian.diagonal_and_gradients(&own, gradients)?;
                    diagonal[range].copy_from_slice(&norms);
                    Ok(())
                })?;
                Ok(sums)
            })
        })?;
        let diagonal = sums.split_off(len);
        Ok(Exact { diagonal, gradients: sums })
    }

    /// All passes of the estimates.
    pub fn lanczos(&self, columns: usize) -> Result<StochasticLanczos> {
        let mut lanczos = StochasticLanczos::new(columns, &self.flags.config())?;
        let mut pass = 1;
        while let Some(block) = lanczos.columns() {
            let images = self.run.stage("products", 1, |stage| {
                self.folder.sum(pass, block.len(), |part| {
                    let mut images = vec![0.0; block.len()];
                    self.of_part(stage, part, |jacobian, _| {
                        Ok(jacobian.apply_column_gram(block, &mut images)?)
                    })?;
                    Ok(images)
                })
            })?;
            lanczos.advance(images)?;
            pass += 1;
        }
        Ok(lanczos)
    }

    /// Passes, columns, memory and time, as measured on a few examples; refuses what memory does
    /// not hold.
    pub fn plan(&self) -> Result<String> {
        let (n, targets) = (self.problem.examples(), self.problem.targets.count);
        let measured = MEASURED.min(n);
        let all = SourceRange { range: 0..measured, ..self.all() };
        let few = SourceRange { range: 0..measured.div_ceil(4), ..self.all() };
        let [few, jacobian] = [self.jacobian(&few)?, self.jacobian(&all)?];
        let (p, blocks) = (jacobian.cols(), self.flags.config().blocks());
        self.flags.config().check(p)?;
        let (columns, probes) = (blocks.iter().sum::<usize>(), self.flags.probes);
        let held = self.flags.deflation + (self.flags.steps + 3) * probes;
        let widest = self.flags.deflation.max(probes);
        let gradients = usize::try_from(jacobian.bytes(0))?;
        let bytes =
            8 * p * (held + 4 * widest).max(4 * targets) + 8 * n * (targets + 2) + gradients;
        let what = format!("statistics of {n} examples and {p} parameters");
        ensure(&what, bytes as u64, None, "lower --deflation, --probes or --steps")?;

        let passes = 1 + blocks.len();
        let PassRate { fixed, sweep, column, .. } = PassRate::measure(&few, &jacobian, probes)?;
        let each = passes as f64 * sweep + (columns as f64 + targets as f64 / 2.0) * column;
        let time = each * n as f64 + columns as f64 * fixed;
        let time = match time {
            seconds if seconds < 100.0 => format!("{seconds:.1} s"),
            seconds => format!("{:.1} min", seconds / 60.0),
        };
        let gigabytes = bytes as f64 / 1e9;
        Ok(format!(
            "{passes} passes over {n} examples, {columns} columns of {p} parameters and {targets} \
             of targets: about {time}, {gigabytes:.1} GB beside the inputs"
        ))
    }
}
