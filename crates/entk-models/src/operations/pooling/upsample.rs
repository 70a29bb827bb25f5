//! Upsampling: nearest entries or linear interpolation along the last axes, to a multiple of their
//! lengths or to given ones.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::axis::taps::AxisTaps,
    operations::{
        axes::{along_axes, along_axes_transposed, shape_of_tables},
        linear_map::{LinearMap, linear_operation},
        pooling::windows::PerAxis,
    },
};

const WHAT: &str = "upsampling";

/// What stands between entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interpolation {
    /// The entry at the position rounded down: PyTorch's `nearest`.
    Nearest,
    /// Linear along each axis: `linear`, `bilinear`, `trilinear`.
    Linear {
        /// The first and last entries keep their places; else entries are the middles of cells.
        align_corners: bool,
    },
}

/// A finer or coarser grid of the last `A` axes: (N, .., H, W) -> (N, .., H', W'), as
/// `torch.nn.Upsample`.
///
/// Cost: for every output one multiply-add an axis, or two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upsample<const A: usize> {
    lengths: Lengths<A>,
    interpolation: Interpolation,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Lengths<const A: usize> {
    Times([f64; A]),
    To([usize; A]),
}

/// Upsampling of images, (N, C, H, W).
pub type Upsample2d = Upsample<2>;
/// Upsampling of sequences, (N, C, T).
pub type Upsample1d = Upsample<1>;

impl<const A: usize> Upsample<A> {
    /// To `factor` times the length, rounded down; nearest entries.
    pub fn by(factor: impl Into<PerAxis<f64, A>>) -> Self {
        let lengths = Lengths::Times(factor.into().0);
        Self { lengths, interpolation: Interpolation::Nearest }
    }

    /// To these lengths; nearest entries.
    pub fn to(lengths: impl Into<PerAxis<usize, A>>) -> Self {
        let lengths = Lengths::To(lengths.into().0);
        Self { lengths, interpolation: Interpolation::Nearest }
    }

    /// With another interpolation.
    #[must_use]
    pub fn with_interpolation(self, interpolation: Interpolation) -> Self {
        Self { interpolation, ..self }
    }

    /// The table of every axis, numbered in one example.
    fn tables(&self, input: &[usize]) -> Result<Vec<(usize, AxisTaps)>> {
        let Some(before) = input.len().checked_sub(A) else {
            return Err(ModelError::shape(WHAT, format!("at least {A} axes behind N"), input));
        };
        let table = |(axis, entries): (usize, &usize)| {
            let (outputs, step) = match self.lengths {
                Lengths::Times(factors) => {
                    ((*entries as f64 * factors[axis]) as usize, 1.0 / factors[axis])
                }
                Lengths::To(lengths) => (lengths[axis], *entries as f64 / lengths[axis] as f64),
            };
            if *entries == 0 || outputs == 0 || !step.is_finite() || step <= 0.0 {
                return Err(ModelError::zero(format!("{WHAT}: lengths before and after")));
            }
            Ok((before + axis, self.interpolation.table(*entries, outputs, step)))
        };
        input[before..].iter().enumerate().map(table).collect()
    }
}

impl Interpolation {
    /// The table of `outputs` positions, `step` entries apart.
    fn table(self, entries: usize, outputs: usize, step: f64) -> AxisTaps {
        let last = entries - 1;
        match self {
            // In f32, as PyTorch: a position just below an entry is rounded up there.
            Self::Nearest => AxisTaps::chosen(
                entries,
                (0..outputs).map(|output| last.min((output as f32 * step as f32) as usize)),
            ),
            Self::Linear { align_corners } => AxisTaps::new(
                entries,
                (0..outputs).map(|output| {
                    let position = match (align_corners, outputs) {
                        (true, 1) => 0.0,
                        (true, _) => output as f64 * (last as f64 / (outputs - 1) as f64),
                        (false, _) => ((output as f64 + 0.5) * step - 0.5).max(0.0),
                    };
                    let before = last.min(position as usize);
                    let behind = (position - before as f64).min(1.0);
                    [(before, 1.0 - behind), (last.min(before + 1), behind)]
                }),
            ),
        }
    }
}

impl<const A: usize> LinearMap for Upsample<A> {
    fn shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(shape_of_tables(input, &self.tables(input)?))
    }

    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        along_axes(x, self.tables(&x.dims()[1..])?)
    }

    fn transposed(&self, input: &[usize], dy: &Tensor) -> Result<Tensor> {
        along_axes_transposed(dy, self.tables(&input[1..])?)
    }
}

linear_operation!(Upsample<A>, A);
