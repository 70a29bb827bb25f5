//! One page of HTML from a folder of results: the paper's claims with what each run shows of them,
//! figures, tables, settings, times, and what differs from the paper.
//!
//! The page is a single file without scripts that loads nothing: it opens from disk.

mod curve;
mod finished;
mod page;
mod paper;
mod verdict;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use entk::device::files;
use entk_cli::{FILE_EXIT_CODES, ensure_input, say};

/// Makes one self-contained page of HTML from a folder of results.
#[derive(Parser)]
#[command(name = "report", version, after_help = FILE_EXIT_CODES)]
pub(crate) struct Flags {
    /// Folder with the results of several programs, each in a folder of its own
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,

    /// The page [default: report.html in that folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(flags: Flags) -> Result<()> {
    let mut runs = finished::read_all(&flags.results)?;
    let shown = flags.results.display();
    ensure_input(!runs.is_empty(), || {
        format!(
            "{shown} has no folder with a record.json: give the folder above your --out folders"
        )
    })?;
    runs.sort_by(|a, b| (&a.record.program, &a.folder).cmp(&(&b.record.program, &b.folder)));
    let out = flags.out.unwrap_or_else(|| flags.results.join("report.html"));
    files::write(&out, page::html(&runs).as_bytes())?;
    say(format_args!("{}: {}", out.display(), page::counted(runs.len())));
    Ok(())
}
