//! One page of HTML from a folder of results: figures, tables, settings, times, and what differs
//! from the paper.
//!
//! The page is a single file without scripts that loads nothing: it opens from disk.

#![forbid(unsafe_code)]

#[path = "report_page.rs"]
mod page;
#[path = "report_paper.rs"]
mod paper;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use entk_examples::{Record, write_atomically};

/// Tables of more rows than this are named, not shown.
const MOST_ROWS: usize = 60;

/// Makes one self-contained page of HTML from a folder of results.
#[derive(Parser)]
#[command(name = "report", version)]
struct Flags {
    /// Folder with the results of several programs, each in a folder of its own
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,

    /// The page [default: report.html in that folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A finished run and its files, by name.
struct Finished {
    folder: String,
    record: Record,
    figures: Vec<(String, String)>,
    tables: Vec<Table>,
}

/// A table of numbers.
struct Table {
    file: String,
    lines: Vec<Vec<String>>,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let mut runs = Vec::new();
    for folder in subfolders(&flags.results)? {
        let record = folder.join("record.json");
        // Of the others, the cache is one, and an interrupted run another.
        if record.exists() {
            runs.push(read(&folder, Record::read(&record)?)?);
        }
    }
    let shown = flags.results.display();
    ensure!(!runs.is_empty(), "{shown} has no folder with a record.json: run a figure first");
    runs.sort_by(|a, b| (&a.record.program, &a.folder).cmp(&(&b.record.program, &b.folder)));
    let out = flags.out.unwrap_or_else(|| flags.results.join("report.html"));
    write_atomically(&out, page::html(&runs).as_bytes())?;
    eprintln!("{}: {} runs", out.display(), runs.len());
    Ok(())
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read {}: give the folder with --results", folder.display());
    let entries = std::fs::read_dir(folder).with_context(context)?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>();
    Ok(paths.with_context(context)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Reads the figures and tables of a run. Numbers drawn lie beside their figure under its name;
/// they are not a table.
fn read(folder: &Path, record: Record) -> Result<Finished> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    files.sort();
    let (mut figures, mut tables) = (Vec::new(), Vec::new());
    for path in &files {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => {
                let svg = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                figures.push((name(path), svg));
            }
            Some("csv") if !files.contains(&path.with_extension("svg")) => {
                tables.push(Table { file: name(path), lines: read_table(path)? });
            }
            _ => {}
        }
    }
    Ok(Finished { folder: name(folder), record, figures, tables })
}

/// The header and the rows of a table.
fn read_table(path: &Path) -> Result<Vec<Vec<String>>> {
    let context = || format!("cannot read the table {}", path.display());
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path)?;
    let lines = reader.records().map(|line| Ok(line?.iter().map(str::to_owned).collect()));
    lines.collect::<Result<_>>().with_context(context)
}
