//! [`DualSgd`]: from a Gram, the outputs at theta_0 and targets to trained linearizations, in the
//! space of one coefficient for each training example and output.
//!
//! Programs call it where a kernel is at hand: it takes the steps of [`fit`](crate::fit) without a
//! network, for all tasks at once.

use std::ops::ControlFlow;

use entk_spectral::{CrossGram, KernelRows};

use crate::{
    config::SgdConfig,
    dual::{
        outputs::KernelOutputs,
        recurrence::StepMap,
        run::{DualFit, DualRun, Problem},
        stability::{Stability, batch_curvature},
    },
    error::{Result, TrainError},
    history::{EpochRecord, History, Outcome},
    loss::sigmoid::check_logits,
    steps::StepSchedule,
    targets::Targets,
};

mod logits;
pub(crate) mod outputs;
mod recurrence;
pub(crate) mod run;
pub(crate) mod stability;

/// SGD with momentum on linearizations, exactly, without a network: over the Gram alone.
///
/// The gradients of a linearization f_0 + J (theta - theta_0) never leave the span of J's rows, so
/// `theta - theta_0 = J^T a` and the velocity is `J^T b`, with one coefficient for each of the n
/// training examples and C outputs. On the minibatch B a step is, with z the logits and L the loss
/// of the minibatch,
///
/// ```text
/// b <- momentum b;   b_ic += dL/dz_ic  for i in B and all c;   a <- a - rate b;   z = f_0 + K a
/// ```
///
/// and ||theta - theta_0||^2 = a^T K a; for one logit dL/dz_i is `(s(z_i) - y_i) / |B|`. This is
/// what [`fit`](crate::fit) does to `Linearized`, step by step: the same [`SgdConfig`] gives the
/// same minibatches and rates, and results equal up to round-off, if the Gram, the targets and f_0
/// are those of the model. It is not an approximation; for several outputs that needs the full
/// kernel J J^T, and a pseudo-kernel in its place is one ([`KernelOutputs`]).
///
/// It holds for [`Optimizer::HeavyBall`](crate::Optimizer::HeavyBall) and
/// [`Optimizer::Nesterov`](crate::Optimizer::Nesterov), with any loss and with
/// [`WeightDecay::FromStart`](crate::WeightDecay::FromStart), which adds `w a` to what b gains; not
/// for Adam, whose step is not linear in the gradients, nor for a pull towards zero, which leaves
/// the span. Any number of tasks on the same kernel is trained at once.
///
/// The logits are updated themselves: K b and K a obey the recurrence of b and a, driven by the
/// columns of K in B, which cost `|B| R n R S` multiply-adds a step for each task, where an example
/// has R rows and a task S columns: 1 and 1 for one output, C and 1 over the full kernel, 1 and C
/// over a pseudo-kernel. The logits of the training examples, and with them the distance, are then
/// known at every step for nothing; those of m test examples cost `m R n R S` where they are
/// evaluated. A step reads |B| R rows of K: those of a Gram in memory, or of a file
/// ([`KernelRows`]) that memory need not hold. Memory beyond the kernel: 5 n C numbers a task. Sums
/// are in f64 whatever the Gram is stored in, and their bits do not depend on the number of
/// threads.
///
/// For weights: `Jacobian::vjp(&coefficients)` of entk-linearize, over the training inputs, is
/// theta - theta_0.
///
/// ```
/// use entk_spectral::Gram;
/// use entk_train::{DualSgd, SgdConfig};
///
/// // Features (1, x) at x = -3, -1, 1, 3 and, for the test, 5.
/// let x = [-3.0, -1.0, 1.0, 3.0, 5.0];
/// let entries = x.iter().flat_map(|a| x.map(|b| 1.0 + a * b)).collect();
/// let gram = Gram::from_lower_f64(5, entries)?;
///
/// let tasks = [[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]];
/// let config = SgdConfig { batch: 2, epochs: 200, ..SgdConfig::default() };
/// let dual = DualSgd::new(&gram, 4, &[0.0; 5])?;
/// let fits = dual.fit(&tasks, &config)?;
/// for (fit, task) in fits.iter().zip(&tasks) {
///     let right = fit.logits.iter().zip(task).all(|(&z, &y)| (z > 0.0) == (y == 1));
///     assert!(right && fit.coefficients.len() == 4);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DualSgd<'a> {
    problem: Problem<'a>,
}

impl<'a> DualSgd<'a> {
    /// A solver over one kernel of training and test examples: the first `train` samples are for
    /// training, the others, if any, for the test.
    ///
    /// `f0` are the outputs f(theta_0, x) on all N samples; zeros train the linearization without
    /// its offset. Nothing is copied.
    ///
    /// # Errors
    /// [`TrainError::Setting`] unless 1 <= train <= N, [`TrainError::Count`] unless there are N
    /// outputs, [`TrainError::NonFiniteLogit`] for NaN or infinity among them.
    pub fn new(kernel: &'a dyn KernelRows, train: usize, f0: &'a [f64]) -> Result<Self> {
        Self::with_outputs(kernel, KernelOutputs::ONE, train, f0)
    }

    /// A solver over the kernel of the training examples and a cross-Gram with test examples as
    /// rows and training examples as columns; `f0` has the training and then the test outputs.
    ///
    /// # Errors
    /// [`TrainError::Count`] unless `cross` has a column for each sample of the kernel; for `f0` as
    /// [`new`](Self::new).
    pub fn with_cross(
        kernel: &'a dyn KernelRows,
        cross: &'a CrossGram,
        f0: &'a [f64],
    ) -> Result<Self> {
        Self::with_outputs_and_cross(kernel, KernelOutputs::ONE, cross, f0)
    }

    /// A solver for C outputs over one kernel of training and test examples, of which the first
    /// `train` are for training; `outputs` says which kernel it is.
    ///
    /// `f0` are the outputs (N, C) at theta_0 of all N examples, as [`logits`](crate::logits) gives
    /// them.
    ///
    /// # Errors
    /// [`TrainError::KernelRows`] unless the rows are those of whole examples; else as
    /// [`new`](Self::new), and [`TrainError::Setting`] for outputs or a scale out of range.
    ///
    /// ```
    /// use entk_spectral::Gram;
    /// use entk_train::{DualSgd, KernelOutputs, Loss, SgdConfig, Targets};
    ///
    /// // The full kernel of f(x) = (theta_0 x, theta_1 x) at x = -1, 1.
    /// let signs = [[1.0, -1.0], [-1.0, 1.0]];
    /// let entry = |i: usize, j: usize| if i % 2 == j % 2 { signs[i / 2][j / 2] } else { 0.0 };
    /// let entries = (0..16).map(|at| entry(at / 4, at % 4)).collect();
    /// let gram = Gram::from_lower_f64(4, entries)?;
    ///
    /// let loss = Loss::SoftmaxCrossEntropy { label_smoothing: 0.0 };
    /// let config = SgdConfig { loss, batch: 2, epochs: 50, ..SgdConfig::default() };
    /// let outputs = KernelOutputs::Full { outputs: 2 };
    /// let dual = DualSgd::with_outputs(&gram, outputs, 2, &[0.0; 4])?;
    /// let fit = dual.fit(&[Targets::classes(vec![0, 1], 2)?], &config)?.swap_remove(0);
    /// assert!(fit.logits[0] > fit.logits[1] && fit.logits[2] < fit.logits[3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_outputs(
        kernel: &'a dyn KernelRows,
        outputs: KernelOutputs,
        train: usize,
        f0: &'a [f64],
    ) -> Result<Self> {
        let all = outputs.examples("kernel", kernel.n())?;
        if train == 0 || train > all {
            let range = "at least 1 and at most the number of examples of the kernel";
            return Err(TrainError::Setting { field: "train", found: train as f64, range });
        }
        Self::checked(Problem { kernel, cross: None, outputs, train, f0 })
    }

    /// A solver for C outputs over the kernel of the training examples and a cross-Gram of the same
    /// kind, with test examples as rows and training examples as columns.
    ///
    /// # Errors
    /// As [`with_outputs`](Self::with_outputs) and [`with_cross`](Self::with_cross).
    pub fn with_outputs_and_cross(
        kernel: &'a dyn KernelRows,
        outputs: KernelOutputs,
        cross: &'a CrossGram,
        f0: &'a [f64],
    ) -> Result<Self> {
        if cross.cols() != kernel.n() {
            let (expected, found) = (kernel.n(), cross.cols());
            return Err(TrainError::Count { what: "columns of the cross-Gram", expected, found });
        }
        outputs.examples("cross-Gram", cross.rows())?;
        let train = outputs.examples("kernel", kernel.n())?;
        Self::checked(Problem { kernel, cross: Some(cross), outputs, train, f0 })
    }

    fn checked(problem: Problem<'a>) -> Result<Self> {
        let outputs = problem.outputs.outputs();
        let (expected, found) = (problem.count() * outputs, problem.f0.len());
        if found != expected {
            return Err(TrainError::Count { what: "outputs at theta_0", expected, found });
        }
        check_logits(problem.f0, outputs)?;
        Ok(Self { problem })
    }

    /// The targets of the tasks, as many and of such a kind as the kernel and the loss need.
    fn targets<T: Clone + Into<Targets>>(
        &self,
        tasks: &[T],
        config: &SgdConfig,
    ) -> Result<Vec<Targets>> {
        let expected = self.problem.outputs.outputs();
        let of_task = |(task, targets): (usize, &T)| {
            let targets = targets.clone().into();
            let found = targets.outputs();
            if found != expected {
                return Err(TrainError::KernelTargets { task, found, expected });
            }
            targets.check_for(self.problem.count())?;
            config.objective().check(&targets)?;
            Ok(targets)
        };
        tasks.iter().enumerate().map(of_task).collect()
    }

    /// Trains one linearization for each task: the targets of the training and then the test
    /// examples, such as a vector of labels 0 or 1.
    ///
    /// Metrics are over all examples, at the epochs that `config` asks for; `eval_batch` has no
    /// meaning here, and [`stop_at_loss`](SgdConfig::stop_at_loss) ends the run where all targets
    /// have reached it.
    ///
    /// # Errors
    /// [`TrainError::NotDual`] for a rule or decay without a form in coefficients; settings out of
    /// range, fewer examples than a minibatch, no targets, targets that do not fit the kernel or
    /// the loss;
    /// [`TrainError::Diverged`] as in [`fit`](crate::fit), naming the first target at fault.
    pub fn fit<T: Clone + Into<Targets>>(
        &self,
        tasks: &[T],
        config: &SgdConfig,
    ) -> Result<Vec<DualFit>> {
        self.fit_observed(tasks, config, |_| ControlFlow::Continue(()))
    }

    /// Trains as [`fit`](Self::fit) does, and shows the records of all targets, in order, to
    /// `on_epoch` after every epoch; with [`ControlFlow::Break`] it ends the run of all of them.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(name = "dual_sgd", skip_all, fields(tasks = tasks.len(), epochs = config.epochs))
    )]
    pub fn fit_observed<T: Clone + Into<Targets>>(
        &self,
        tasks: &[T],
        config: &SgdConfig,
        mut on_epoch: impl FnMut(&[EpochRecord]) -> ControlFlow<()>,
    ) -> Result<Vec<DualFit>> {
        let targets = self.targets(tasks, config)?;
        let mut run = DualRun::new(self.problem, &targets, config)?;
        let mut histories = vec![History::default(); targets.len()];
        for epoch in 1..=config.epochs {
            // Run on a thread of the pool: entering the pool at every step would cost a wait.
            let records = rayon::scope(|_| run.epoch(epoch))?;
            let converged = run.converged(&records);
            let flow = on_epoch(&records);
            for (history, record) in histories.iter_mut().zip(records) {
                history.epochs.push(record);
            }
            if flow.is_break() || converged {
                let outcome = if converged { Outcome::Converged } else { Outcome::Stopped };
                histories.iter_mut().for_each(|history| history.outcome = outcome);
                break;
            }
        }
        run.finish(histories)
    }

    /// The learning rate beside the one from which steps grow without bound, measured on the
    /// minibatches of the first epoch. Ask before a long run: [`fit`](Self::fit) does not.
    ///
    /// Cost: some tens of products with |B| x |B| parts of the Gram, one part for each minibatch.
    ///
    /// # Errors
    /// Settings as for [`fit`](Self::fit).
    ///
    /// ```
    /// use entk_spectral::Gram;
    /// use entk_train::{DualSgd, SgdConfig};
    ///
    /// // Two inputs with the same gradient, of squared norm 8: K has the eigenvalue 16.
    /// let gram = Gram::from_lower_f64(2, vec![8.0; 4])?;
    /// let config = SgdConfig { batch: 2, ..SgdConfig::default() };
    /// let stability = DualSgd::new(&gram, 2, &[0.0; 2])?.stability(&config)?;
    /// // 16 / (4 * 2), and 2 (1 + 0.9) / 2.
    /// assert!((stability.curvature - 2.0).abs() < 1e-12);
    /// assert!((stability.limit - 1.9).abs() < 1e-12);
    /// assert!(stability.is_stable());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stability(&self, config: &SgdConfig) -> Result<Stability> {
        let steps = StepSchedule::new(config, self.problem.train)?;
        StepMap::of(config, config.learning_rate)?;
        let curvature = batch_curvature(&self.problem, &steps)?;
        Ok(Stability::new(config, curvature))
    }
}
