//! What `verify` says: checks, rates and times come in, tables go to stdout, and all numbers to
//! `record.json`. Called by its `run`, part by part.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use crate::commands::verify::{
    against_cpu::Check,
    time::{Rates, Time},
};

/// All numbers of record.json.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    pub device: Vec<String>,
    pub kernels: Vec<Check>,
    pub comparisons: Vec<Check>,
    pub rates: Rates,
    pub times: Vec<Time>,
}

impl Results {
    /// Whether every check has passed.
    pub fn are_right(&self) -> bool {
        self.kernels.iter().chain(&self.comparisons).all(Check::passed)
    }
}

pub fn device(lines: &[String]) -> Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

pub fn kernels(checks: &[Check]) -> Result<()> {
    if checks.is_empty() {
        return Ok(writeln!(io::stdout(), "\nkernels: none, the CPU has its own")?);
    }
    table("kernels, known answers", checks)
}

pub fn comparisons(checks: &[Check]) -> Result<()> {
    table("against the CPU in f64", checks)
}

fn table(title: &str, checks: &[Check]) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n{title:<48} {:>8} {:>9} {:>9}", "in", "error", "allowed")?;
    for check in checks {
        let Check { what, arithmetic, error, tolerance } = check;
        let verdict = if check.passed() { "" } else { "  WRONG" };
        writeln!(out, "  {what:<46} {arithmetic:>8} {error:>9.1e} {tolerance:>9.1e}{verdict}")?;
    }
    let wrong = checks.iter().filter(|check| !check.passed()).count();
    Ok(writeln!(out, "  {} of {} right", checks.len() - wrong, checks.len())?)
}

pub fn rates(rates: &Rates) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\nrates")?;
    writeln!(
        out,
        "  {:<46} {:>10.1} GB/s",
        "copies on the device, read and written",
        rates.copy / 1e9
    )?;
    writeln!(out, "  {:<46} {:>10.1} GB/s", "copies to the host", rates.to_host / 1e9)?;
    for (precision, rate) in &rates.products {
        let what = format!("products, {precision}");
        writeln!(out, "  {what:<46} {:>10.3} TFLOP/s", rate / 1e12)?;
    }
    Ok(())
}

/// The head of the table whose rows are those of `time`.
pub fn times() -> Result<()> {
    Ok(writeln!(
        io::stdout(),
        "\n{:<36} {:>7} {:>6} {:>10} {:>10} {:>6} {:>9}",
        "times",
        "N",
        "in",
        "seconds",
        "floor",
        "share",
        "error"
    )?)
}

pub fn time(time: &Time) -> Result<()> {
    let Time { what, n, precision, seconds, floor_s, error, .. } = time;
    let share = format!("{:.0} %", 100.0 * floor_s / seconds);
    let error = error.map_or_else(String::new, |error| format!("{error:.1e}"));
    Ok(writeln!(
        io::stdout(),
        "  {what:<34} {n:>7} {precision:>6} {seconds:>10.3} {floor_s:>10.4} {share:>6} {error:>9}"
    )?)
}
