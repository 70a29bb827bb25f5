//! Figures: declared as data, drawn the same to SVG and PNG.
//!
//! A [`Figure`] is one panel with its axes, [`Series`] and [`Baseline`]s; a [`FigureGrid`] puts
//! several side by side; an [`ImageGrid`] shows small images. All are [`Drawing`]s: they lay
//! themselves out on a [`Canvas`], a list of shapes, which is then replayed by a backend. Only
//! `render` knows the plotting library, so that it can be changed in one place. Layout and ticks
//! are ours because the library's charts place legends over the data and have no sub-pixel
//! coordinates.
//!
//! Lengths are points (1/72 inch): a figure is as wide as a column of text, and its letters are as
//! large there as stated in `style`.

mod axis;
mod canvas;
mod figure;
mod geometry;
mod glyphs;
mod grid;
mod image_grid;
mod legend;
mod panel;
mod render;
mod series;
mod style;
mod ticks;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
pub use axis::{Axis, Scale, TickFormat};
pub use canvas::Canvas;
pub use figure::{DrawnNumber, Figure};
pub use grid::FigureGrid;
pub use image_grid::{ColorMap, DrawnPixel, Image, ImageGrid};
pub use legend::Legend;
use serde::Serialize;
pub use series::{Baseline, Level, Line, Marker, Series, Spread};

use crate::write_atomically;

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
        write_atomically(&paths[0], render::svg(&canvas)?.as_bytes())?;
        write_atomically(&paths[1], &render::png(&canvas)?)?;
        Ok(paths)
    }
}
