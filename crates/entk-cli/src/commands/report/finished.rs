//! The finished runs below a folder of results: the folder comes in; records, figures and tables of
//! its subfolders go out. Called by the main of `report`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use entk::device::files::{self, FileError};
use entk_cli::Record;

/// A finished run and its files, by name.
pub struct Finished {
    pub folder: String,
    pub record: Record,
    pub figures: Vec<(String, String)>,
    pub tables: Vec<ResultTable>,
}

/// A table of numbers.
pub struct ResultTable {
    pub file: String,
    pub lines: Vec<Vec<String>>,
}

/// The finished runs in the subfolders of `results`; the cache and interrupted runs have no record.
pub fn read_all(results: &Path) -> Result<Vec<Finished>> {
    let mut runs = Vec::new();
    for folder in subfolders(results)? {
        let record = folder.join("record.json");
        if record.exists() {
            runs.push(read(&folder, Record::read(&record)?)?);
        }
    }
    Ok(runs)
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read {}: give the folder with --results", folder.display());
    let paths = files::list(folder).with_context(context)?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// Reads the figures and tables of a run. Numbers drawn lie beside their figure under its name;
/// they are not a table.
fn read(folder: &Path, record: Record) -> Result<Finished> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let paths = files::list(folder).map_err(FileError::new("list", folder))?;
    let (mut figures, mut tables) = (Vec::new(), Vec::new());
    for path in &paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => {
                let svg = files::read_text(path).map_err(FileError::new("read", path))?;
                figures.push((name(path), svg));
            }
            Some("csv") if !paths.contains(&path.with_extension("svg")) => {
                tables.push(ResultTable { file: name(path), lines: read_table(path)? });
            }
            _ => {}
        }
    }
    Ok(Finished { folder: name(folder), record, figures, tables })
}

/// The header and the rows of a table.
fn read_table(path: &Path) -> Result<Vec<Vec<String>>> {
    let context = || format!("cannot read the table {}", path.display());
    let file = files::open(path).with_context(context)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(file);
    let lines = reader.records().map(|line| Ok(line?.iter().map(str::to_owned).collect()));
    lines.collect::<Result<_>>().with_context(context)
}
