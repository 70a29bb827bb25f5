//! Records of runs and the tables beside them, as `report` reads them.

#[path = "../../../crates/entk-cli/src/commands/report/curve.rs"]
mod curve;
#[path = "../../../crates/entk-cli/src/commands/report/finished.rs"]
mod finished;
#[path = "../../../crates/entk-cli/src/commands/report/page.rs"]
mod page;
#[path = "../../../crates/entk-cli/src/commands/report/paper.rs"]
mod paper;
#[path = "../../../crates/entk-cli/src/commands/report/verdict.rs"]
mod verdict;

use std::fs;

use finished::read_all;
use page::html;

use crate::parsers::inputs::{split, with_folder};

/// record.json and a table.
pub fn report(data: &[u8]) {
    let files = split(data);
    let table = files.get(1).copied().unwrap_or(&[]);
    with_folder(|folder| {
        let run = folder.join("run");
        fs::create_dir_all(&run)?;
        fs::write(run.join("record.json"), files[0])?;
        // Under the names by which claims are judged, too.
        for name in ["table.csv", "tasks.csv", "epochs.csv", "table1.csv"] {
            fs::write(run.join(name), table)?;
        }
        if let Ok(runs) = read_all(folder) {
            assert!(html(&runs).ends_with("</html>\n"));
        }
        Ok(())
    });
}
