//! [`Standardizer`]: from training images to the mean and standard deviation of each channel, and
//! images scaled by them.
//!
//! [`Split::standardized`](crate::Split::standardized) applies it to both parts.

use crate::{
    error::{DataError, Result},
    images::Images,
};

/// Per-channel standardisation x -> (x - mean_c) / std_c, fitted on training images only.
///
/// With the sums over all N H W values of channel c,
/// mean_c = (1 / N H W) sum x and std_c = sqrt((1 / N H W) sum (x - mean_c)^2), the population
/// form. Sums are f64 and in a fixed order: the same images give the same bits.
///
/// ```
/// use entk_data::{Images, Standardizer};
///
/// let train = Images::from_vec(vec![1.0, 3.0], (2, 1, 1, 1))?;
/// let standardizer = Standardizer::fit(&train)?;
/// assert_eq!((standardizer.mean()[0], standardizer.std()[0]), (2.0, 1.0));
/// assert_eq!(standardizer.apply(&train)?.to_vec()?, [-1.0, 1.0]);
/// # Ok::<(), entk_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Standardizer {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Standardizer {
    /// Mean and standard deviation of each channel of the training images. Two passes over the
    /// values.
    ///
    /// # Errors
    /// [`DataError::ConstantChannel`] if a channel's standard deviation is 0, or so small beside
    /// its mean that f32 pixels cannot resolve it.
    pub fn fit(train: &Images) -> Result<Self> {
        let values = train.to_vec()?;
        let count = values.len() as f64 / train.channels() as f64;
        let mean = channel_sums(&values, train, |_, x| x)
            .iter()
            .map(|sum| sum / count)
            .collect::<Vec<_>>();
        let squares = channel_sums(&values, train, |channel, x| (x - mean[channel]).powi(2));
        let std: Vec<f64> = squares.iter().map(|sum| (sum / count).sqrt()).collect();
        for (channel, (&mean, &std)) in mean.iter().zip(&std).enumerate() {
            if std <= mean.abs() * f64::from(f32::EPSILON) {
                return Err(DataError::ConstantChannel {
                    data: "images".to_owned(),
                    channel,
                    mean,
                    std,
                });
            }
        }
        Ok(Self { mean, std })
    }

    /// Standardised images, each value computed in f64 and rounded to f32 once. The result lies on
    /// the CPU.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the number of channels differs from the training images',
    /// [`DataError::NonFinite`] if a value leaves the range of f32.
    pub fn apply(&self, images: &Images) -> Result<Images> {
        let (c, h, w) = images.image_shape();
        if c != self.mean.len() {
            return Err(DataError::Shape {
                what: "images to standardise".to_owned(),
                expected: format!("(N, {}, H, W)", self.mean.len()),
                found: images.tensor().dims().to_vec(),
            });
        }
        let mut values = images.to_vec()?;
        for (plane, pixels) in values.chunks_exact_mut(h * w).enumerate() {
            let (mean, std) = (self.mean[plane % c], self.std[plane % c]);
            for x in pixels {
                *x = ((f64::from(*x) - mean) / std) as f32;
            }
        }
        Images::from_vec(values, (images.count(), c, h, w))
    }

    /// Means, one for each channel, in the unit of the training images.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Population standard deviations, one for each channel, in the unit of the training images.
    #[must_use]
    pub fn std(&self) -> &[f64] {
        &self.std
    }
}

/// Sum of `term(channel, x)` over all values of each channel, first within a plane (H, W), then
/// over the images.
fn channel_sums(values: &[f32], images: &Images, term: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let (channels, height, width) = images.image_shape();
    let mut sums = vec![0.0; channels];
    for (plane, pixels) in values.chunks_exact(height * width).enumerate() {
        let channel = plane % channels;
        sums[channel] += pixels.iter().map(|&x| term(channel, f64::from(x))).sum::<f64>();
    }
    sums
}
