//! Legends: curves and baselines come in, their names with samples of their lines go onto the
//! canvas, in a corner that the data leave free or in rows. Called by `grid`.

use super::{
    canvas::{
        Align, Canvas, Letters, Stroke,
        geometry::{Point, Rect},
        glyphs::text_width,
        line_height, middle_to_baseline,
        style::{BASELINE, BASELINE_WIDTH, Color, INK, LEGEND_SIZE, LINE_WIDTH, palette},
    },
    panel::draw_marker,
    series::{Baseline, LineStyle, Marker, Series},
};

const SAMPLE: f64 = 22.0;
const GAP: f64 = 4.0;
const COLUMN_GAP: f64 = 11.0;

/// A name with a sample of its line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LegendEntry {
    label: String,
    color: Color,
    width: f64,
    line: LineStyle,
    marker: Marker,
}

impl LegendEntry {
    fn of_series(series: &Series) -> Self {
        let marker = series.marker.resolve(series.color, series.points.len());
        let (label, color) = (series.label.clone(), palette(series.color));
        Self { label, color, width: LINE_WIDTH, line: series.line, marker }
    }

    fn of_baseline(baseline: &Baseline) -> Self {
        let color = baseline.color.map_or(BASELINE, palette);
        let label = baseline.label.clone();
        Self { label, color, width: BASELINE_WIDTH, line: baseline.line, marker: Marker::None }
    }

    fn width(&self) -> f64 {
        SAMPLE + GAP + text_width(&self.label, LEGEND_SIZE)
    }

    fn draw(&self, canvas: &mut Canvas, (left, middle): Point) {
        if self.line != LineStyle::None {
            let stroke = Stroke { color: self.color, width: self.width };
            canvas.dashed(
                vec![(left, middle), (left + SAMPLE, middle)],
                self.line.pattern(),
                stroke,
            );
        }
        draw_marker(canvas, (left + SAMPLE / 2.0, middle), self.marker, self.color);
        let at = (left + SAMPLE + GAP, middle + middle_to_baseline(LEGEND_SIZE));
        canvas.text(at, &self.label, Letters::new(LEGEND_SIZE, INK, Align::Left));
    }
}

/// The entries of all that has a name.
pub(crate) fn entries(series: &[Series], baselines: &[Baseline]) -> Vec<LegendEntry> {
    let mut entries: Vec<LegendEntry> = series.iter().map(LegendEntry::of_series).collect();
    entries.extend(baselines.iter().map(LegendEntry::of_baseline));
    entries.retain(|entry| !entry.label.is_empty());
    entries
}

/// The size of the entries below each other.
pub(crate) fn stacked_size(entries: &[LegendEntry]) -> (f64, f64) {
    let width = entries.iter().map(LegendEntry::width).fold(0.0, f64::max);
    (width, entries.len() as f64 * line_height(LEGEND_SIZE))
}

/// Draws the entries below each other from the corner `(left, top)`.
pub(crate) fn draw_stacked(canvas: &mut Canvas, entries: &[LegendEntry], (left, top): Point) {
    for (row, entry) in entries.iter().enumerate() {
        entry.draw(canvas, (left, top + (row as f64 + 0.5) * line_height(LEGEND_SIZE)));
    }
}

/// The height of the entries set in rows, at most `width` wide.
pub(crate) fn row_height(entries: &[LegendEntry], width: f64) -> f64 {
    match entries.len() {
        0 => 0.0,
        count => {
            count.div_ceil(column_widths(entries, width).len()) as f64 * line_height(LEGEND_SIZE)
        }
    }
}

/// Draws the entries row by row in aligned columns, centred in `area`.
pub(crate) fn draw_rows(canvas: &mut Canvas, entries: &[LegendEntry], area: &Rect) {
    let widths = column_widths(entries, area.width);
    let used = total_width(&widths);
    let start = area.left + ((area.width - used) / 2.0).max(0.0);
    let lefts = widths.iter().scan(start, |next, width| {
        let left = *next;
        *next += width + COLUMN_GAP;
        Some(left)
    });
    let lefts: Vec<f64> = lefts.collect();
    for (row, entries) in entries.chunks(lefts.len().max(1)).enumerate() {
        let middle = area.top + (row as f64 + 0.5) * line_height(LEGEND_SIZE);
        for (entry, &left) in entries.iter().zip(&lefts) {
            entry.draw(canvas, (left, middle));
        }
    }
}

/// The columns of the lowest arrangement that fits into `width`, as few as it needs: 4 entries as 2
/// + 2, not 3 + 1.
fn column_widths(entries: &[LegendEntry], width: f64) -> Vec<f64> {
    let with_columns = |columns: usize| -> Vec<f64> {
        let column = |first| {
            entries[first..].iter().step_by(columns).map(LegendEntry::width).fold(0.0, f64::max)
        };
        (0..columns).map(column).collect()
    };
    let rows = 1..=entries.len();
    let arrangements = rows.map(|rows| with_columns(entries.len().div_ceil(rows)));
    let mut fitting =
        arrangements.skip_while(|widths| widths.len() > 1 && total_width(widths) > width);
    fitting.next().unwrap_or_default()
}

fn total_width(widths: &[f64]) -> f64 {
    widths.iter().sum::<f64>() + COLUMN_GAP * widths.len().saturating_sub(1) as f64
}

/// A place of `size` inside `area` that none of `segments` crosses, if there is one.
pub(crate) fn free_corner(
    size: (f64, f64),
    area: &Rect,
    segments: &[(Point, Point)],
) -> Option<Rect> {
    const INSET: f64 = 5.0;
    const CLEARANCE: f64 = 4.0;
    let inner = area.grown(-INSET);
    let (right, bottom) = (inner.right() - size.0, inner.bottom() - size.1);
    let (center, middle) = ((inner.left + right) / 2.0, (inner.top + bottom) / 2.0);
    if right < inner.left || bottom < inner.top {
        return None;
    }
    let (left, top) = (inner.left, inner.top);
    let places = [
        (right, top),
        (left, bottom),
        (left, top),
        (right, bottom),
        (right, middle),
        (left, middle),
        (center, top),
        (center, bottom),
    ];
    let place = |(left, top)| Rect::new(left, top, size.0, size.1);
    let is_free = |rect: &Rect| {
        let clear = rect.grown(CLEARANCE);
        segments.iter().all(|&(from, to)| clear.clip(from, to).is_none())
    };
    places.into_iter().map(place).find(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_avoids_the_data() {
        let area = Rect::new(0.0, 0.0, 100.0, 100.0);
        let size = (40.0, 20.0);
        let at = |segments: &[(Point, Point)]| {
            free_corner(size, &area, segments).map(|r| (r.left, r.top))
        };
        assert_eq!(at(&[]), Some((55.0, 5.0)));
        let falling = [((0.0, 0.0), (100.0, 100.0))];
        assert_eq!(at(&falling), Some((55.0, 5.0)));
        let rising = [((0.0, 100.0), (100.0, 0.0))];
        assert_eq!(at(&rising), Some((5.0, 5.0)));
        let everywhere: Vec<_> =
            (0..10).map(|n| ((0.0, 10.0 * f64::from(n)), (100.0, 10.0 * f64::from(n)))).collect();
        assert_eq!(at(&everywhere), None);
    }

    #[test]
    fn rows_are_as_few_and_as_even_as_fit() {
        let named = |count: usize| -> Vec<LegendEntry> {
            (0..count)
                .map(|_| LegendEntry::of_series(&Series::new("network", vec![(1.0, 1.0)])))
                .collect()
        };
        let one = named(1)[0].width();
        let columns = |count, width| column_widths(&named(count), width).len();
        assert_eq!(columns(4, 4.0 * (one + COLUMN_GAP)), 4);
        assert_eq!(columns(4, 3.0 * (one + COLUMN_GAP)), 2);
        assert_eq!(columns(3, one), 1);
        assert_eq!(columns(3, 0.1 * one), 1);
        assert_eq!(row_height(&[], 100.0), 0.0);
    }

    #[test]
    fn nameless_lines_have_no_entry() {
        let series = [Series::new("a", vec![(1.0, 1.0)]), Series::new("", vec![(1.0, 1.0)])];
        assert_eq!(entries(&series, &[Baseline::horizontal("", 0.5)]).len(), 1);
    }
}
