//! Paints a canvas: its shapes come in, the bytes of an SVG or a PNG file go out. The only file
//! that calls the plotting library; called by `Drawing::save`.

use anyhow::{Context, Result};
use plotters::{
    backend::{BitMapBackend, DrawingBackend, SVGBackend},
    style::{
        Color as _, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle,
        TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    Align, Canvas, Letters, Shape, Stroke,
    geometry::{Point, Rect},
    glyphs::{Dot, dots, text_width},
    style::{Color, WHITE},
};

/// The fonts that SVG viewers choose from; PNG has the first.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";

/// The library's coordinates are whole numbers: SVG is drawn on a grid finer than a point.
const SVG_GRID: f64 = 20.0;

/// Pixels of an SVG's point when shown in a browser.
const SVG_ZOOM: f64 = 2.0;

/// Pixels of a PNG's point: 288 dots per inch.
const PNG_ZOOM: usize = 4;

/// Each pixel of a PNG is the mean of a square of this many pixels a side.
const PNG_OVERSAMPLING: usize = 3;

/// Pixels of an embedded image are enlarged so that viewers that smooth do no harm.
const RASTER_ZOOM: usize = 6;

/// What differs between the formats.
struct OutputFormat {
    /// Backend units of a point.
    scale: f64,
    /// Whether letters, joints and images are painted as pixels; SVG has elements for them.
    is_bitmap: bool,
}

const SVG: OutputFormat = OutputFormat { scale: SVG_GRID, is_bitmap: false };
const PNG: OutputFormat =
    OutputFormat { scale: (PNG_ZOOM * PNG_OVERSAMPLING) as f64, is_bitmap: true };

/// The canvas as an SVG document.
pub(crate) fn svg(canvas: &Canvas) -> Result<String> {
    let size = page(canvas, SVG_GRID);
    let mut document = String::new();
    replay(canvas, SVGBackend::with_string(&mut document, size), &SVG)?;
    let start = document.find('>').context("the SVG has no first tag")? + 1;
    let end = document.rfind("</svg>").context("the SVG has no last tag")?;
    let head = format!(
        "<svg width=\"{:.0}\" height=\"{:.0}\" viewBox=\"0 0 {} {}\" stroke-linejoin=\"round\" role=\"img\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<title>{}</title>",
        canvas.width * SVG_ZOOM,
        canvas.height * SVG_ZOOM,
        size.0,
        size.1,
        escape(&canvas.title)
    );
    let images = embedded_images(canvas)?;
    Ok(format!("{head}{}{images}</svg>\n", &document[start..end]))
}

/// The canvas as a PNG file.
pub(crate) fn png(canvas: &Canvas) -> Result<Vec<u8>> {
    let (width, height) = page(canvas, PNG_ZOOM as f64);
    let fine = (width * PNG_OVERSAMPLING as u32, height * PNG_OVERSAMPLING as u32);
    let mut pixels = vec![255; 3 * fine.0 as usize * fine.1 as usize];
    replay(canvas, BitMapBackend::with_buffer(&mut pixels, fine), &PNG)?;
    let pixels = shrink(&pixels, width as usize, height as usize);
    encode_png(&pixels, width, height, PNG_ZOOM as f64 * 72.0)
}

fn page(canvas: &Canvas, scale: f64) -> (u32, u32) {
    ((canvas.width * scale).ceil() as u32, (canvas.height * scale).ceil() as u32)
}

fn replay<B: DrawingBackend>(canvas: &Canvas, mut backend: B, target: &OutputFormat) -> Result<()>
where
    B::ErrorType: 'static,
{
    let page = Rect::new(0.0, 0.0, canvas.width, canvas.height);
    draw_polygon(&mut backend, &page.corners(), WHITE, 1.0, target)?;
    for shape in &canvas.shapes {
        match shape {
            Shape::Path { points, stroke } => draw_path(&mut backend, points, *stroke, target)?,
            Shape::Polygon { points, color, opacity } => {
                draw_polygon(&mut backend, points, *color, *opacity, target)?;
            }
            Shape::Disc { center, radius, color } => {
                let radius = (radius * target.scale).round() as u32;
                backend.draw_circle(grid(*center, target), radius, &paint(*color, 1.0, 1), true)?;
            }
            Shape::Text { at, text, letters } if target.is_bitmap => {
                draw_glyphs(&mut backend, *at, text, letters, target)?;
            }
            Shape::Text { at, text, letters } => {
                draw_text(&mut backend, *at, text, letters, target)?
            }
            Shape::Raster { area, columns, pixels } if target.is_bitmap => {
                for (cell, color) in cells(area, *columns, pixels) {
                    draw_polygon(&mut backend, &cell.corners(), color, 1.0, target)?;
                }
            }
            Shape::Raster { .. } => {}
        }
    }
    backend.present()?;
    Ok(())
}

fn draw_path<B: DrawingBackend>(
    backend: &mut B,
    points: &[Point],
    stroke: Stroke,
    target: &OutputFormat,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let width = (stroke.width * target.scale).round().max(1.0) as u32;
    let style = paint(stroke.color, 1.0, width);
    if !target.is_bitmap {
        backend.draw_path(points.iter().map(|&point| grid(point, target)), &style)?;
        return Ok(());
    }
    // The library's bitmap paths have spikes at sharp corners: draw the segments, and discs where
    // they meet.
    for pair in points.windows(2) {
        backend.draw_line(grid(pair[0], target), grid(pair[1], target), &style)?;
    }
    for &corner in points.iter().take(points.len().saturating_sub(1)).skip(1) {
        backend.draw_circle(grid(corner, target), width / 2, &paint(stroke.color, 1.0, 1), true)?;
    }
    Ok(())
}

fn draw_polygon<B: DrawingBackend>(
    backend: &mut B,
    points: &[Point],
    color: Color,
    opacity: f64,
    target: &OutputFormat,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let points = points.iter().map(|&point| grid(point, target));
    backend.fill_polygon(points, &paint(color, opacity, 1))?;
    Ok(())
}

/// Text as an SVG element. The library divides font sizes by 1.24 and puts the top 0.76 em above
/// the baseline.
fn draw_text<B: DrawingBackend>(
    backend: &mut B,
    at: Point,
    text: &str,
    letters: &Letters,
    target: &OutputFormat,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let lift = 0.76 * letters.size;
    let (anchor, transform) = match letters.upwards {
        true => ((at.0 - lift, at.1), FontTransform::Rotate270),
        false => ((at.0, at.1 - lift), FontTransform::None),
    };
    let horizontal = match letters.align {
        Align::Left => HPos::Left,
        Align::Center => HPos::Center,
        Align::Right => HPos::Right,
    };
    let size = 1.24 * letters.size * target.scale;
    let font = FontDesc::new(FontFamily::Name(FONT), size, FontStyle::Normal).transform(transform);
    let color = rgb(letters.color);
    let style = TextStyle::from(font).color(&color).pos(Pos::new(horizontal, VPos::Top));
    backend.draw_text(text, &style, grid(anchor, target))?;
    Ok(())
}

/// Text as pixels. The library's own bitmap text drops the space in front of each letter.
fn draw_glyphs<B: DrawingBackend>(
    backend: &mut B,
    at: Point,
    text: &str,
    letters: &Letters,
    target: &OutputFormat,
) -> Result<()>
where
    B::ErrorType: 'static,
{
    let em = letters.size * target.scale;
    let shift = match letters.align {
        Align::Left => 0.0,
        Align::Center => -text_width(text, em) / 2.0,
        Align::Right => -text_width(text, em),
    };
    let (origin, color) = (grid(at, target), rgb(letters.color));
    for Dot { x, y, coverage } in dots(text, em, shift)? {
        let (x, y) = if letters.upwards { (y, -x) } else { (x, y) };
        let shade = color.mix(coverage).to_backend_color();
        backend.draw_pixel((origin.0 + x, origin.1 + y), shade)?;
    }
    Ok(())
}

fn grid((x, y): Point, target: &OutputFormat) -> (i32, i32) {
    ((x * target.scale).round() as i32, (y * target.scale).round() as i32)
}

fn paint(color: Color, opacity: f64, width: u32) -> ShapeStyle {
    ShapeStyle { color: rgb(color).mix(opacity), filled: true, stroke_width: width }
}

fn rgb(Color(red, green, blue): Color) -> RGBColor {
    RGBColor(red, green, blue)
}

/// The cells of an image, row by row.
fn cells<'a>(
    area: &'a Rect,
    columns: usize,
    pixels: &'a [Color],
) -> impl Iterator<Item = (Rect, Color)> + 'a {
    let (width, height) =
        (area.width / columns as f64, area.height / (pixels.len() / columns) as f64);
    pixels.iter().enumerate().map(move |(index, &color)| {
        let (row, column) = (index / columns, index % columns);
        let (left, top) = (area.left + column as f64 * width, area.top + row as f64 * height);
        (Rect::new(left, top, width, height), color)
    })
}

/// The means of squares of pixels.
fn shrink(fine: &[u8], width: usize, height: usize) -> Vec<u8> {
    let side = PNG_OVERSAMPLING;
    let stride = 3 * width * side;
    let mut pixels = Vec::with_capacity(3 * width * height);
    for row in 0..height {
        for column in 0..width {
            for channel in 0..3 {
                let corner = row * side * stride + 3 * column * side + channel;
                let square =
                    (0..side * side).map(|n| corner + (n / side) * stride + 3 * (n % side));
                let sum: usize = square.map(|at| usize::from(fine[at])).sum();
                pixels.push(((sum + side * side / 2) / (side * side)) as u8);
            }
        }
    }
    pixels
}

fn encode_png(pixels: &[u8], width: u32, height: u32, dots_per_inch: f64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let per_meter = (dots_per_inch / 0.0254).round() as u32;
    let unit = png::Unit::Meter;
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: per_meter, yppu: per_meter, unit }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// The images of a canvas as SVG elements.
fn embedded_images(canvas: &Canvas) -> Result<String> {
    let mut elements = String::new();
    for shape in &canvas.shapes {
        let Shape::Raster { area, columns, pixels } = shape else { continue };
        let rows = pixels.len() / columns;
        let (width, height) = (columns * RASTER_ZOOM, rows * RASTER_ZOOM);
        let large = (0..width * height).map(|at| {
            let (row, column) = (at / width / RASTER_ZOOM, at % width / RASTER_ZOOM);
            pixels[row * columns + column]
        });
        let bytes: Vec<u8> = large.flat_map(|Color(red, green, blue)| [red, green, blue]).collect();
        let data = base64(&encode_png(&bytes, width as u32, height as u32, 72.0)?);
        let [x, y, w, h] =
            [area.left, area.top, area.width, area.height].map(|length| length * SVG_GRID);
        elements.push_str(&format!(
            "<image x=\"{x:.0}\" y=\"{y:.0}\" width=\"{w:.0}\" height=\"{h:.0}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{data}\"/>\n"
        ));
    }
    Ok(elements)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (text, expected) in cases {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn markup_in_titles_is_escaped() -> Result<()> {
        let document = svg(&Canvas::new(10.0, 10.0, "a < b & c"))?;
        assert!(document.contains("<title>a &lt; b &amp; c</title>"));
        assert_eq!(document.matches("<svg").count(), 1);
        assert_eq!(document.matches("</svg>").count(), 1);
        Ok(())
    }
}
