use crate::{
    error::{ModelError, Result},
    ops::real::Real,
};

/// How the border of an image is extended with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// As many zeros as give ceil(size / stride) outputs; an odd one goes after.
    /// Stride 2, kernel 3 and an even size: 0 before, 1 after.
    Same,
    /// No zeros.
    Valid,
    /// Zeros per side.
    Explicit {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns to the left.
        left: usize,
        /// Columns to the right.
        right: usize,
    },
}

impl Padding {
    /// Zeros (before, after) on an axis.
    fn on_axis(self, vertical: bool, size: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Self::Valid => (0, 0),
            Self::Explicit { top, bottom, .. } if vertical => (top, bottom),
            Self::Explicit { left, right, .. } => (left, right),
            Self::Same => {
                let outputs = size.div_ceil(stride);
                let total = ((outputs - 1) * stride + kernel).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }
}

/// Every size of one convolution on one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Input channels C.
    pub channels: usize,
    /// Output channels C'.
    pub filters: usize,
    /// Input height and width.
    pub input: [usize; 2],
    /// Output height and width.
    pub output: [usize; 2],
    /// HostOp height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zero rows above and zero columns to the left.
    pub before: [usize; 2],
}

impl Geometry {
    /// Sizes for an input of (channels, height, width).
    pub(crate) fn new(
        what: &str,
        [channels, height, width]: [usize; 3],
        filters: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: Padding,
    ) -> Result<Self> {
        let input = [height, width];
        let (mut output, mut before) = ([0; 2], [0; 2]);
        for axis in 0..2 {
            let (pre, post) = padding.on_axis(axis == 0, input[axis], kernel[axis], stride[axis]);
            let padded = input[axis] + pre + post;
            if kernel[axis] > padded {
                let reason = format!("kernel {kernel:?} is larger than the padded input {padded}");
                return Err(ModelError::config(what, reason));
            }
            before[axis] = pre;
            output[axis] = (padded - kernel[axis]) / stride[axis] + 1;
        }
        Ok(Self { channels, filters, input, output, kernel, stride, before })
    }

    /// Pixels of one input channel.
    pub fn input_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Pixels of one output channel.
    pub fn output_pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Entries of one patch, C k k.
    pub fn patch(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    /// Numbers in one input image.
    pub fn input_len(&self) -> usize {
        self.channels * self.input_pixels()
    }

    /// Numbers in one output image.
    pub fn output_len(&self) -> usize {
        self.filters * self.output_pixels()
    }

    /// Operations of the values of one image, two a multiply-add: as many as of either gradient.
    pub fn operations(&self) -> f64 {
        2.0 * (self.patch() * self.output_len()) as f64
    }

    /// The output columns `first..last` whose horizontal tap `dj` is inside the image.
    pub(crate) fn columns_inside(&self, dj: usize) -> Option<(usize, usize)> {
        let [pad, stride, width] = [self.before[1], self.stride[1], self.input[1]];
        let first = pad.saturating_sub(dj).div_ceil(stride);
        let last = (width + pad).saturating_sub(dj).div_ceil(stride).min(self.output[1]);
        (first < last).then_some((first, last))
    }

    /// All patches of one image as columns, (C k k, output pixels), zero outside the image.
    pub(crate) fn patches<T: Real>(&self, image: &[T], columns: &mut Vec<T>) {
        let ([kh, kw], [height, width]) = (self.kernel, self.output);
        columns.clear();
        columns.resize(self.patch() * self.output_pixels(), T::zero());
        for (tap, target) in columns.chunks_exact_mut(self.output_pixels()).enumerate() {
            let (channel, di, dj) = (tap / (kh * kw), tap / kw % kh, tap % kw);
            let Some((first, last)) = self.columns_inside(dj) else { continue };
            for row in 0..height {
                let y = row * self.stride[0] + di;
                if y < self.before[0] || y - self.before[0] >= self.input[0] {
                    continue;
                }
                let line = (channel * self.input[0] + y - self.before[0]) * self.input[1];
                let start = line + first * self.stride[1] + dj - self.before[1];
                let target = &mut target[row * width + first..row * width + last];
                if self.stride[1] == 1 {
                    target.copy_from_slice(&image[start..start + target.len()]);
                } else {
                    let source = image[start..].iter().step_by(self.stride[1]);
                    target.iter_mut().zip(source).for_each(|(t, v)| *t = *v);
                }
            }
        }
    }
}
