//! The k largest eigenpairs of a symmetric operator: in come the operator and settings, out go
//! pairs with measured residuals. Here are the settings, the choice of a solver and the outer loop;
//! the basis is in `krylov`, the measurement in `certified_pairs`. Users and `svds` call it.

use std::time::{Duration, Instant};

use crate::{
    dense::ritz::Ritz,
    eigenpairs::check_k,
    error::{Result, SpectralError},
    kernel::operator::SymmetricOperator,
    solvers::{
        certified_pairs::{CertifiedPairs, Solver, certify},
        eigh::eigh,
        krylov::Krylov,
    },
};

/// Up to this size the dense solver is as fast for any k.
const SMALL: usize = 512;
/// From this share of all pairs on (1 in 3), the dense solver is as fast.
const DENSE_SHARE: usize = 3;
/// Pairs whose residual is below this fraction of the tolerance are locked: they leave the
/// projected problem, and what they would still change in the other pairs is far below the
/// tolerance.
const LOCK: f64 = 1e-3;
/// A pair counts as converged when its estimated residual is below this fraction of the tolerance,
/// since the measured one may be larger by round-off.
const MARGIN: f64 = 0.5;
/// Accepted tolerances: a smaller one is lost in round-off, a larger one determines no eigenvector.
const TOLERANCES: (f64, f64) = (1e-13, 0.1);

/// Settings of [`eigsh`].
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `solver` | `Auto` | see [`Solver`] | |
/// | `tolerance` | 1e-10 | largest residual, relative to lambda_0 | 1e-13 to 0.1 |
/// | `block` | the operator's hint | columns multiplied at a time | at least 1 |
/// | `basis` | k + max(3 k / 4, 8 blocks) | basis vectors of 8 N bytes | at least k + 2 blocks |
/// | `max_products` | 50 k + 100 blocks + 1,000 | columns multiplied before it gives up | |
/// | `max_time` | none | wall time before it gives up, looked at between blocks | |
/// | `seed` | 0 | of the random start (ChaCha8) | |
#[derive(Clone, Debug, PartialEq)]
pub struct EigshConfig {
    /// Which solver.
    pub solver: Solver,
    /// Largest accepted ||K v - lambda v|| / lambda_0.
    pub tolerance: f64,
    /// Columns multiplied at a time.
    pub block: Option<usize>,
    /// Basis vectors kept.
    pub basis: Option<usize>,
    /// Columns multiplied before giving up.
    pub max_products: Option<usize>,
    /// Wall time before giving up.
    pub max_time: Option<Duration>,
    /// Seed of the random start.
    pub seed: u64,
}

impl Default for EigshConfig {
    fn default() -> Self {
        Self {
            solver: Solver::Auto,
            tolerance: 1e-10,
            block: None,
            basis: None,
            max_products: None,
            max_time: None,
            seed: 0,
        }
    }
}

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
    let n = operator.n();
    check_k(k, n)?;
    let plan = Plan::new(operator, k, config)?;
    match config.solver {
        Solver::Krylov => krylov(operator, &plan),
        Solver::Auto if n > SMALL && k <= n / DENSE_SHARE => krylov(operator, &plan),
        _ => dense(operator, &plan),
    }
}

/// The settings with their defaults filled in, checked against the operator.
struct Plan {
    k: usize,
    tolerance: f64,
    block: usize,
    basis: usize,
    max_products: usize,
    deadline: Option<Instant>,
    seed: u64,
}

impl Plan {
    fn new<K: SymmetricOperator + ?Sized>(
        operator: &K,
        k: usize,
        config: &EigshConfig,
    ) -> Result<Self> {
        let n = operator.n();
        let invalid = |field, expected| Err(SpectralError::InvalidSetting { field, expected });
        if !(TOLERANCES.0..=TOLERANCES.1).contains(&config.tolerance) {
            return invalid("tolerance", "between 1e-13 and 0.1");
        }
        let block = config.block.unwrap_or(operator.block()).min(n);
        if block == 0 {
            return invalid("block", "at least 1");
        }
        let least = k.saturating_add(2 * block).min(n);
        let basis = config.basis.unwrap_or(k.saturating_add((3 * k / 4).max(8 * block))).min(n);
        if basis < least {
            return invalid("basis", "at least k plus two blocks");
        }
        let products = k.saturating_mul(50).saturating_add(100 * block + 1000);
        Ok(Self {
            k,
            tolerance: config.tolerance,
            block,
            basis,
            max_products: config.max_products.unwrap_or(products),
            deadline: config.max_time.and_then(|time| Instant::now().checked_add(time)),
            seed: config.seed,
        })
    }

    /// The limit that is reached, if any.
    fn exhausted(&self, products: usize) -> Option<&'static str> {
        // One block is always multiplied, so that there is something to report.
        if products == 0 {
            None
        } else if products >= self.max_products {
            Some("limit of products")
        } else if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Some("limit of time")
        } else {
            None
        }
    }
}

fn dense<K: SymmetricOperator + ?Sized>(operator: &K, plan: &Plan) -> Result<CertifiedPairs> {
    let pairs = eigh(operator.to_gram()?.as_ref())?.truncate(plan.k)?;
    certify(operator, pairs, plan.tolerance, Solver::Dense, 0, 0)
}

fn krylov<K: SymmetricOperator + ?Sized>(operator: &K, plan: &Plan) -> Result<CertifiedPairs> {
    let mut krylov = Krylov::new(operator, plan.block, plan.basis, plan.seed)?;
    let mut restarts = 0;
    loop {
        let stop = plan.exhausted(krylov.products());
        let full = !krylov.has_room() || krylov.is_complete();
        if !full && stop.is_none() {
            krylov.step()?;
            continue;
        }
        let ritz = krylov.ritz()?;
        let state = Progress::of(&krylov, &ritz, plan);
        if state.converged == plan.k && !state.saturated || krylov.is_complete() {
            let pairs = krylov.leading(&ritz, plan.k)?;
            let products = krylov.products();
            return certify(operator, pairs, plan.tolerance, Solver::Krylov, products, restarts);
        }
        if let Some(limit) = stop {
            return Err(state.not_converged(plan.k, limit));
        }
        restart(&mut krylov, &ritz, &state, plan)?;
        restarts += 1;
    }
}

/// Cuts the basis, keeping half of the room beyond k filled.
fn restart<K: SymmetricOperator + ?Sized>(
    krylov: &mut Krylov<'_, K>,
    ritz: &Ritz,
    state: &Progress,
    plan: &Plan,
) -> Result<()> {
    let before = krylov.locked().len();
    let total = plan.k + (plan.basis - plan.k) / 2;
    let keep = total.min(plan.basis - krylov.waiting()) - before;
    let keep = keep.min(ritz.values().len());
    krylov.restart(ritz, keep, state.lockable.min(keep));
    if state.saturated && plan.basis - krylov.dim() >= krylov.waiting() + plan.block {
        krylov.widen()?;
    }
    Ok(())
}

/// Values closer than this fraction of the largest count as copies of one multiple eigenvalue; it
/// is well above the round-off of a product.
const SAME: f64 = 1e-12;

/// How far the k leading Ritz pairs have converged.
struct Progress {
    /// Residual of each of the k leading pairs over the largest value.
    residuals: Vec<f64>,
    /// Leading pairs within the tolerance.
    converged: usize,
    /// Pairs beyond those locked that can be locked as well.
    lockable: usize,
    /// Whether some value was found as often as there were random columns, so that it may have
    /// more copies.
    saturated: bool,
}

impl Progress {
    fn of<K: SymmetricOperator + ?Sized>(krylov: &Krylov<'_, K>, ritz: &Ritz, plan: &Plan) -> Self {
        let locked = krylov.locked();
        let wanted = (plan.k - locked.len()).min(ritz.values().len());
        let largest = krylov.largest(ritz);
        let relative = |r: f64| if r == 0.0 { 0.0 } else { r / largest };
        let active: Vec<f64> = krylov.estimates(ritz, wanted).into_iter().map(relative).collect();
        let within = |bound: f64| active.iter().take_while(|&&r| r <= bound).count();
        let lockable = within(LOCK * plan.tolerance);
        let converged = locked.len() + within(MARGIN * plan.tolerance);
        let mut values: Vec<f64> = locked.iter().chain(&ritz.values()[..wanted]).copied().collect();
        values.sort_by(|a, b| b.total_cmp(a));
        // Copies are values that agree to SAME of the largest. CLUSTER would be too wide: the tail
        // of a steep spectrum is one cluster without a multiple value in it.
        let saturated = (values.windows(krylov.drawn().max(2)))
            .any(|copies| copies[0] - copies[copies.len() - 1] <= SAME * largest);
        let mut residuals = vec![0.0; locked.len()];
        residuals.extend(active);
        residuals.resize(plan.k, f64::INFINITY);
        Self { residuals, converged, lockable, saturated }
    }

    fn not_converged(self, wanted: usize, limit: &'static str) -> SpectralError {
        SpectralError::NotConverged {
            wanted,
            got: self.converged,
            residuals: self.residuals,
            limit,
        }
    }
}
