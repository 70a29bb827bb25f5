//! [`AugmentedImages`]: from images to any number of shifted and mirrored copies of them, each
//! computed when it is asked for. Operators and statistics of many examples read it.

use std::ops::Range;

use candle_core::{Device, Tensor};
use entk_device::InputSource;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::{
    error::{DataError, Result},
    images::Images,
};

/// Images and their copies under the usual augmentation of CIFAR-10: shifts by up to `shift` pixels
/// in both directions with zeros outside, and mirror images.
///
/// Example i is image i mod N. The first N examples are the images themselves; every later one is
/// mirrored with probability 1/2 and shifted uniformly, by random numbers that are a function of
/// the seed and of i alone (ChaCha8, one stream an example).
///
/// ```
/// use candle_core::Tensor;
/// use entk_data::{AugmentedImages, Images};
/// use entk_device::InputSource;
///
/// let images = Images::from_vec((0..32).map(|i| i as f32).collect(), (2, 1, 4, 4))?;
/// let source = AugmentedImages::new(images.clone(), 1_000_000, 1, 0)?;
/// assert_eq!(source.examples(), 1_000_000);
/// let (first, later) = (source.read(0..2)?, source.read(999_998..1_000_000)?);
/// assert_eq!(first.dims(), later.dims());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct AugmentedImages {
    pixels: Vec<f32>,
    /// Images, channels, rows, columns.
    shape: [usize; 4],
    examples: usize,
    shift: usize,
    seed: u64,
}

impl AugmentedImages {
    /// `examples` examples made of these images.
    ///
    /// # Errors
    /// [`DataError::Empty`] for no example, [`DataError::Tensor`] if the images cannot be read from
    /// their device.
    pub fn new(images: Images, examples: usize, shift: usize, seed: u64) -> Result<Self> {
        if examples == 0 {
            return Err(DataError::Empty { what: "set of augmented images".to_owned() });
        }
        let shape = [images.count(), images.channels(), images.height(), images.width()];
        Ok(Self { pixels: images.to_vec()?, shape, examples, shift, seed })
    }

    /// Appends example i.
    fn append(&self, i: usize, out: &mut Vec<f32>) {
        let [count, channels, height, width] = self.shape;
        let size = channels * height * width;
        let image = &self.pixels[i % count * size..][..size];
        if i < count {
            out.extend_from_slice(image);
            return;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(i as u64);
        let mirrored = rng.random::<bool>();
        let [down, right] = [0; 2].map(|_: usize| rng.random_range(0..=2 * self.shift));
        for (at, _) in image.iter().enumerate() {
            let (plane, row, column) = (at / (height * width), at / width % height, at % width);
            let column = if mirrored { width - 1 - column } else { column };
            let from = |to: usize, by: usize, size: usize| {
                (to + by).checked_sub(self.shift).filter(|from| *from < size)
            };
            let pixel = from(row, down, height).zip(from(column, right, width));
            out.push(
                pixel.map_or(0.0, |(row, column)| image[(plane * height + row) * width + column]),
            );
        }
    }
}

impl InputSource for AugmentedImages {
    fn examples(&self) -> usize {
        self.examples
    }

    fn read(&self, range: Range<usize>) -> candle_core::Result<Tensor> {
        let [_, channels, height, width] = self.shape;
        let count = range.len();
        let mut pixels = Vec::with_capacity(count * channels * height * width);
        range.for_each(|i| self.append(i, &mut pixels));
        Tensor::from_vec(pixels, (count, channels, height, width), &Device::Cpu)
    }
}
