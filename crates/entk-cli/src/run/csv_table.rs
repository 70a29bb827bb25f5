//! Tables of numbers: rows come in, a CSV file goes out. Called by `Run`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use entk::device::files;
use serde::Serialize;

/// Writes `rows` to `path` atomically: a header of the row type's field names, then one line a row.
///
/// Numbers are written with the fewest digits that read back to the same bits, so equal results
/// give equal bytes. A `None` is an empty cell.
///
/// # Errors
///
/// When `rows` is empty (a table without numbers is a mistake of the caller), when a row does not
/// serialize to a flat record, or when the file cannot be written.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Row { index: usize, accuracy: f64, distance: Option<f64> }
///
/// # fn main() -> anyhow::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("accuracy.csv");
/// entk_cli::write_csv(&path, &[Row { index: 1, accuracy: 0.975, distance: None }])?;
/// assert_eq!(std::fs::read_to_string(path)?, "index,accuracy,distance\n1,0.975,\n");
/// # Ok(())
/// # }
/// ```
pub fn write_csv<R: Serialize>(path: &Path, rows: &[R]) -> Result<()> {
    ensure!(!rows.is_empty(), "no rows to write to {}", path.display());
    let bytes =
        encode(rows).with_context(|| format!("cannot make a table for {}", path.display()))?;
    Ok(files::write(path, &bytes)?)
}

fn encode<R: Serialize>(rows: &[R]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(writer.into_inner().map_err(|failed| failed.into_error())?)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        name: String,
        value: f64,
        low: Option<f64>,
    }

    #[test]
    fn every_bit_survives_the_round_trip() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("t.csv");
        let values = [0.1 + 0.2, 1.0 / 3.0, 1e-300, -4.5e9, f64::MIN_POSITIVE];
        let rows: Vec<Row> =
            values.iter().map(|&value| Row { name: "a, \"b\"".into(), value, low: None }).collect();
        write_csv(&path, &rows)?;
        let read: Vec<Row> =
            csv::Reader::from_path(&path)?.deserialize().collect::<Result<_, _>>()?;
        assert_eq!(read, rows);
        Ok(())
    }

    #[test]
    fn an_empty_table_is_refused_and_leaves_no_file() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("t.csv");
        assert!(write_csv::<Row>(&path, &[]).is_err());
        assert!(!path.exists());
        Ok(())
    }
}
