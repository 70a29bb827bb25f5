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

impl From<usize> for Padding {
    fn from(zeros: usize) -> Self {
        [zeros; 2].into()
    }
}

impl From<[usize; 2]> for Padding {
    /// Zeros above and below, and to the left and right.
    fn from([rows, columns]: [usize; 2]) -> Self {
        Self::Explicit { top: rows, bottom: rows, left: columns, right: columns }
    }
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

    /// Sizes of a convolution of an input of this height and width.
    pub(crate) fn geometry(
        self,
        what: &str,
        [channels, filters]: [usize; 2],
        input: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<Geometry> {
        let (mut output, mut before) = ([0; 2], [0; 2]);
        let reach = reach(kernel, dilation);
        for axis in 0..2 {
            let (pre, post) = self.on_axis(axis == 0, input[axis], reach[axis], stride[axis]);
            let padded = input[axis].saturating_add(pre).saturating_add(post);
            if reach[axis] > padded {
                let what = what.to_owned();
                return Err(ModelError::KernelTooLarge { what, kernel: reach, padded });
            }
            before[axis] = pre;
            output[axis] = (padded - reach[axis]) / stride[axis] + 1;
        }
        Ok(Geometry { channels, filters, input, output, kernel, stride, before, dilation })
    }

    /// Sizes of the convolution to an output of this height and width whose transpose gives so many
    /// rows and columns more than it has to.
    pub(crate) fn transposed_geometry(
        self,
        what: &str,
        [channels, filters]: [usize; 2],
        output: [usize; 2],
        [kernel, stride, dilation]: [[usize; 2]; 3],
        extra: [usize; 2],
    ) -> Result<Geometry> {
        let reach = reach(kernel, dilation);
        let (mut input, mut before) = ([0; 2], [0; 2]);
        for axis in 0..2 {
            if extra[axis] > 0 && extra[axis] >= stride[axis].max(dilation[axis]) {
                let expected = "less than the stride or the dilation";
                return Err(ModelError::shape(format!("{what}: output padding"), expected, &extra));
            }
            let all = (output[axis] - 1) * stride[axis] + reach[axis];
            let same = output[axis] * stride[axis];
            let (pre, post) = self.on_axis(axis == 0, same, reach[axis], stride[axis]);
            let size = match self {
                Self::Same => same + extra[axis],
                _ => (all + extra[axis]).saturating_sub(pre + post),
            };
            if size == 0 {
                let expected = format!("{what}: fewer than {all} rows or columns of padding");
                return Err(ModelError::shape(what, expected, &[pre, post]));
            }
            (input[axis], before[axis]) = (size, pre);
        }
        Ok(Geometry { channels, filters, input, output, kernel, stride, before, dilation })
    }
}

/// Rows and columns from the first tap to the last, both counted.
fn reach(kernel: [usize; 2], dilation: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|axis| (kernel[axis] - 1).saturating_mul(dilation[axis]).saturating_add(1))
}
