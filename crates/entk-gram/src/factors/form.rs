//! How a layer's gradients are kept and contracted, and what that costs.

use candle_core::Tensor;
use entk_models::{Factor, Geometry};

use crate::cpu::pair::PairForm;

/// How the parameters of one layer are contracted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPlan {
    /// The layer's parameters.
    pub names: Vec<String>,
    /// Number of parameters, P_l.
    pub parameters: usize,
    /// Form of its gradients.
    pub form: Form,
    /// Numbers kept for each example.
    pub kept: usize,
    /// Columns of the products of each pair of examples.
    pub columns: usize,
}

/// The form in which a layer's gradients are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Rows of the Jacobian, in one product with those of other layers.
    Rows,
    /// Inputs and cotangents of a dense layer: `(a a'^T + 1) * (d d'^T)`.
    Dense,
    /// Inputs and cotangents of a convolution, from which rows are expanded in parts.
    Conv,
    /// Inputs and cotangents of a convolution on few pixels, multiplied pixel by pixel.
    Pixels,
}

/// Operations for one example: the input's cotangent, unless the layer is the first one, and the
/// rows of a convolution.
pub(crate) fn backward_operations(factor: &Factor, first: bool) -> f64 {
    let (cotangent, rows) = match factor {
        Factor::Dense { inputs, cotangents, .. } => {
            (2.0 * (inputs.dims()[1] * cotangents.dims()[1]) as f64, 0.0)
        }
        Factor::Conv { geometry, .. } => match PairForm::of_conv(*geometry) {
            Some(PairForm::Pixels(_)) => (geometry.operations(), 0.0),
            _ => (geometry.operations(), geometry.operations()),
        },
        Factor::Rows { .. } => (0.0, 0.0),
    };
    rows + if first { 0.0 } else { cotangent }
}

/// What a micro-batch sweep holds for a layer: numbers of its inputs and cotangents.
pub(crate) fn in_flight(factor: &Factor) -> usize {
    match factor {
        Factor::Dense { inputs, cotangents, .. } | Factor::Conv { inputs, cotangents, .. } => {
            inputs.elem_count() + cotangents.elem_count()
        }
        Factor::Rows { rows, .. } => rows.elem_count(),
    }
}

/// Whether two products of widths `in` and `out` cost less than one of width `in out`.
pub(crate) fn pair_is_cheaper(inputs: &Tensor, cotangents: &Tensor) -> bool {
    let (i, o) = (inputs.dims()[1], cotangents.dims()[1]);
    i + o + 2 < i * o
}

/// Multiply-adds of all pairs of input pixels and all pairs of output pixels.
pub(crate) fn pixel_columns(g: &Geometry) -> usize {
    g.channels * g.input_pixels().pow(2) + g.filters * g.output_pixels().pow(2)
}

/// Whether pairs of pixels cost less than rows. The additions of one pair of examples stay in
/// registers and caches; those of all taps count as one multiply-add each.
pub(crate) fn pixels_are_cheaper(g: &Geometry) -> bool {
    let taps = g.kernel[0] * g.kernel[1] * g.output_pixels().pow(2);
    pixel_columns(g) + taps < g.patch() * g.filters
}
