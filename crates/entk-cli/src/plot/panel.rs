//! Draws one panel: a figure and the area for it come in, grid, axes, curves and labels go onto the
//! canvas. Called by `grid`, which asks it for margins and obstacles first.

use anyhow::Result;

use super::{
    axis::FittedAxis,
    canvas::{
        Align, Canvas, Letters, Stroke,
        geometry::{Point, Rect, clip_path},
        glyphs::text_width,
        middle_to_baseline,
        style::{
            BAND_OPACITY, BASELINE, BASELINE_WIDTH, Color, GRID, GRID_WIDTH, INK, LABEL_SIZE,
            LINE_WIDTH, MARKER_RADIUS, MINOR_TICK_LENGTH, SPINE, SPINE_WIDTH, TICK_LENGTH,
            TICK_SIZE, TITLE_SIZE, WHITE, palette,
        },
    },
    figure::Figure,
    series::{Baseline, Level, LineStyle, Marker, Series, Spread},
};

/// Room of one tick, in points.
const X_TICK_ROOM: f64 = 38.0;
const Y_TICK_ROOM: f64 = 26.0;

/// Between tick and label, label and title.
const PAD: f64 = 2.5;

/// Room around the plotted area.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Margins {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Margins {
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            left: self.left.max(other.left),
            right: self.right.max(other.right),
            top: self.top.max(other.top),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

/// A figure whose axes are fitted to its data.
pub(crate) struct Panel<'a> {
    pub(crate) figure: &'a Figure,
    x: FittedAxis,
    y: FittedAxis,
}

impl<'a> Panel<'a> {
    /// Fits the axes for a panel of about this size.
    pub(crate) fn new(figure: &'a Figure, width: f64, height: f64) -> Result<Self> {
        figure.check()?;
        let points = || figure.series.iter().flat_map(|series| series.points.iter().copied());
        let spread = || {
            figure
                .series
                .iter()
                .flat_map(Series::intervals)
                .flat_map(|(_, (low, high))| [low, high])
        };
        let across = figure.baselines.iter().filter_map(|baseline| match baseline.level {
            Level::X(x) => Some(x),
            Level::Y(_) => None,
        });
        let upwards = figure.baselines.iter().filter_map(|baseline| match baseline.level {
            Level::Y(y) => Some(y),
            Level::X(_) => None,
        });
        let x =
            figure.x.fit(points().map(|(x, _)| x).chain(across), (width / X_TICK_ROOM) as usize)?;
        let y_values = points().map(|(_, y)| y).chain(spread()).chain(upwards);
        let y = figure.y.fit(y_values, (height / Y_TICK_ROOM) as usize)?;
        Ok(Self { figure, x, y })
    }

    /// The room that labels need around the plotted area, which is at least `width` wide.
    pub(crate) fn margins(&self, width: f64) -> Margins {
        let labels = self.y.ticks.major.iter().map(|tick| text_width(&tick.label, TICK_SIZE));
        let overhang = self.x.ticks.major.last().map_or(0.0, |tick| {
            let right_of_tick = 1.0 - self.x.fraction(tick.value).unwrap_or(1.0);
            text_width(&tick.label, TICK_SIZE) / 2.0 - right_of_tick * width
        });
        let title = if self.figure.title.is_empty() { 4.0 } else { TITLE_SIZE + 8.0 };
        Margins {
            left: labels.fold(0.0, f64::max) + TICK_LENGTH + PAD + LABEL_SIZE + 2.0 * PAD,
            right: overhang.max(4.0),
            top: title.max(TICK_SIZE / 2.0 + 1.0),
            bottom: TICK_LENGTH + PAD + TICK_SIZE + LABEL_SIZE + 2.0 * PAD,
        }
    }

    /// All that a legend must not cover, as segments inside `area`.
    pub(crate) fn obstacles(&self, area: &Rect) -> Vec<(Point, Point)> {
        let mut paths: Vec<Vec<Point>> = Vec::new();
        for series in &self.figure.series {
            paths.extend(self.runs(series.points.iter().copied(), area));
            for (x, (low, high)) in series.intervals() {
                paths.extend(self.runs([(x, low), (x, high)].into_iter(), area));
            }
            for end in [|(low, _)| low, |(_, high)| high] as [fn((f64, f64)) -> f64; 2] {
                paths.extend(
                    self.runs(series.intervals().map(|(x, interval)| (x, end(interval))), area),
                );
            }
        }
        paths.extend(
            self.figure.baselines.iter().filter_map(|baseline| self.baseline_path(baseline, area)),
        );
        let single = paths.iter().filter(|path| path.len() == 1).map(|path| (path[0], path[0]));
        let lines = paths.iter().flat_map(|path| path.windows(2).map(|pair| (pair[0], pair[1])));
        single.chain(lines).collect()
    }

    /// Draws the panel with its plotted area at `area`.
    pub(crate) fn draw(&self, canvas: &mut Canvas, area: &Rect) {
        self.draw_grid(canvas, area);
        for series in &self.figure.series {
            self.draw_spread(canvas, series, area);
        }
        for baseline in &self.figure.baselines {
            let Some(path) = self.baseline_path(baseline, area) else { continue };
            let stroke =
                Stroke { color: baseline.color.map_or(BASELINE, palette), width: BASELINE_WIDTH };
            canvas.dashed(path, baseline.line.pattern(), stroke);
        }
        self.draw_axes(canvas, area);
        for series in &self.figure.series {
            self.draw_series(canvas, series, area);
        }
        self.draw_labels(canvas, area);
    }

    /// Where a point is, if the axes can show it; perhaps outside `area`.
    fn place(&self, (x, y): (f64, f64), area: &Rect) -> Option<Point> {
        let (x, y) = (self.x.fraction(x)?, self.y.fraction(y)?);
        Some((area.left + x * area.width, area.bottom() - y * area.height))
    }

    /// The points placed, split where one cannot be shown.
    fn runs(&self, points: impl Iterator<Item = (f64, f64)>, area: &Rect) -> Vec<Vec<Point>> {
        let mut runs = vec![Vec::new()];
        for point in points {
            match (self.place(point, area), runs.last_mut()) {
                (Some(place), Some(run)) => run.push(place),
                _ => runs.push(Vec::new()),
            }
        }
        runs.retain(|run| !run.is_empty());
        runs
    }

    fn baseline_path(&self, baseline: &Baseline, area: &Rect) -> Option<Vec<Point>> {
        let inside = |fraction: &f64| (0.0..=1.0).contains(fraction);
        Some(match baseline.level {
            Level::X(x) => {
                let x = area.left + self.x.fraction(x).filter(inside)? * area.width;
                vec![(x, area.bottom()), (x, area.top)]
            }
            Level::Y(y) => {
                let y = area.bottom() - self.y.fraction(y).filter(inside)? * area.height;
                vec![(area.left, y), (area.right(), y)]
            }
        })
    }

    fn draw_grid(&self, canvas: &mut Canvas, area: &Rect) {
        let stroke = Stroke { color: GRID, width: GRID_WIDTH };
        for x in self.x.ticks.major.iter().filter_map(|tick| self.x.fraction(tick.value)) {
            let x = area.left + x * area.width;
            canvas.line((x, area.top), (x, area.bottom()), stroke);
        }
        for y in self.y.ticks.major.iter().filter_map(|tick| self.y.fraction(tick.value)) {
            let y = area.bottom() - y * area.height;
            canvas.line((area.left, y), (area.right(), y), stroke);
        }
    }

    fn draw_axes(&self, canvas: &mut Canvas, area: &Rect) {
        let stroke = Stroke { color: SPINE, width: SPINE_WIDTH };
        let (left, bottom) = (area.left, area.bottom());
        canvas.path(vec![(left, area.top), (left, bottom), (area.right(), bottom)], stroke);
        for (x, length) in tick_fractions(&self.x) {
            let x = left + x * area.width;
            canvas.line((x, bottom), (x, bottom + length), stroke);
        }
        for (y, length) in tick_fractions(&self.y) {
            let y = bottom - y * area.height;
            canvas.line((left - length, y), (left, y), stroke);
        }
    }

    fn draw_labels(&self, canvas: &mut Canvas, area: &Rect) {
        let (center, middle) = (area.left + area.width / 2.0, area.top + area.height / 2.0);
        let below = area.bottom() + TICK_LENGTH + PAD + 0.8 * TICK_SIZE;
        let mut widest = 0.0_f64;
        for tick in &self.x.ticks.major {
            let x = area.left + self.x.fraction(tick.value).unwrap_or(0.0) * area.width;
            canvas.text((x, below), &tick.label, Letters::new(TICK_SIZE, INK, Align::Center));
        }
        for tick in &self.y.ticks.major {
            let y = area.bottom() - self.y.fraction(tick.value).unwrap_or(0.0) * area.height;
            let at = (area.left - TICK_LENGTH - PAD, y + middle_to_baseline(TICK_SIZE));
            canvas.text(at, &tick.label, Letters::new(TICK_SIZE, INK, Align::Right));
            widest = widest.max(text_width(&tick.label, TICK_SIZE));
        }
        let label = Letters::new(LABEL_SIZE, INK, Align::Center);
        canvas.text((center, below + PAD + LABEL_SIZE), &self.x.label, label);
        let left = area.left - TICK_LENGTH - 2.0 * PAD - widest - 0.25 * LABEL_SIZE;
        canvas.text((left, middle), &self.y.label, label.upwards());
        let title = Letters::new(TITLE_SIZE, INK, Align::Center);
        canvas.text((center, area.top - 5.5), &self.figure.title, title);
    }

    fn draw_spread(&self, canvas: &mut Canvas, series: &Series, area: &Rect) {
        match &series.spread {
            None => {}
            Some(Spread::Band(_)) => self.draw_band(canvas, series, area),
            Some(Spread::Bars(_)) => self.draw_bars(canvas, series, area),
        }
    }

    /// Shades between the ends of the intervals, with a gap where an end cannot be shown.
    fn draw_band(&self, canvas: &mut Canvas, series: &Series, area: &Rect) {
        let inside =
            |(x, y): Point| (x.clamp(area.left, area.right()), y.clamp(area.top, area.bottom()));
        let ends: Vec<Option<(Point, Point)>> = series
            .intervals()
            .map(|(x, (low, high))| self.place((x, low), area).zip(self.place((x, high), area)))
            .collect();
        for run in ends.split(Option::is_none).filter(|run| run.len() > 1) {
            let lower = run.iter().flatten().map(|&(low, _)| inside(low));
            let upper = run.iter().rev().flatten().map(|&(_, high)| inside(high));
            canvas.polygon(lower.chain(upper).collect(), palette(series.color), BAND_OPACITY);
        }
    }

    fn draw_bars(&self, canvas: &mut Canvas, series: &Series, area: &Rect) {
        let stroke = Stroke { color: palette(series.color), width: 0.6 * LINE_WIDTH };
        for (x, (low, high)) in series.intervals() {
            let ends = self.place((x, low), area).zip(self.place((x, high), area));
            let Some((low, high)) = ends.and_then(|(low, high)| area.clip(low, high)) else {
                continue;
            };
            canvas.line(low, high, stroke);
            for (x, y) in [low, high] {
                canvas.line((x - MARKER_RADIUS, y), (x + MARKER_RADIUS, y), stroke);
            }
        }
    }

    fn draw_series(&self, canvas: &mut Canvas, series: &Series, area: &Rect) {
        let color = palette(series.color);
        let marker = series.marker.resolve(series.color, series.points.len());
        let runs = self.runs(series.points.iter().copied(), area);
        if series.line != LineStyle::None {
            for part in runs.iter().flat_map(|run| clip_path(run, area)) {
                canvas.dashed(part, series.line.pattern(), Stroke { color, width: LINE_WIDTH });
            }
        }
        let nearly = area.grown(0.01);
        for &point in runs.iter().flatten().filter(|&&point| nearly.contains(point)) {
            draw_marker(canvas, point, marker, color);
        }
    }
}

/// Positions and lengths of all ticks.
fn tick_fractions(axis: &FittedAxis) -> impl Iterator<Item = (f64, f64)> + '_ {
    let major = axis.ticks.major.iter().map(|tick| (tick.value, TICK_LENGTH));
    let minor = axis.ticks.minor.iter().map(|&value| (value, MINOR_TICK_LENGTH));
    major.chain(minor).filter_map(|(value, length)| Some((axis.fraction(value)?, length)))
}

/// Draws a mark with a thin white edge that sets it off from lines.
pub(crate) fn draw_marker(canvas: &mut Canvas, center: Point, marker: Marker, color: Color) {
    const EDGE: f64 = 0.6;
    for (grow, color) in [(EDGE, WHITE), (0.0, color)] {
        let radius = MARKER_RADIUS + grow;
        // Corners at these angles, on a circle that gives all shapes about the same area.
        let (turns, corners, circumradius) = match marker {
            Marker::Auto | Marker::None => return,
            Marker::Circle => {
                canvas.disc(center, radius, color);
                continue;
            }
            Marker::Square => (0.125, 4, 1.25 * radius),
            Marker::Diamond => (0.0, 4, 1.35 * radius),
            Marker::Triangle => (0.75, 3, 1.5 * radius),
        };
        let corner = |n: u32| {
            let angle = std::f64::consts::TAU * (turns + f64::from(n) / f64::from(corners));
            (center.0 + circumradius * angle.cos(), center.1 + circumradius * angle.sin())
        };
        canvas.polygon((0..corners).map(corner).collect(), color, 1.0);
    }
}
