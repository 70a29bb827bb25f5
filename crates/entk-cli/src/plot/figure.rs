//! One panel as a program declares it: two axes, curves, baselines, a title and small print. Drawn
//! by `grid`, which also lists its numbers.

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{
    axis::Axis,
    series::{Baseline, Series},
};

/// Where the legend goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legend {
    /// Into a part of the panel that is empty, or below if none is.
    Auto,
    /// Below the panel.
    Below,
    /// Nowhere.
    Hidden,
}

/// A panel: two axes, curves and baselines.
///
/// ```
/// use entk_cli::plot::{Axis, Baseline, Drawing, Figure, Series};
///
/// # fn main() -> anyhow::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// let network = vec![(1.0, 0.98), (10.0, 0.85), (100.0, 0.61)];
/// let accuracies = Axis::linear("test accuracy").percent();
/// let figure = Figure::new(Axis::log("eigenfunction index"), accuracies)
///     .series(Series::new("network", network))
///     .baseline(Baseline::horizontal("chance", 0.5));
/// let [svg, png] = figure.save(folder.path(), "accuracy")?;
/// assert!(svg.exists() && png.exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Above the panel; none if empty.
    pub title: String,
    /// The axis across.
    pub x: Axis,
    /// The axis upwards.
    pub y: Axis,
    /// Curves, the later over the earlier.
    pub series: Vec<Series>,
    /// Reference lines, below the curves.
    pub baselines: Vec<Baseline>,
    /// Where the legend goes.
    pub legend: Legend,
    /// Small print below; none if empty.
    pub note: String,
}

impl Figure {
    /// An empty panel.
    pub fn new(x: Axis, y: Axis) -> Self {
        let (title, note) = (String::new(), String::new());
        Self { title, x, y, series: Vec::new(), baselines: Vec::new(), legend: Legend::Auto, note }
    }

    /// Sets the title.
    pub fn title(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// Adds a curve.
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Adds a reference line.
    pub fn baseline(mut self, baseline: Baseline) -> Self {
        self.baselines.push(baseline);
        self
    }

    /// Sets where the legend goes.
    pub fn legend(self, legend: Legend) -> Self {
        Self { legend, ..self }
    }

    /// Sets the small print.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.series.is_empty(), "panel {:?} has no series", self.name());
        self.series
            .iter()
            .try_for_each(Series::check)
            .with_context(|| format!("in panel {:?}", self.name()))
    }

    /// The title, or what is drawn against what.
    pub(crate) fn name(&self) -> String {
        match self.title.is_empty() {
            true => format!("{} against {}", self.y.label, self.x.label),
            false => self.title.clone(),
        }
    }
}

/// A point of a curve, or a baseline, as a row of the table of numbers drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrawnNumber {
    /// Title of the panel, or what it draws against what.
    pub panel: String,
    /// Name of the curve or baseline.
    pub series: String,
    /// Across; none on a horizontal baseline.
    pub x: Option<f64>,
    /// Upwards; none on a vertical baseline.
    pub y: Option<f64>,
    /// Lower end of the spread.
    pub low: Option<f64>,
    /// Upper end of the spread.
    pub high: Option<f64>,
}
