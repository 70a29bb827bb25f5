//! What all figures have in common: a [`Drawing`] lays itself out on a canvas and lists its
//! numbers; saved, it becomes an SVG and a PNG file. Called by `Run::save_figure`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use entk::device::files;
use serde::Serialize;

use crate::plot::canvas::{Canvas, render};

/// Something that can be drawn.
pub trait Drawing {
    /// A row of the table of all numbers drawn.
    type Number: Serialize;

    /// Lays the drawing out.
    ///
    /// # Errors
    ///
    /// When there is nothing to draw, or lengths do not match.
    fn canvas(&self) -> Result<Canvas>;

    /// Every number drawn, enough to draw it again.
    fn numbers(&self) -> Vec<Self::Number>;

    /// Writes `<stem>.svg` and `<stem>.png` into `folder`, each atomically, and returns their
    /// paths.
    ///
    /// # Errors
    ///
    /// As [`Drawing::canvas`], and when a file cannot be written.
    fn save(&self, folder: &Path, stem: &str) -> Result<[PathBuf; 2]> {
        let canvas = self.canvas().with_context(|| format!("cannot draw {stem}"))?;
        let paths = [folder.join(format!("{stem}.svg")), folder.join(format!("{stem}.png"))];
        files::write(&paths[0], render::svg(&canvas)?.as_bytes())?;
        files::write(&paths[1], &render::png(&canvas)?)?;
        Ok(paths)
    }
}
