//! Colours, sizes of letters and widths of lines, in points of 1/72 inch, the same in all figures.
//! Read by everything that puts shapes on a canvas.

/// A colour as red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Color(pub(crate) u8, pub(crate) u8, pub(crate) u8);

/// Okabe and Ito's colours, which the colour-blind tell apart; the faintest last.
const PALETTE: [Color; 7] = [
    Color(0, 114, 178),   // blue
    Color(213, 94, 0),    // vermilion
    Color(0, 158, 115),   // bluish green
    Color(204, 121, 167), // reddish purple
    Color(230, 159, 0),   // orange
    Color(86, 180, 233),  // sky blue
    Color(60, 60, 60),    // almost black
];

/// The colour of a palette index; indices wrap around.
pub(crate) fn palette(index: usize) -> Color {
    PALETTE[index % PALETTE.len()]
}

pub(crate) const WHITE: Color = Color(255, 255, 255);
pub(crate) const INK: Color = Color(32, 32, 32);
pub(crate) const SPINE: Color = Color(90, 90, 90);
pub(crate) const GRID: Color = Color(226, 226, 226);
pub(crate) const BASELINE: Color = Color(105, 105, 105);
pub(crate) const NOTE: Color = Color(95, 95, 95);

/// Sizes of letters, in points.
pub(crate) const TITLE_SIZE: f64 = 8.5;
pub(crate) const LABEL_SIZE: f64 = 8.5;
pub(crate) const TICK_SIZE: f64 = 7.5;
pub(crate) const LEGEND_SIZE: f64 = 7.5;
pub(crate) const NOTE_SIZE: f64 = 6.5;

/// Widths of lines and sizes of marks, in points.
pub(crate) const LINE_WIDTH: f64 = 1.3;
pub(crate) const BASELINE_WIDTH: f64 = 1.0;
pub(crate) const SPINE_WIDTH: f64 = 0.6;
pub(crate) const GRID_WIDTH: f64 = 0.4;
pub(crate) const TICK_LENGTH: f64 = 3.0;
pub(crate) const MINOR_TICK_LENGTH: f64 = 1.8;
pub(crate) const MARKER_RADIUS: f64 = 2.1;
pub(crate) const BAND_OPACITY: f64 = 0.2;
