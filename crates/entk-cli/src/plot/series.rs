//! Curves with their spread, and reference lines, as programs declare them. Drawn by `panel`, named
//! by `legend`.

use anyhow::{Result, ensure};

use super::bands::Bands;

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineStyle {
    /// Without gaps.
    Solid,
    /// In dashes.
    Dashed,
    /// In dots.
    Dotted,
    /// Not at all: markers only.
    None,
}

impl LineStyle {
    /// Lengths on and off, in points.
    pub(crate) fn pattern(self) -> Option<(f64, f64)> {
        match self {
            Self::Solid | Self::None => None,
            Self::Dashed => Some((3.8, 2.0)),
            Self::Dotted => Some((1.3, 1.7)),
        }
    }
}

/// The mark at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A shape that follows from the colour; no mark on curves of more than 25 points.
    Auto,
    /// No mark.
    None,
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// A triangle.
    Triangle,
    /// A square on its corner.
    Diamond,
}

/// Curves of more points than this have no marks unless asked.
const MOST_MARKED: usize = 25;

impl Marker {
    /// The mark itself, for a series of `points` points in colour `color`.
    pub(crate) fn resolve(self, color: usize, points: usize) -> Self {
        const SHAPES: [Marker; 4] =
            [Marker::Circle, Marker::Square, Marker::Triangle, Marker::Diamond];
        match self {
            Self::Auto if points > MOST_MARKED => Self::None,
            Self::Auto => SHAPES[color % SHAPES.len()],
            chosen => chosen,
        }
    }
}

/// The spread of a series: at each point a lowest and a highest value.
#[derive(Clone, Debug, PartialEq)]
pub enum Spread {
    /// A shaded area.
    Band(Vec<(f64, f64)>),
    /// An upright bar at each point.
    Bars(Vec<(f64, f64)>),
}

impl Spread {
    /// The (low, high) pairs, in the order of the points.
    pub fn intervals(&self) -> &[(f64, f64)] {
        match self {
            Self::Band(intervals) | Self::Bars(intervals) => intervals,
        }
    }
}

/// A curve. Points that an axis cannot show (not finite, or not positive on a log axis) leave a
/// gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend; empty for none.
    pub label: String,
    /// Points (x, y), joined in this order.
    pub points: Vec<(f64, f64)>,
    /// Spread around the points.
    pub spread: Option<Spread>,
    /// Line.
    pub line: LineStyle,
    /// Mark at the points.
    pub marker: Marker,
    /// Index into the palette; wraps around.
    pub color: usize,
}

impl Series {
    /// A solid line in the first colour.
    pub fn new(label: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        let label = label.into();
        Self { label, points, spread: None, line: LineStyle::Solid, marker: Marker::Auto, color: 0 }
    }

    /// The medians of `bands`, with the extremes as a band.
    pub fn from_bands(label: impl Into<String>, bands: &Bands) -> Self {
        Self::new(label, bands.medians()).band(bands.extremes())
    }

    /// Points (x, y) of several runs: the median at each x, with the extremes as a band.
    ///
    /// # Errors
    /// As [`Bands::of_points`].
    pub fn of_runs(
        label: impl Into<String>,
        points: impl IntoIterator<Item = (usize, f64)>,
    ) -> Result<Self> {
        let points: Vec<_> = points.into_iter().map(|(x, y)| (x as f64, y)).collect();
        Ok(Self::from_bands(label, &Bands::of_points(&points)?))
    }

    /// Sets the index into the palette.
    pub fn color(self, color: usize) -> Self {
        Self { color, ..self }
    }

    /// Sets the line.
    pub fn line(self, line: LineStyle) -> Self {
        Self { line, ..self }
    }

    /// Sets the mark.
    pub fn marker(self, marker: Marker) -> Self {
        Self { marker, ..self }
    }

    /// Shades between (low, high) pairs, one a point.
    pub fn band(self, intervals: Vec<(f64, f64)>) -> Self {
        Self { spread: Some(Spread::Band(intervals)), ..self }
    }

    /// Draws error bars between (low, high) pairs, one a point.
    pub fn bars(self, intervals: Vec<(f64, f64)>) -> Self {
        Self { spread: Some(Spread::Bars(intervals)), ..self }
    }

    /// Each point with its interval, if there is a spread.
    pub(crate) fn intervals(&self) -> impl Iterator<Item = (f64, (f64, f64))> + '_ {
        let intervals = self.spread.as_ref().map_or(&[][..], Spread::intervals);
        self.points.iter().zip(intervals).map(|(&(x, _), &interval)| (x, interval))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let points = self.points.len();
        let intervals = self.spread.as_ref().map_or(points, |spread| spread.intervals().len());
        ensure!(
            points == intervals,
            "series {:?} has {points} points but {intervals} intervals",
            self.label
        );
        Ok(())
    }
}

/// Where a baseline is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    /// Across, at this y.
    Y(f64),
    /// Upright, at this x.
    X(f64),
}

/// A straight reference line across the panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// Name in the legend; empty for none.
    pub label: String,
    /// Where it is.
    pub level: Level,
    /// Line.
    pub line: LineStyle,
    /// Index into the palette; grey if `None`.
    pub color: Option<usize>,
}

impl Baseline {
    /// A dashed grey line across at `y`.
    pub fn horizontal(label: impl Into<String>, y: f64) -> Self {
        Self { label: label.into(), level: Level::Y(y), line: LineStyle::Dashed, color: None }
    }

    /// A dotted grey line upright at `x`.
    pub fn vertical(label: impl Into<String>, x: f64) -> Self {
        Self { label: label.into(), level: Level::X(x), line: LineStyle::Dotted, color: None }
    }

    /// Sets the line.
    pub fn line(self, line: LineStyle) -> Self {
        Self { line, ..self }
    }

    /// Sets the index into the palette.
    pub fn color(self, color: usize) -> Self {
        Self { color: Some(color), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_follow_the_colour_and_give_way_on_long_curves() {
        assert_eq!(Marker::Auto.resolve(0, 10), Marker::Circle);
        assert_eq!(Marker::Auto.resolve(5, 10), Marker::Square);
        assert_eq!(Marker::Auto.resolve(0, 1000), Marker::None);
        assert_eq!(Marker::Diamond.resolve(0, 1000), Marker::Diamond);
    }

    #[test]
    fn a_spread_must_be_as_long_as_its_series() {
        let series = Series::new("network", vec![(1.0, 1.0), (2.0, 2.0)]).band(vec![(0.0, 1.0)]);
        let error = series.check().map_err(|error| error.to_string());
        assert_eq!(error, Err("series \"network\" has 2 points but 1 intervals".to_owned()));
    }
}
