//! One image: the bytes of a PNG or JPEG file come in, its samples from 0 to 1 go out. What the
//! header declares is compared with the length of the file before memory is taken. Called by the
//! reader of folders.

use std::{io::Cursor, panic::catch_unwind};

use entk_device::memory::ensure;
use png::{BitDepth, Transformations};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use crate::{
    error::{DataError, Result},
    folders::config::{Alpha, Channels, FolderConfig},
};

/// The most bytes of samples for each byte of a file: deflate makes 1032 of one, and a sample of
/// one bit becomes four bytes of a palette with transparency.
const MAX_EXPANSION: u64 = 1032 * 32;

/// How the formats begin.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// An image.
pub(super) struct Decoded {
    /// Rows and columns.
    pub(super) size: [usize; 2],
    /// Gray, gray and alpha, RGB, or RGB and alpha.
    pub(super) channels: usize,
    /// From 0 to 1, pixel by pixel.
    pub(super) values: Vec<f32>,
}

/// The image in the bytes of a file, if `check` takes its size.
pub(super) fn decode(
    bytes: &[u8],
    file: &str,
    check: impl Fn([usize; 2]) -> Result<()>,
) -> Result<Decoded> {
    let decoded = if bytes.starts_with(PNG) {
        png(bytes, file, &check)?
    } else if bytes.starts_with(JPEG) {
        jpeg(bytes, file, &check)?
    } else {
        return Err(refused(file, "expected PNG or JPEG, and it begins like neither"));
    };
    Ok(decoded)
}

pub(super) fn refused(file: &str, problem: impl ToString) -> DataError {
    DataError::Format {
        file: file.to_owned(),
        format: "image",
        problem: problem.to_string(),
        advice: "save it again as PNG or JPEG like the others, or leave it out",
    }
}

/// Refuses so many samples that the file cannot hold them, or memory.
fn ensure_samples(samples: Option<usize>, bytes: &[u8], file: &str) -> Result<()> {
    let (samples, length) = (samples.unwrap_or(usize::MAX) as u64, bytes.len() as u64);
    if samples > length.saturating_mul(MAX_EXPANSION) {
        let problem = format!("its header says {samples} samples, in {length} bytes");
        return Err(refused(file, problem));
    }
    // Beside the bytes their values in f32, which conversions double.
    Ok(ensure(&format!("the image {file}"), samples.saturating_mul(9), None, "resize it")?)
}

fn png(bytes: &[u8], file: &str, check: &impl Fn([usize; 2]) -> Result<()>) -> Result<Decoded> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(|error| refused(file, error))?;
    let size = [reader.info().height as usize, reader.info().width as usize];
    check(size)?;
    let length = reader.output_buffer_size();
    ensure_samples(length, bytes, file)?;
    let (color, depth) = reader.output_color_type();
    let mut samples = vec![0; length.unwrap_or(0)];
    reader.next_frame(&mut samples).map_err(|error| refused(file, error))?;
    reader.finish().map_err(|error| refused(file, error))?;
    let values = match depth {
        BitDepth::Sixteen => {
            let (pairs, _) = samples.as_chunks();
            let value = |pair: &[u8; 2]| f32::from(u16::from_be_bytes(*pair)) / 65535.0;
            pairs.iter().map(value).collect()
        }
        _ => from_bytes(&samples),
    };
    Ok(Decoded { size, channels: color.samples(), values })
}

fn jpeg(bytes: &[u8], file: &str, check: &impl Fn([usize; 2]) -> Result<()>) -> Result<Decoded> {
    if !is_ended(bytes) {
        return Err(refused(file, "expected the mark of its end: the file is cut off"));
    }
    // Strict, so that what is damaged does not become gray.
    let options = DecoderOptions::default().set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| refused(file, error))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check([height, width])?;
    let (color, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    ensure_samples(height.checked_mul(width * channels), bytes, file)?;
    decoder.set_options(options.jpeg_set_out_colorspace(color));
    // The decoder is not to bring down a program over a damaged file.
    let samples = catch_unwind(std::panic::AssertUnwindSafe(|| decoder.decode()));
    let samples = samples.map_err(|_| refused(file, "is damaged"))?;
    let samples = samples.map_err(|error| refused(file, error))?;
    Ok(Decoded { size: [height, width], channels, values: from_bytes(&samples) })
}

/// Whether the mark of the end follows the last scan. (Pictures within a header have theirs.)
fn is_ended(bytes: &[u8]) -> bool {
    let last = |mark: [u8; 2]| bytes.windows(2).rposition(|pair| pair == mark);
    last([0xff, 0xd9]) > last([0xff, 0xda])
}

fn from_bytes(samples: &[u8]) -> Vec<f32> {
    samples.iter().map(|sample| f32::from(*sample) / 255.0).collect()
}

impl Decoded {
    /// The image without alpha, in the channels asked for; or the problem with it.
    pub(super) fn converted(self, config: &FolderConfig) -> std::result::Result<Self, String> {
        let Self { size, channels, values } = self;
        let (colors, has_alpha) = (channels - (1 - channels % 2), channels % 2 == 0);
        if has_alpha && config.alpha == Alpha::Refuse {
            return Err("expected no alpha channel, found one; `alpha` can drop it".to_owned());
        }
        let wanted = match config.channels {
            Channels::AsStored => colors,
            Channels::Gray => 1,
            Channels::Rgb => 3,
        };
        if !has_alpha && wanted == channels {
            return Ok(Self { size, channels, values });
        }
        let mut converted = Vec::with_capacity(values.len() / channels * wanted);
        for pixel in values.chunks_exact(channels) {
            let mixed = |color: f32| match (config.alpha, has_alpha) {
                (Alpha::Over(gray), true) => {
                    color * pixel[channels - 1] + gray * (1.0 - pixel[channels - 1])
                }
                _ => color,
            };
            match (&pixel[..colors], wanted) {
                ([red, green, blue], 1) => {
                    converted.push(mixed(0.2126 * red + 0.7152 * green + 0.0722 * blue));
                }
                (pixel, _) => {
                    converted.extend(pixel.iter().cycle().take(wanted).map(|color| mixed(*color)));
                }
            }
        }
        Ok(Self { size, channels: wanted, values: converted })
    }
}
