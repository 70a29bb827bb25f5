//! One panel with axes.

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{
    Drawing,
    axis::Axis,
    canvas::Canvas,
    grid::{COLUMN_WIDTH, Page, layout},
    legend::Legend,
    series::{Baseline, Level, Series},
};

/// A panel: two axes, curves and baselines.
///
/// ```
/// use entk_examples::plot::{Axis, Baseline, Drawing, Figure, Series};
///
/// # fn main() -> anyhow::Result<()> {
/// # let folder = tempfile::tempdir()?;
/// let network = vec![(1.0, 0.98), (10.0, 0.85), (100.0, 0.61)];
/// let figure = Figure::new(Axis::log("eigenfunction index"), Axis::linear("test accuracy").percent())
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

impl Drawing for Figure {
    type Number = DrawnNumber;

    fn canvas(&self) -> Result<Canvas> {
        let page = Page { title: "", note: &self.note, columns: 1, panel_width: COLUMN_WIDTH };
        layout(std::slice::from_ref(self), &page)
    }

    fn numbers(&self) -> Vec<DrawnNumber> {
        let panel = self.name();
        let mut rows = Vec::new();
        for series in &self.series {
            let intervals: Vec<(f64, f64)> =
                series.intervals().map(|(_, interval)| interval).collect();
            for (index, &(x, y)) in series.points.iter().enumerate() {
                let (low, high) = intervals.get(index).copied().unzip();
                let (panel, series) = (panel.clone(), series.label.clone());
                rows.push(DrawnNumber { panel, series, x: Some(x), y: Some(y), low, high });
            }
        }
        for baseline in &self.baselines {
            let (x, y) = match baseline.level {
                Level::X(x) => (Some(x), None),
                Level::Y(y) => (None, Some(y)),
            };
            let (panel, series) = (panel.clone(), baseline.label.clone());
            rows.push(DrawnNumber { panel, series, x, y, low: None, high: None });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_the_table() {
        let series =
            Series::new("network", vec![(1.0, 0.9), (2.0, 0.8)]).band(vec![(0.8, 1.0), (0.7, 0.9)]);
        let figure = Figure::new(Axis::linear("x"), Axis::linear("y"))
            .series(series)
            .baseline(Baseline::vertical("trained", 1.5));
        let rows = figure.numbers();
        assert_eq!(rows.len(), 3);
        assert_eq!((rows[1].x, rows[1].low, rows[1].high), (Some(2.0), Some(0.7), Some(0.9)));
        assert_eq!((rows[2].x, rows[2].y), (Some(1.5), None));
        assert_eq!(rows[0].panel, "y against x");
    }

    #[test]
    fn an_empty_panel_is_refused() {
        let figure = Figure::new(Axis::linear("x"), Axis::linear("y"));
        let error = figure.canvas().map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(error, Err("panel \"y against x\" has no series".to_owned()));
    }
}
