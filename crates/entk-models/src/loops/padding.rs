//! How the border of an image is extended, and the sizes of the convolution that follow: called by
//! the layer when it sees its input.

use entk_device::Geometry;

use crate::error::{ModelError, Result};

/// How the border of an image is extended with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
    fn on_axis(self, vertical: bool, size: usize, reach: usize, stride: usize) -> (usize, usize) {
        match self {
            Self::Valid => (0, 0),
            Self::Explicit { top, bottom, .. } if vertical => (top, bottom),
            Self::Explicit { left, right, .. } => (left, right),
            Self::Same => {
                let outputs = size.div_ceil(stride);
                let total = ((outputs - 1) * stride + reach).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }

    /// Sizes of a convolution of an input of (channels, height, width), without dilation.
    pub(crate) fn geometry(
        self,
        what: &str,
        input: [usize; 3],
        filters: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
    ) -> Result<Geometry> {
        self.dilated_geometry(what, input, filters, kernel, stride, [1; 2])
    }

    /// Sizes of a convolution of an input of (channels, height, width).
    pub(crate) fn dilated_geometry(
        self,
        what: &str,
        [channels, height, width]: [usize; 3],
        filters: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<Geometry> {
        let input = [height, width];
        let (mut output, mut before) = ([0; 2], [0; 2]);
        let reach = [0, 1].map(|axis| (kernel[axis] - 1).saturating_mul(dilation[axis]) + 1);
        for axis in 0..2 {
            let (pre, post) = self.on_axis(axis == 0, input[axis], reach[axis], stride[axis]);
            let padded = input[axis] + pre + post;
            if reach[axis] > padded {
                let what = what.to_owned();
                return Err(ModelError::KernelTooLarge { what, kernel: reach, padded });
            }
            before[axis] = pre;
            output[axis] = (padded - reach[axis]) / stride[axis] + 1;
        }
        Ok(Geometry { channels, filters, input, output, kernel, stride, before, dilation })
    }
}
