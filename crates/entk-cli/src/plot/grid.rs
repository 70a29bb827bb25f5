//! Lays out figures on a page: one or several panels come in, a canvas with aligned axes, legends
//! and small print goes out, and the table of all numbers drawn.

use anyhow::{Context, Result, ensure};

use super::{
    canvas::{
        Align, Canvas, Letters,
        geometry::{Point, Rect},
        line_height,
        style::{INK, LEGEND_SIZE, NOTE, NOTE_SIZE, TITLE_SIZE},
        wrap,
    },
    drawing::Drawing,
    figure::{DrawnNumber, Figure, Legend},
    legend::{
        LegendEntry, draw_rows, draw_stacked, entries, free_corner, row_height, stacked_size,
    },
    panel::{Margins, Panel},
    series::Level,
};

/// The width of a column of text.
const COLUMN_WIDTH: f64 = 252.0;

/// The width of a panel that stands beside others.
const GRID_PANEL_WIDTH: f64 = 198.0;

/// Height over width of a panel.
const ASPECT: f64 = 0.7;

const EDGE: f64 = 4.0;
const GAP: f64 = 8.0;

/// Panels side by side, in rows.
///
/// Panels with the same names share one legend below.
#[derive(Clone, Debug, PartialEq)]
pub struct FigureGrid {
    /// Above all panels; none if empty.
    pub title: String,
    /// Panels, row by row.
    pub panels: Vec<Figure>,
    /// Panels in a row.
    pub columns: usize,
    /// Small print below; none if empty.
    pub note: String,
}

impl FigureGrid {
    /// All panels in one row.
    pub fn row(panels: Vec<Figure>) -> Self {
        let columns = panels.len();
        Self { title: String::new(), panels, columns, note: String::new() }
    }

    /// Sets the number of panels in a row.
    pub fn columns(self, columns: usize) -> Self {
        Self { columns, ..self }
    }

    /// Sets the title.
    pub fn title(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// Sets the small print.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
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

impl Drawing for FigureGrid {
    type Number = DrawnNumber;

    fn canvas(&self) -> Result<Canvas> {
        ensure!(!self.panels.is_empty() && self.columns > 0, "a grid needs panels and columns");
        let panel_width = if self.columns == 1 { COLUMN_WIDTH } else { GRID_PANEL_WIDTH };
        let notes = self.panels.iter().map(|panel| panel.note.as_str()).chain([self.note.as_str()]);
        let note = notes.filter(|note| !note.is_empty()).collect::<Vec<_>>().join(" ");
        layout(
            &self.panels,
            &Page { title: &self.title, note: &note, columns: self.columns, panel_width },
        )
    }

    fn numbers(&self) -> Vec<DrawnNumber> {
        self.panels.iter().flat_map(Drawing::numbers).collect()
    }
}

/// What surrounds the panels.
struct Page<'a> {
    title: &'a str,
    note: &'a str,
    columns: usize,
    panel_width: f64,
}

/// Lays out panels of equal size with their axes aligned.
fn layout(figures: &[Figure], page: &Page<'_>) -> Result<Canvas> {
    let (width, height) = (page.panel_width, ASPECT * page.panel_width);
    let panels: Vec<Panel<'_>> =
        figures.iter().map(|figure| Panel::new(figure, width, height)).collect::<Result<_>>()?;
    let area = plotted_area(&panels, width, height)?;
    let legends = Legends::plan(&panels, &area, width);
    let columns = page.columns.min(figures.len());
    let inner = columns as f64 * (width + GAP) - GAP;
    let pitch = (width + GAP, height + legends.below_each + GAP);

    let title = TextBlock::new(page.title, TITLE_SIZE + 0.5, inner, 3.0);
    let note = TextBlock::new(page.note, NOTE_SIZE, inner, 4.0);
    let shared_height = row_height(&legends.shared, inner);
    let panels_top = EDGE + title.height;
    let legend_top = panels_top + figures.len().div_ceil(columns) as f64 * pitch.1 - GAP + 3.0;
    let note_top = if shared_height > 0.0 { legend_top + shared_height } else { legend_top - 3.0 };

    let names: Vec<String> = figures.iter().map(Figure::name).collect();
    let mut canvas =
        Canvas::new(inner + 2.0 * EDGE, note_top + note.height + EDGE, &names.join("; "));
    let middle = canvas.width / 2.0;
    canvas.lines(
        (middle, EDGE + title.size),
        &title.lines,
        Letters::new(title.size, INK, Align::Center),
    );
    for (index, panel) in panels.iter().enumerate() {
        let left = EDGE + (index % columns) as f64 * pitch.0;
        let top = panels_top + (index / columns) as f64 * pitch.1;
        let area = Rect { left: left + area.left, top: top + area.top, ..area };
        panel.draw(&mut canvas, &area);
        legends.draw(&mut canvas, index, &area, &Rect::new(left, top, width, height));
    }
    draw_rows(&mut canvas, &legends.shared, &Rect::new(EDGE, legend_top, inner, shared_height));
    let at = (EDGE, note_top + 4.0 + NOTE_SIZE);
    canvas.lines(at, &note.lines, Letters::new(NOTE_SIZE, NOTE, Align::Left));
    Ok(canvas)
}

/// The plotted area inside a panel, the same for all so that axes are aligned.
fn plotted_area(panels: &[Panel<'_>], width: f64, height: f64) -> Result<Rect> {
    let margins = panels.iter().map(|panel| panel.margins(0.7 * width)).reduce(Margins::max);
    let Margins { left, right, top, bottom } = margins.context("a figure needs a panel")?;
    Ok(Rect::new(left, top, width - left - right, height - top - bottom))
}

/// Lines of text across the page.
struct TextBlock {
    size: f64,
    lines: Vec<String>,
    height: f64,
}

impl TextBlock {
    /// Wraps `text`; no height if it is empty, `room` beyond its lines otherwise.
    fn new(text: &str, size: f64, width: f64, room: f64) -> Self {
        let lines = wrap(text, size, width);
        let height =
            if lines.is_empty() { 0.0 } else { lines.len() as f64 * line_height(size) + room };
        Self { size, lines, height }
    }
}

/// Where the legends of all panels go.
struct Legends {
    /// One for all panels, below them.
    shared: Vec<LegendEntry>,
    /// One for each panel, with its corner relative to the plotted area's if it fits inside.
    own: Vec<(Vec<LegendEntry>, Option<Point>)>,
    /// Height kept free below each panel.
    below_each: f64,
}

impl Legends {
    fn plan(panels: &[Panel<'_>], area: &Rect, width: f64) -> Self {
        let all: Vec<Vec<LegendEntry>> = panels.iter().map(legend_of).collect();
        if panels.len() > 1 && all.windows(2).all(|pair| pair[0] == pair[1]) {
            return Self { shared: all[0].clone(), own: Vec::new(), below_each: 0.0 };
        }
        let place = |panel: &Panel<'_>, entries: &[LegendEntry]| match panel.figure.legend {
            Legend::Auto => free_corner(stacked_size(entries), area, &panel.obstacles(area)),
            Legend::Below | Legend::Hidden => None,
        };
        let places = panels.iter().zip(&all).map(|(panel, entries)| {
            let place = place(panel, entries)?;
            Some((place.left - area.left, place.top - area.top))
        });
        let places: Vec<Option<Point>> = places.collect();
        let own: Vec<(Vec<LegendEntry>, Option<Point>)> = all.into_iter().zip(places).collect();
        let below = own.iter().filter(|(_, place)| place.is_none());
        let lowest = below.map(|(entries, _)| row_height(entries, width)).fold(0.0, f64::max);
        let below_each = if lowest > 0.0 { lowest + 0.4 * LEGEND_SIZE } else { 0.0 };
        Self { shared: Vec::new(), own, below_each }
    }

    fn draw(&self, canvas: &mut Canvas, panel: usize, area: &Rect, outer: &Rect) {
        match self.own.get(panel) {
            Some((entries, Some((left, top)))) => {
                draw_stacked(canvas, entries, (area.left + left, area.top + top))
            }
            Some((entries, None)) => {
                let top = outer.bottom() + 0.4 * LEGEND_SIZE;
                draw_rows(canvas, entries, &Rect { top, height: self.below_each, ..*outer });
            }
            None => {}
        }
    }
}

fn legend_of(panel: &Panel<'_>) -> Vec<LegendEntry> {
    match panel.figure.legend {
        Legend::Hidden => Vec::new(),
        Legend::Auto | Legend::Below => entries(&panel.figure.series, &panel.figure.baselines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{
        axis::Axis,
        series::{Baseline, Series},
    };

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
