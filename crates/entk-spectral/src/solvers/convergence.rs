//! How far a block Lanczos process has come, and how its basis is cut: in come the basis and its
//! Ritz pairs, out go what has converged and a smaller basis. `eigsh` calls it when the basis is
//! full.

use crate::{
    dense::ritz::Ritz,
    error::{Result, SpectralError},
    ranks::operator::DistributedOperator,
    solvers::{eigsh_config::Plan, krylov::Krylov},
};

/// Pairs whose residual is below this fraction of the tolerance are locked: they leave the
/// projected problem, and what they would still change in the other pairs is far below the
/// tolerance.
const LOCK: f64 = 1e-3;
/// A pair counts as converged when its estimated residual is below this fraction of the tolerance,
/// since the measured one may be larger by round-off.
const MARGIN: f64 = 0.5;

/// Cuts the basis, keeping half of the room beyond k filled.
pub(crate) fn restart<K: DistributedOperator + ?Sized>(
    krylov: &mut Krylov<'_, K>,
    ritz: &Ritz,
    state: &Convergence,
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
pub(crate) struct Convergence {
    /// Residual of each of the k leading pairs over the largest value.
    residuals: Vec<f64>,
    /// Leading pairs within the tolerance.
    pub(crate) converged: usize,
    /// Pairs beyond those locked that can be locked as well.
    lockable: usize,
    /// Whether some value was found as often as there were random columns, so that it may have
    /// more copies.
    pub(crate) saturated: bool,
}

impl Convergence {
    pub(crate) fn of<K: DistributedOperator + ?Sized>(
        krylov: &Krylov<'_, K>,
        ritz: &Ritz,
        plan: &Plan,
    ) -> Self {
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

    pub(crate) fn not_converged(self, wanted: usize, limit: &'static str) -> SpectralError {
        SpectralError::NotConverged {
            wanted,
            got: self.converged,
            residuals: self.residuals,
            limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        EigshConfig, Gram,
        ranks::{
            communicator::{OneRank, Ranks},
            operator::Whole,
        },
    };

    /// Of 20 columns 4 and half of the 16 beyond them stay; fewer where the next block, wider by
    /// then, would not fit.
    #[test]
    fn a_restart_keeps_half_of_the_room() {
        let n = 80_usize;
        let entries = (0..n * n).map(|at| 1.0 / (1.0 + (at / n).abs_diff(at % n) as f64)).collect();
        let gram = Gram::from_lower_f64(n, entries).expect("a square");
        let config = EigshConfig { block: Some(2), basis: Some(20), ..EigshConfig::default() };
        let ranks = Ranks::new(&OneRank);
        let whole = Whole::new(&gram, &ranks).expect("one rank");
        let plan = Plan::new(&whole, 4, &config).expect("settings");
        let mut krylov = Krylov::new(&whole, 2, 20, 0).expect("a basis");
        while krylov.has_room() {
            krylov.step().expect("a step");
        }
        assert_eq!((krylov.dim(), krylov.waiting()), (20, 2));
        let ritz = krylov.ritz().expect("Ritz pairs");
        let state = Convergence::of(&krylov, &ritz, &plan);
        assert!(!state.saturated && state.converged < 4);
        restart(&mut krylov, &ritz, &state, &plan).expect("a restart");
        assert_eq!(krylov.dim(), 12);
        (0..5).for_each(|_| krylov.widen().expect("more columns"));
        assert_eq!(krylov.waiting(), 12);
        let ritz = krylov.ritz().expect("Ritz pairs");
        restart(&mut krylov, &ritz, &state, &plan).expect("a restart");
        assert_eq!(krylov.dim(), 8);
    }
}
