//! Mistakes that users make, each with its exit code and what stderr says of it: files of other
//! types, shapes and orders, numbers out of range, weights of other networks, too little memory.

mod files;
mod flags;
mod memory;
mod weights;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context, Result, ensure};
use entk_testing::program;

/// Exit codes, as `--help` of every program says them.
const DONE: i32 = 0;
const FLAGS: i32 = 2;
const INPUT: i32 = 65;
const FILES: i32 = 74;

/// A folder in which programs run, and whose files they name.
pub struct Place {
    folder: tempfile::TempDir,
}

/// A command line, its exit code, and what stderr must say.
type Case = (&'static str, i32, &'static [&'static str]);

impl Place {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An array of any element type, in any order of axes.
    fn array(&self, name: &str, descr: &str, shape: &[usize], fill: impl Fn(usize) -> Vec<u8>) {
        self.array_in_order(name, (descr, "False"), shape, fill);
    }

    fn array_in_order(
        &self,
        name: &str,
        (descr, fortran): (&str, &str),
        shape: &[usize],
        fill: impl Fn(usize) -> Vec<u8>,
    ) {
        let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
        let text =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({sizes}), }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        let count: usize = shape.iter().product();
        (0..count).for_each(|at| bytes.extend(fill(at)));
        fs::write(self.path(name), bytes).expect("written");
    }

    /// Twelve images of 3 x 4 x 4 in f32, with numbers near 1.
    fn images(&self, name: &str) {
        self.array(name, "<f4", &[12, 3, 4, 4], pixel);
    }

    /// Runs `program flags...` in this folder; `out` is a folder of its own.
    fn run(&self, line: &str) -> Result<Output> {
        let mut words = line.split(' ');
        let name = words.next().context("a program")?;
        let mut command = program(name)?;
        command.current_dir(self.folder.path()).args(words);
        if name != "report" && !line.contains("--out") {
            command.args(["--out", "out"]);
        }
        Ok(command.output()?)
    }

    /// Runs every case with a fresh folder of results; a refused one leaves nothing in it.
    fn check(&self, cases: &[Case]) -> Result<()> {
        for (line, code, texts) in cases {
            let _ = fs::remove_dir_all(self.path("out"));
            let output = self.run(line)?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(*code), "{line}: {:?} {said}", output.status);
            for text in *texts {
                ensure!(said.contains(text), "{line}: no {text:?} in {said}");
            }
            ensure!(!said.contains("panicked"), "{line}: {said}");
            let has_record = self.path("out/record.json").exists();
            ensure!(has_record == (*code == DONE) || line.contains("dry-run"), "{line}");
            ensure!(*code == DONE || is_empty(&self.path("out")), "{line} left files");
        }
        Ok(())
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// A number near 1, as f32.
fn pixel(at: usize) -> Vec<u8> {
    number(at).to_le_bytes().to_vec()
}

fn number(at: usize) -> f32 {
    (at as f32 * 0.7).sin()
}
