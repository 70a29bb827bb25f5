//! Regression by conjugate gradients over a kernel that memory need not hold: a problem comes in,
//! predictions are written. Called by main.

use std::ops::ControlFlow;

use anyhow::Result;
use entk::{
    predict::{
        CgConfig, CgSolution, Columns, SpectralPreconditioner, conjugate_gradients, predict,
    },
    spectral::{CertifiedPairs, EigshConfig, SymmetricOperator, eigsh},
};
use entk_cli::Run;
use serde_json::{Value, json};

use crate::commands::predict::{
    dense::write_table, flags::Flags, problem::Problem, quality::Quality,
};

/// Residuals of the pairs of the preconditioner, over the largest eigenvalue: they need not be
/// exact.
const PAIRS_TOLERANCE: f64 = 1e-6;

/// Solves with `pairs` leading eigenpairs as preconditioner; `diagonal` is that of the kernel.
/// Returns the numbers of record.json.
pub fn solve<K: SymmetricOperator>(
    run: &Run,
    flags: &Flags,
    problem: &Problem,
    operator: &K,
    diagonal: &[f64],
) -> Result<Value> {
    let unit = diagonal.iter().sum::<f64>() / diagonal.len() as f64;
    let ridge = flags.ridge.unwrap_or(0.0) * unit;
    let count = flags.cg.unwrap_or(0).min(operator.n());
    let top = (count > 0).then(|| leading(run, flags, operator, count)).transpose()?;
    let offsets = problem.offsets.as_ref();
    let offset = offsets.map(|[train, _]| train);
    let targets = subtract(&problem.table(&problem.targets)?, offset)?;
    let solution = iterate(run, flags, operator, ridge, &targets, top.as_ref())?;
    let test_offset = offsets.map(|[_, test]| test);
    let predictions = predict(&problem.cross, &solution.coefficients, test_offset)?;
    write_table(run, "predictions.npy", problem, &predictions)?;
    Ok(json!({
        "absolute_ridge": ridge,
        "pairs": count,
        "products_of_pairs": top.as_ref().map(|top| top.products),
        "smallest_of_pairs": top.as_ref().and_then(|top| top.pairs.values().last().copied()),
        "iterations": solution.iterations,
        "passes": solution.passes,
        "products": solution.products,
        "residual": solution.residuals.iter().copied().fold(0.0, f64::max),
        "history": solution.history,
        "regression": Quality::new(&predictions, &problem.test_targets),
    }))
}

fn leading<K: SymmetricOperator>(
    run: &Run,
    flags: &Flags,
    operator: &K,
    count: usize,
) -> Result<CertifiedPairs> {
    run.stage("eigenpairs", 1, |_| {
        let (tolerance, seed) = (PAIRS_TOLERANCE, flags.seed);
        Ok(eigsh(operator, count, &EigshConfig { tolerance, seed, ..EigshConfig::default() })?)
    })
}

fn iterate<K: SymmetricOperator>(
    run: &Run,
    flags: &Flags,
    operator: &K,
    ridge: f64,
    targets: &Columns,
    top: Option<&CertifiedPairs>,
) -> Result<CgSolution> {
    let preconditioner = top.map(|top| SpectralPreconditioner::new(&top.pairs, ridge));
    let preconditioner = preconditioner.transpose()?;
    let config = CgConfig { tolerance: flags.tolerance, ..CgConfig::default() };
    run.stage("conjugate gradients", config.max_iterations as u64, |stage| {
        let mut watch = |progress: &entk::predict::CgProgress| {
            stage.set_done(progress.iterations as u64);
            stage.message(format!("residual {:.1e}", progress.worst));
            ControlFlow::Continue(())
        };
        let preconditioner = preconditioner.as_ref();
        Ok(conjugate_gradients(operator, ridge, targets, preconditioner, &config, &mut watch)?)
    })
}

/// Targets minus outputs at theta_0.
fn subtract(targets: &Columns, offset: Option<&Columns>) -> Result<Columns> {
    let Some(offset) = offset else { return Ok(targets.clone()) };
    let values = targets.values().iter().zip(offset.values()).map(|(y, f0)| y - f0).collect();
    Ok(Columns::from_columns(targets.rows(), targets.cols(), values)?)
}
