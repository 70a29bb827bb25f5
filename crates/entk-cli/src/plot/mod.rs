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
pub(crate) mod bands;
mod canvas;
pub(crate) mod drawing;
mod figure;
mod grid;
mod image_grid;
mod legend;
mod panel;
mod series;
mod ticks;

pub use axis::Axis;
pub use canvas::Canvas;
pub use drawing::Drawing;
pub use figure::{DrawnNumber, Figure, Legend};
pub use grid::FigureGrid;
pub use image_grid::{ColorMap, DrawnPixel, Image, ImageGrid};
pub use series::{Baseline, Level, LineStyle, Marker, Series, Spread};
pub use ticks::{Scale, TickFormat};
