//! Sizes of convolutions and poolings: what layers, factors and the kernels of a GPU count
//! by.

/// Every size of one convolution on one image.
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
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zero rows above and zero columns to the left.
    pub before: [usize; 2],
    /// Rows from one tap to the next below, columns to the next on the right; 1 where they touch.
    pub dilation: [usize; 2],
}

impl Geometry {
    /// Pixels of one input channel.
    #[inline]
    pub fn input_pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Pixels of one output channel.
    #[inline]
    pub fn output_pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Taps of one channel of a filter, k k.
    #[inline]
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Rows and columns from the first tap to the last, both counted: (k - 1) dilation + 1.
    #[inline]
    pub fn reach(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.kernel[axis] - 1) * self.dilation[axis] + 1)
    }

    /// Entries of one patch, C k k.
    #[inline]
    pub fn patch(&self) -> usize {
        self.channels * self.taps()
    }

    /// Numbers in one input image.
    #[inline]
    pub fn input_len(&self) -> usize {
        self.channels * self.input_pixels()
    }

    /// Numbers in one output image.
    #[inline]
    pub fn output_len(&self) -> usize {
        self.filters * self.output_pixels()
    }

    /// Operations of the values of one image, two a multiply-add: as many as of either gradient.
    #[inline]
    pub fn operations(&self) -> f64 {
        2.0 * (self.patch() * self.output_len()) as f64
    }

    /// The input pixel that a tap of an output pixel reads, all counted row by row; none outside
    /// the image.
    #[inline]
    pub fn input_pixel(&self, output: usize, tap: usize) -> Option<usize> {
        let places = [output / self.output[1], output % self.output[1]];
        let taps = [tap / self.kernel[1], tap % self.kernel[1]];
        let along = |axis: usize| {
            let place = places[axis] * self.stride[axis] + taps[axis] * self.dilation[axis];
            place.checked_sub(self.before[axis]).filter(|place| *place < self.input[axis])
        };
        Some(along(0)? * self.input[1] + along(1)?)
    }
}

/// Sizes of an average pooling whose window equals its stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Images and channels.
    pub planes: [usize; 2],
    /// Output height and width.
    pub output: [usize; 2],
    /// Window height and width.
    pub window: [usize; 2],
}

impl Windows {
    /// Input height and width.
    #[inline]
    pub fn input(&self) -> [usize; 2] {
        [self.output[0] * self.window[0], self.output[1] * self.window[1]]
    }
}
