//! Small images in rows, as `fig10` declares them: values and captions come in, a canvas and the
//! table of all pixels go out.

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{
    canvas::{
        Align, Canvas, Letters, Stroke,
        geometry::Rect,
        line_height,
        style::{Color, INK, LEGEND_SIZE, NOTE, NOTE_SIZE, SPINE, TITLE_SIZE, WHITE},
        wrap,
    },
    drawing::Drawing,
};

/// How values become colours, image by image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorMap {
    /// Black at the smallest value, white at the largest.
    Gray,
    /// Blue below zero, white at zero, red above, as far as the largest magnitude.
    Diverging,
}

/// A small image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Above it; none if empty.
    pub caption: String,
    /// Pixels in a row.
    pub columns: usize,
    /// Values, row by row from the top.
    pub values: Vec<f64>,
    /// How values become colours.
    pub map: ColorMap,
}

impl Image {
    /// An image in shades of grey.
    pub fn gray(caption: impl Into<String>, columns: usize, values: Vec<f64>) -> Self {
        Self { caption: caption.into(), columns, values, map: ColorMap::Gray }
    }

    /// An image of signed values in blue and red.
    pub fn diverging(caption: impl Into<String>, columns: usize, values: Vec<f64>) -> Self {
        Self { map: ColorMap::Diverging, ..Self::gray(caption, columns, values) }
    }

    fn check(&self) -> Result<()> {
        let (count, columns, name) = (self.values.len(), self.columns, &self.caption);
        ensure!(
            columns > 0 && count > 0 && count.is_multiple_of(columns),
            "image {name:?} has {count} values, which are no rows of {columns}"
        );
        let bad = self.values.iter().position(|value| !value.is_finite());
        ensure!(
            bad.is_none(),
            "image {name:?} has a value that is not finite at {}",
            bad.unwrap_or(0)
        );
        Ok(())
    }

    fn colors(&self) -> Vec<Color> {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let largest = low.abs().max(high.abs());
        let color = |&value: &f64| match self.map {
            ColorMap::Gray if low == high => blend(BLACK, WHITE, 0.5),
            ColorMap::Gray => blend(BLACK, WHITE, (value - low) / (high - low)),
            ColorMap::Diverging if largest == 0.0 => WHITE,
            ColorMap::Diverging if value < 0.0 => blend(WHITE, BLUE, -value / largest),
            ColorMap::Diverging => blend(WHITE, RED, value / largest),
        };
        self.values.iter().map(color).collect()
    }
}

const BLACK: Color = Color(0, 0, 0);
const BLUE: Color = Color(5, 72, 160);
const RED: Color = Color(178, 24, 32);

fn blend(from: Color, to: Color, share: f64) -> Color {
    let mix = |from: u8, to: u8| {
        (f64::from(from) + share * (f64::from(to) - f64::from(from))).round() as u8
    };
    Color(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// Images in rows, all cells of the same size.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageGrid {
    /// Above all images; none if empty.
    pub title: String,
    /// Images in a row.
    pub columns: usize,
    /// Images, row by row.
    pub images: Vec<Image>,
    /// Names of the rows, to their left; fewer than rows leave the rest nameless.
    pub row_labels: Vec<String>,
    /// Small print below; none if empty.
    pub note: String,
}

impl ImageGrid {
    /// Images in rows of `columns`.
    pub fn new(columns: usize, images: Vec<Image>) -> Self {
        Self { title: String::new(), columns, images, row_labels: Vec::new(), note: String::new() }
    }

    /// Names the rows.
    pub fn row_labels(self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { row_labels: labels.into_iter().map(Into::into).collect(), ..self }
    }

    /// Sets the title.
    pub fn title(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// Sets the small print.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.columns > 0 && !self.images.is_empty(),
            "an image grid needs images and columns"
        );
        self.images.iter().try_for_each(Image::check)
    }
}

/// A pixel, as a row of the table of numbers drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DrawnPixel {
    /// Which image, from 0.
    pub image: usize,
    /// Its caption.
    pub caption: String,
    /// Row of the pixel, from the top.
    pub row: usize,
    /// Column of the pixel, from the left.
    pub column: usize,
    /// Its value.
    pub value: f64,
}

const EDGE: f64 = 4.0;
const GAP: f64 = 4.0;
const PAGE: f64 = 396.0;
const LARGEST_CELL: f64 = 96.0;

impl Drawing for ImageGrid {
    type Number = DrawnPixel;

    fn canvas(&self) -> Result<Canvas> {
        self.check()?;
        let columns = self.columns.min(self.images.len());
        let labels = if self.row_labels.is_empty() { 0.0 } else { LEGEND_SIZE + 4.0 };
        let cell = ((PAGE + GAP) / columns as f64 - GAP).min(LARGEST_CELL);
        let inner = labels + columns as f64 * (cell + GAP) - GAP;
        let title = wrap(&self.title, TITLE_SIZE, inner);
        let note = wrap(&self.note, NOTE_SIZE, inner);
        let start = EDGE + title.len() as f64 * line_height(TITLE_SIZE) + 2.0;
        let rows = || self.images.chunks(columns).map(|row| (row, caption_height(row)));
        let end = start + rows().map(|(_, caption)| cell + caption + GAP).sum::<f64>();
        let height = end + note.len() as f64 * line_height(NOTE_SIZE) + EDGE;
        let mut canvas = Canvas::new(inner + 2.0 * EDGE, height, &self.title);
        let middle = canvas.width / 2.0;
        canvas.lines(
            (middle, EDGE + TITLE_SIZE),
            &title,
            Letters::new(TITLE_SIZE, INK, Align::Center),
        );
        canvas.lines((EDGE, end + NOTE_SIZE), &note, Letters::new(NOTE_SIZE, NOTE, Align::Left));
        let mut top = start;
        for (index, (images, caption)) in rows().enumerate() {
            let first = Rect::new(EDGE + labels, top + caption, cell, cell);
            draw_row(&mut canvas, images, self.row_labels.get(index), first);
            top += cell + caption + GAP;
        }
        Ok(canvas)
    }

    fn numbers(&self) -> Vec<DrawnPixel> {
        let pixels = |(image, of): (usize, &Image)| {
            let (columns, caption) = (of.columns.max(1), of.caption.clone());
            let number = move |(at, &value): (usize, &f64)| {
                let (row, column) = (at / columns, at % columns);
                DrawnPixel { image, caption: caption.clone(), row, column, value }
            };
            of.values.iter().enumerate().map(number).collect::<Vec<_>>()
        };
        self.images.iter().enumerate().flat_map(pixels).collect()
    }
}

/// The height kept free above a row of images.
fn caption_height(row: &[Image]) -> f64 {
    let captioned = row.iter().any(|image| !image.caption.is_empty());
    if captioned { LEGEND_SIZE + 3.0 } else { 0.0 }
}

/// Draws a row of images, the first in the cell `first`, with the row's name to their left.
fn draw_row(canvas: &mut Canvas, images: &[Image], label: Option<&String>, first: Rect) {
    for (column, image) in images.iter().enumerate() {
        let left = first.left + column as f64 * (first.width + GAP);
        draw_image(canvas, image, Rect { left, ..first });
    }
    if let Some(label) = label {
        let at = (first.left - 4.0, first.top + first.height / 2.0);
        canvas.text(at, label, Letters::new(LEGEND_SIZE, INK, Align::Center).upwards());
    }
}

/// Draws an image with its caption above; an oblong one keeps its proportions.
fn draw_image(canvas: &mut Canvas, image: &Image, cell: Rect) {
    let (columns, rows) = (image.columns as f64, (image.values.len() / image.columns) as f64);
    let pixel = cell.width / columns.max(rows);
    let (width, height) = (pixel * columns, pixel * rows);
    let (left, top) =
        (cell.left + (cell.width - width) / 2.0, cell.top + (cell.height - height) / 2.0);
    let area = Rect::new(left, top, width, height);
    canvas.raster(area, image.columns, image.colors());
    let mut frame = area.grown(0.15).corners();
    frame.push(frame[0]);
    canvas.path(frame, Stroke { color: SPINE, width: 0.3 });
    let at = (cell.left + cell.width / 2.0, top - 3.0);
    canvas.text(at, &image.caption, Letters::new(LEGEND_SIZE, INK, Align::Center));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray_spans_black_to_white_and_diverging_keeps_zero_white() {
        assert_eq!(
            Image::gray("", 3, vec![-1.0, 0.0, 1.0]).colors(),
            [BLACK, Color(128, 128, 128), WHITE]
        );
        let colors = Image::diverging("", 3, vec![-1.0, 0.0, 2.0]).colors();
        assert_eq!((colors[1], colors[2]), (WHITE, RED));
        assert_eq!(colors[0], blend(WHITE, BLUE, 0.5));
        assert_eq!(Image::diverging("", 1, vec![0.0]).colors(), [WHITE]);
    }

    #[test]
    fn ragged_or_infinite_images_are_refused() {
        let message =
            |image| ImageGrid::new(1, vec![image]).canvas().map(|_| ()).map_err(|e| e.to_string());
        let ragged = Err("image \"v1\" has 3 values, which are no rows of 2".to_owned());
        assert_eq!(message(Image::gray("v1", 2, vec![0.0; 3])), ragged);
        assert!(
            message(Image::gray("v1", 2, vec![0.0, f64::NAN]))
                .is_err_and(|e| e.ends_with("finite at 1"))
        );
    }

    #[test]
    fn the_table_has_every_pixel() {
        let grid = ImageGrid::new(
            2,
            vec![Image::gray("a", 2, vec![1.0; 4]), Image::gray("b", 1, vec![2.0; 3])],
        );
        let rows = grid.numbers();
        assert_eq!(rows.len(), 7);
        assert_eq!((rows[3].row, rows[3].column), (1, 1));
        assert_eq!((rows[6].image, rows[6].row, rows[6].value), (1, 2, 2.0));
    }
}
