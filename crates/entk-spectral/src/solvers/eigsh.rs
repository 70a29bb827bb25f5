//! The k largest eigenpairs of a symmetric operator: in come the operator and settings, out go
//! pairs with measured residuals. Here are the choice of a solver and the outer loop, with what
//! sees, ends and resumes it; the basis is in `krylov`, the measurement in `certified_pairs`. Users
//! and `svds` call it.

use std::{
    io::{self, Read, Write},
    ops::ControlFlow,
};

use entk_memory::ensure;

use crate::{
    eigenpairs::check_k,
    error::{Result, SpectralError},
    kernel::operator::SymmetricOperator,
    ranks::{
        communicator::{OneRank, Ranks},
        operator::{DistributedOperator, Whole},
    },
    solvers::{
        certified_pairs::{CertifiedPairs, DistributedPairs, Solver, certify, certify_rows},
        convergence::{Convergence, restart},
        eigh::eigh,
        eigsh_config::{EigshConfig, Plan},
        krylov::Krylov,
    },
};

/// The k largest eigenpairs of a symmetric operator, each with its residual.
///
/// "Largest" is meant by value, not by magnitude. Vectors, orthogonalisation and the projected
/// problem are f64 whatever the type of the entries, because f32 vectors get lambda_1000 of a
/// network's kernel wrong by 1e-3. Kernels of any finite magnitude are handled; multiple
/// eigenvalues too. The bits depend on the settings, not on the number of threads.
///
/// The answer is whole or an error: every returned pair has a measured residual ||K v - lambda v||
/// of at most `tolerance` times lambda_0, from one more product with the final vectors.
///
/// # Method
/// Thick-restart block Lanczos with full orthogonalisation. A basis V of the block Krylov space of
/// a random block is grown one block at a time; when it is full, the eigenpairs of V^T K V give
/// Ritz pairs and their residuals, converged pairs are locked, and V is cut to the Ritz vectors
/// worth keeping. All work but the small dense problem is products of matrices.
///
/// Why not Chebyshev-filtered subspace iteration, whose work is even simpler: it forgets all
/// polynomials but the last. On the kernel of a LeNet5 at initialisation (N = 4,000, k = 100) it
/// took 4,950 products at its best of four settings (150 columns, degree 8) where this method took
/// 416 to 608.
///
/// Why blocks of only 32 columns: the number of products grows with the block (the same kernel
/// without restarts, k = 100: 416, 544 and 768 for 16, 32 and 64 columns; k = 1,000: 2,304 and
/// 2,816 for 32 and 64), while a product of 32 columns already reaches most of the speed of a large
/// one.
///
/// Why restarts, with memory for more: at k = 1,000 they cost 5 % more products, and each dense
/// problem is that of the unlocked columns only.
///
/// # Cost
/// About 2.5 k products with single columns (6 k at k = 100), N^2 multiply-adds each, and some 25 N
/// k^2 operations for the orthogonalisation. Memory: the basis, 8 N bytes times 1.75 k, and twice 8
/// N k at the end (k = 1,000 of N = 60,000: 1.8 GB).
///
/// # Errors
/// [`InvalidK`](SpectralError::InvalidK) unless 1 <= k <= N,
/// [`InvalidSetting`](SpectralError::InvalidSetting), [`NotConverged`](SpectralError::NotConverged)
/// at a limit, with the residuals reached, [`NonFiniteImage`](SpectralError::NonFiniteImage),
/// [`Overflow`](SpectralError::Overflow), [`OutOfMemory`](SpectralError::OutOfMemory), what
/// [`eigh`] may return, and whatever the operator returns.
///
/// ```
/// use entk_spectral::{EigshConfig, Gram, eigsh};
///
/// let n = 600;
/// let entries = (0..n * n).map(|at| 1.0 / (1.0 + (at / n + at % n) as f64)).collect();
/// let gram = Gram::from_lower_f64(n, entries)?;
/// let top = eigsh(&gram, 5, &EigshConfig::default())?;
/// assert_eq!(top.pairs.len(), 5);
/// assert!(top.residuals.iter().all(|&r| r <= 1e-10 * top.pairs.values()[0]));
/// assert!(top.orthogonality < 1e-13);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn eigsh<K: SymmetricOperator + ?Sized>(
    operator: &K,
    k: usize,
    config: &EigshConfig,
) -> Result<CertifiedPairs> {
    EigshRun::new(config).pairs(operator, k)
}

/// How [`eigsh`] is run: who sees it advance and may end it, and what it goes on from.
///
/// Krylov solves only: the dense solver has no blocks.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use entk_spectral::{EigshConfig, EigshProgress, EigshRun, Gram, SpectralError, eigsh};
///
/// let n = 600;
/// let entries = (0..n * n).map(|at| 1.0 / (1.0 + (at / n + at % n) as f64)).collect();
/// let gram = Gram::from_lower_f64(n, entries)?;
/// let config = EigshConfig { basis: Some(80), block: Some(8), ..EigshConfig::default() };
///
/// let mut checkpoint = Vec::new();
/// let mut observe = |progress: &EigshProgress<'_>| {
///     if progress.products() < 30 {
///         return ControlFlow::Continue(());
///     }
///     checkpoint.clear();
///     progress.write(&mut checkpoint).expect("memory");
///     ControlFlow::Break(())
/// };
/// let stopped = EigshRun::new(&config).observed(&mut observe).pairs(&gram, 5);
/// assert_eq!(stopped, Err(SpectralError::Stopped { products: 32 }));
///
/// let resumed = EigshRun::new(&config).resumed(&mut checkpoint.as_slice()).pairs(&gram, 5)?;
/// assert_eq!(resumed, eigsh(&gram, 5, &config)?); // the same bits
/// # Ok::<(), SpectralError>(())
/// ```
pub struct EigshRun<'a> {
    config: EigshConfig,
    observe: Option<&'a mut EigshObserver<'a>>,
    checkpoint: Option<&'a mut dyn Read>,
}

/// Sees a solve between two blocks, and ends it by [`ControlFlow::Break`].
pub type EigshObserver<'a> = dyn FnMut(&EigshProgress<'_>) -> ControlFlow<()> + 'a;

/// How far a solve has come.
pub struct EigshProgress<'a> {
    products: usize,
    wanted: usize,
    locked: usize,
    ranks: &'a Ranks<'a>,
    write: &'a dyn Fn(&mut dyn Write) -> io::Result<()>,
}

impl EigshProgress<'_> {
    /// Columns multiplied so far.
    pub fn products(&self) -> usize {
        self.products
    }

    /// Pairs that are wanted.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Pairs that have converged far below the tolerance, at the last restart.
    pub fn locked(&self) -> usize {
        self.locked
    }

    /// Whether it is so on any rank, for a decision that all of them take. Called by every rank.
    pub fn any(&self, here: bool) -> bool {
        // Where the ranks cannot agree any more, what comes next says so.
        self.ranks.any(here).unwrap_or(true)
    }

    /// Whether it is so on rank 0, which decides on time. Called by every rank.
    pub fn first(&self, here: bool) -> bool {
        self.ranks.first(here).unwrap_or(true)
    }

    /// Writes a checkpoint, from which [`EigshRun::resumed`] gives the bits of an undisturbed
    /// solve: the basis, 8 N bytes a vector, with a checksum. Called by every rank: each writes all
    /// bytes, and all but one may do so to [`io::sink`].
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        (self.write)(out)
    }
}

impl<'a> EigshRun<'a> {
    /// A run with these settings that nobody sees.
    pub fn new(config: &EigshConfig) -> Self {
        Self { config: config.clone(), observe: None, checkpoint: None }
    }

    /// Shows every block to `observe`, which may end the run with
    /// [`Stopped`](SpectralError::Stopped).
    #[must_use]
    pub fn observed(self, observe: &'a mut EigshObserver<'a>) -> Self {
        Self { observe: Some(observe), ..self }
    }

    /// Goes on from a checkpoint of the same operator and settings. The operator itself cannot be
    /// compared: give the same one.
    #[must_use]
    pub fn resumed(self, checkpoint: &'a mut dyn Read) -> Self {
        Self { checkpoint: Some(checkpoint), ..self }
    }

    /// These settings at another tolerance.
    pub(crate) fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.config.tolerance = tolerance;
        self
    }

    pub(crate) fn tolerance(&self) -> f64 {
        self.config.tolerance
    }

    /// The k largest eigenpairs of an operator, as [`eigsh`].
    ///
    /// # Errors
    /// As [`eigsh`]; [`Stopped`](SpectralError::Stopped) where the observer ends it;
    /// [`Checkpoint`](SpectralError::Checkpoint) for a damaged one and
    /// [`OtherSolve`](SpectralError::OtherSolve) for one of other settings.
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(name = "eigsh", skip_all, fields(n = operator.n(), k = k))
    )]
    pub fn pairs<K: SymmetricOperator + ?Sized>(
        self,
        operator: &K,
        k: usize,
    ) -> Result<CertifiedPairs> {
        let n = operator.n();
        check_k(k, n)?;
        let ranks = Ranks::new(&OneRank);
        let whole = Whole::new(operator, &ranks)?;
        let plan = Plan::new(&whole, k, &self.config)?;
        if !self.config.is_iterative(n, k) {
            return dense(operator, &plan);
        }
        Ok(self.solve(&whole, &plan)?.whole(&whole, Solver::Krylov))
    }

    /// The k largest eigenpairs of an operator that is distributed over ranks, as [`eigsh`] with
    /// [`Solver::Krylov`]. Called by every rank, with the same settings: no rank holds more than
    /// its rows of the basis, and the bits are those of one rank.
    ///
    /// What follows from sums over rows is computed on every rank, with equal bits on processors of
    /// one kind. An observer is shown the same on every rank; any of them ends the solve of all.
    /// Time is that of rank 0. A checkpoint is read by every rank, and may be of another number of
    /// ranks, or of [`pairs`](Self::pairs) of an operator with the same
    /// [`band`](SymmetricOperator::band).
    ///
    /// Memory of a rank with R of N rows: the basis, 8 R bytes times 1.75 k, twice 8 R k at the
    /// end, whole columns of two blocks, and 3 (1.75 k)^2 numbers of the projected problem.
    ///
    /// # Errors
    /// As [`pairs`](Self::pairs), and [`OtherRank`](SpectralError::OtherRank) where another rank
    /// failed; [`InvalidSetting`](SpectralError::InvalidSetting) for [`Solver::Dense`].
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(name = "distributed_eigsh", skip_all, fields(n = operator.rows().n(), k = k))
    )]
    pub fn distributed_pairs<K: DistributedOperator + ?Sized>(
        self,
        operator: &K,
        k: usize,
    ) -> Result<DistributedPairs> {
        operator.rows().ranks().jointly(|| {
            check_k(k, operator.rows().n())?;
            if self.config.solver == Solver::Dense {
                let expected = "Auto or Krylov over several ranks";
                return Err(SpectralError::InvalidSetting { field: "solver", expected });
            }
            let plan = Plan::new(operator, k, &self.config)?;
            self.solve(operator, &plan)
        })
    }

    fn solve<K: DistributedOperator + ?Sized>(
        mut self,
        operator: &K,
        plan: &Plan,
    ) -> Result<DistributedPairs> {
        let rows = operator.rows();
        let needed = self.config.bytes_of_rows(rows.own().len(), rows.n(), plan.k);
        ensure("the leading eigenpairs", needed, None, "ask for fewer of them")?;
        let (mut krylov, mut restarts) = match self.checkpoint.take() {
            Some(checkpoint) => Krylov::read(operator, &plan.solve(), checkpoint)?,
            None => (Krylov::new(operator, plan.block, plan.basis, plan.seed)?, 0),
        };
        loop {
            let stop = plan.exhausted(rows.ranks(), krylov.products())?;
            let full = !krylov.has_room() || krylov.is_complete();
            if !full && stop.is_none() {
                krylov.step()?;
                self.show(&krylov, restarts, plan)?;
                continue;
            }
            let ritz = krylov.ritz()?;
            let state = Convergence::of(&krylov, &ritz, plan);
            if state.converged == plan.k && !state.saturated || krylov.is_complete() {
                let (values, vectors) = krylov.leading(&ritz, plan.k)?;
                let products = krylov.products();
                let tolerance = plan.tolerance;
                return certify_rows(operator, values, vectors, tolerance, products, restarts);
            }
            if let Some(limit) = stop {
                return Err(state.not_converged(plan.k, limit));
            }
            restart(&mut krylov, &ritz, &state, plan)?;
            restarts += 1;
        }
    }

    /// Shows what was done to the observer, if there is one.
    fn show<K: DistributedOperator + ?Sized>(
        &mut self,
        krylov: &Krylov<'_, K>,
        restarts: usize,
        plan: &Plan,
    ) -> Result<()> {
        let ranks = krylov.ranks();
        let (products, wanted, locked) = (krylov.products(), plan.k, krylov.locked().len());
        #[cfg(feature = "tracing")]
        tracing::debug!(products, wanted, locked, "block");
        let write = |out: &mut dyn Write| krylov.write(&plan.solve(), restarts, out);
        let progress = EigshProgress { products, wanted, locked, ranks, write: &write };
        let ended = self.observe.as_mut().is_some_and(|observe| observe(&progress).is_break());
        if ranks.any(ended)? { Err(SpectralError::Stopped { products }) } else { Ok(()) }
    }
}

fn dense<K: SymmetricOperator + ?Sized>(operator: &K, plan: &Plan) -> Result<CertifiedPairs> {
    let pairs = eigh(operator.to_gram()?.as_ref())?.truncate(plan.k)?;
    certify(operator, pairs, plan.tolerance, Solver::Dense, 0, 0)
}
