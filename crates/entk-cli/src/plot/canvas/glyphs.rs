//! The letters of the embedded font: a line of text comes in, its width or the dots that it covers
//! go out. Called by the layout and by the renderer of PNG files.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use anyhow::{Context, Result};

/// Stands for the end of a text.
const END: char = '\0';

/// A dot that a letter covers, wholly or in part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dot {
    /// To the right of the anchor.
    pub(crate) x: i32,
    /// Below the baseline.
    pub(crate) y: i32,
    /// Share of the dot that is covered.
    pub(crate) coverage: f64,
}

/// The dots of a line of text whose em is `em` dots high, starting `shift` to the right of the
/// anchor.
pub(crate) fn dots(text: &str, em: f64, shift: f64) -> Result<Vec<Dot>> {
    let font = font()?;
    let mut dots = Vec::new();
    for (character, offset) in advances(&font, text, em).filter(|&(character, _)| character != END)
    {
        let position = point((shift + offset) as f32, 0.0);
        let glyph =
            font.glyph_id(character).with_scale_and_position(scale_of_em(&font, em), position);
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let corner = outline.px_bounds().min;
        outline.draw(|x, y, coverage| {
            let (x, y) = (x as i32 + corner.x as i32, y as i32 + corner.y as i32);
            dots.push(Dot { x, y, coverage: f64::from(coverage) });
        });
    }
    Ok(dots)
}

fn font() -> Result<FontRef<'static>> {
    FontRef::try_from_slice(dejavu::sans::regular()).context("the embedded font cannot be read")
}

/// The scale at which one em is `em` high; the font counts from its lowest to its highest letter.
fn scale_of_em(font: &FontRef<'_>, em: f64) -> PxScale {
    let units = font.units_per_em().unwrap_or(1.0);
    PxScale::from(em as f32 * font.height_unscaled() / units)
}

/// Each character with its distance from the start of the text, and last [`END`] with the width.
fn advances<'a>(
    font: &'a FontRef<'_>,
    text: &'a str,
    em: f64,
) -> impl Iterator<Item = (char, f64)> + 'a {
    let scaled = font.as_scaled(scale_of_em(font, em));
    let mut offset = 0.0;
    let mut previous = None;
    text.chars().chain([END]).map(move |character| {
        let glyph = font.glyph_id(character);
        offset +=
            previous.map_or(0.0, |before| scaled.h_advance(before) + scaled.kern(before, glyph));
        previous = Some(glyph);
        (character, f64::from(offset))
    })
}

/// The width of a line of text whose em is `size`; without the font, a guess.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    let guess = 0.6 * size * text.chars().count() as f64;
    font().map_or(guess, |font| advances(&font, text, size).last().map_or(0.0, |(_, end)| end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_text_measures_wider_and_in_proportion() {
        let (one, two) = (text_width("accuracy", 8.0), text_width("accuracy accuracy", 8.0));
        assert!(one > 20.0 && two > 2.0 * one);
        assert!((text_width("accuracy", 16.0) - 2.0 * one).abs() < 1e-4);
    }

    #[test]
    fn every_letter_the_figures_use_is_in_the_font() -> Result<()> {
        let font = font()?;
        for letter in "AZaz09%×−⁰¹²³⁴⁵⁶⁷⁸⁹⁻λθφαΘΦ‖∇ℓ₂·".chars()
        {
            assert_ne!(font.glyph_id(letter).0, 0, "{letter:?}");
        }
        Ok(())
    }

    #[test]
    fn capitals_stand_on_the_baseline() -> Result<()> {
        let rows: Vec<i32> = dots("H", 100.0, 0.0)?
            .iter()
            .filter(|dot| dot.coverage > 0.5)
            .map(|dot| dot.y)
            .collect();
        assert_eq!(rows.iter().max(), Some(&-1));
        assert!(
            rows.iter().min().is_some_and(|top| (-76..=-70).contains(top)),
            "{:?}",
            rows.iter().min()
        );
        Ok(())
    }
}
