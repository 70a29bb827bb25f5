//! A drawing as a list of shapes: panels, legends and image grids put lines, areas and text on a
//! [`Canvas`], and `render` paints them in this order.

pub(crate) mod geometry;
pub(crate) mod glyphs;
pub(crate) mod render;
pub(crate) mod style;

use self::{
    geometry::{Point, Rect, dashes},
    glyphs::text_width,
    style::Color,
};

/// Shapes on a white page, in the order they are painted.
#[derive(Clone, Debug)]
pub struct Canvas {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) title: String,
    pub(crate) shapes: Vec<Shape>,
}

/// Colour and width of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stroke {
    pub(crate) color: Color,
    pub(crate) width: f64,
}

/// Where a text's anchor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Center,
    Right,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letters {
    pub(crate) size: f64,
    pub(crate) color: Color,
    pub(crate) align: Align,
    /// Runs upwards instead of to the right.
    pub(crate) upwards: bool,
}

impl Letters {
    pub(crate) fn new(size: f64, color: Color, align: Align) -> Self {
        Self { size, color, align, upwards: false }
    }

    pub(crate) fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }
}

/// Something to paint.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// An open line.
    Path { points: Vec<Point>, stroke: Stroke },
    /// A filled area.
    Polygon { points: Vec<Point>, color: Color, opacity: f64 },
    /// A filled disc.
    Disc { center: Point, radius: f64, color: Color },
    /// A line of text; `at` is on its baseline.
    Text { at: Point, text: String, letters: Letters },
    /// An image of sharp-edged pixels.
    Raster { area: Rect, columns: usize, pixels: Vec<Color> },
}

impl Canvas {
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        Self { width, height, title: title.to_owned(), shapes: Vec::new() }
    }

    pub(crate) fn path(&mut self, points: Vec<Point>, stroke: Stroke) {
        self.shapes.push(Shape::Path { points, stroke });
    }

    pub(crate) fn line(&mut self, from: Point, to: Point, stroke: Stroke) {
        self.path(vec![from, to], stroke);
    }

    /// A line cut into dashes by `pattern`, the lengths on and off; solid without.
    pub(crate) fn dashed(
        &mut self,
        points: Vec<Point>,
        pattern: Option<(f64, f64)>,
        stroke: Stroke,
    ) {
        match pattern {
            None => self.path(points, stroke),
            Some((on, off)) => {
                dashes(&points, on, off).into_iter().for_each(|dash| self.path(dash, stroke))
            }
        }
    }

    pub(crate) fn polygon(&mut self, points: Vec<Point>, color: Color, opacity: f64) {
        self.shapes.push(Shape::Polygon { points, color, opacity });
    }

    pub(crate) fn disc(&mut self, center: Point, radius: f64, color: Color) {
        self.shapes.push(Shape::Disc { center, radius, color });
    }

    pub(crate) fn text(&mut self, at: Point, text: &str, letters: Letters) {
        self.shapes.push(Shape::Text { at, text: text.to_owned(), letters });
    }

    /// Lines of text below each other; `at` is on the baseline of the first. Returns the height
    /// used.
    pub(crate) fn lines(&mut self, at: Point, lines: &[String], letters: Letters) -> f64 {
        let leading = line_height(letters.size);
        for (row, line) in lines.iter().enumerate() {
            self.text((at.0, at.1 + row as f64 * leading), line, letters);
        }
        lines.len() as f64 * leading
    }

    pub(crate) fn raster(&mut self, area: Rect, columns: usize, pixels: Vec<Color>) {
        self.shapes.push(Shape::Raster { area, columns, pixels });
    }
}

/// Distance of lines of text.
pub(crate) fn line_height(size: f64) -> f64 {
    1.3 * size
}

/// How far below the middle of a line of text its baseline is.
pub(crate) fn middle_to_baseline(size: f64) -> f64 {
    0.36 * size
}

/// Breaks `text` between words into lines of at most `width`; a longer word stays whole.
pub(crate) fn wrap(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            let longer = format!("{line} {word}");
            if text_width(&longer, size) <= width {
                *line = longer;
                continue;
            }
        }
        lines.push(word.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_fit_and_lose_no_word() {
        let text = "Validation accuracy of the network and of its linearization against the index.";
        let lines = wrap(text, 7.0, 120.0);
        assert!(lines.len() > 2);
        assert!(lines.iter().all(|line| text_width(line, 7.0) <= 120.0));
        assert_eq!(lines.join(" "), text);
    }
}
