use entk_models::{Geometry, Real};

use crate::{
    cpu::{expansion::Expansion, pixels::PixelPairs, rows::Rows},
    error::Result,
};

/// The inputs and cotangents of a layer whose Jacobian rows are not kept, one row per example,
/// and how its share of the kernel follows from them.
#[derive(Debug)]
pub(crate) struct Pair<T> {
    pub(crate) inputs: Rows<T>,
    pub(crate) cotangents: Rows<T>,
    pub(crate) form: PairForm,
}

/// How a layer's share of the kernel follows from inputs and cotangents.
#[derive(Debug, Clone)]
pub(crate) enum PairForm {
    /// A dense layer: `(a a'^T + bias) * (d d'^T)`.
    Hadamard { bias: bool },
    /// A convolution on few pixels, both matrices pixel by pixel: products of pairs of pixels.
    Pixels(PixelPairs),
    /// A convolution whose rows are expanded, some filters at a time, and multiplied.
    Expanded(Expansion),
}

impl PairForm {
    /// The cheapest form for a convolution; `None` if that is to keep its rows.
    pub(crate) fn of_conv(geometry: Geometry) -> Option<Self> {
        if let Some(pixels) = PixelPairs::if_cheaper(geometry) {
            return Some(Self::Pixels(pixels));
        }
        let kept = geometry.input_len() + geometry.output_len();
        let is_smaller = kept < geometry.patch() * geometry.filters;
        is_smaller.then(|| Self::Expanded(Expansion::new(geometry)))
    }
}

impl<T: Real> Pair<T> {
    /// Memory for `n` examples of so many numbers.
    pub(crate) fn with_capacity(n: usize, widths: [usize; 2], form: &PairForm) -> Result<Self> {
        Ok(Self {
            inputs: Rows::with_capacity(n, widths[0])?,
            cotangents: Rows::with_capacity(n, widths[1])?,
            form: form.clone(),
        })
    }

    pub(crate) fn padded(self) -> Self {
        let Self { inputs, cotangents, form } = self;
        Self { inputs: inputs.padded(), cotangents: cotangents.padded(), form }
    }
}
