//! The variance over axes.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::{axis::strided::contiguous, entrywise::add},
    operation::{MixedCotangents, NormMode, Operation, only_tangent},
    operations::{
        axes::reshaped,
        reduce::{
            axes::ReducedAxes,
            sum::{spread, sums},
        },
    },
};

/// Variance over axes of n entries: `sum_i (x_i - mean)^2 / (n - correction)`, biased unless a
/// correction is given. Cost: a few passes over memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variance {
    axes: ReducedAxes,
    correction: usize,
}

impl Variance {
    /// Over these axes, counted from 0 behind N, which are left out of the result.
    pub fn over(axes: &[usize]) -> Self {
        Self { axes: ReducedAxes::new(axes), correction: 0 }
    }

    /// Keeps the axes, with length 1.
    #[must_use]
    pub fn keeping_axes(self) -> Self {
        Self { axes: self.axes.kept(), ..self }
    }

    /// Divides by n less this number: 1 gives the unbiased variance, PyTorch's default.
    #[must_use]
    pub fn with_correction(self, correction: usize) -> Self {
        Self { correction, ..self }
    }

    fn divisor(&self, input: &[usize]) -> f64 {
        (self.axes.entries(input) - self.correction) as f64
    }

    /// `x` less its means.
    fn centred(&self, x: &Tensor) -> Result<Tensor> {
        let minus_mean = sums(x, &self.axes, -1.0 / self.axes.entries(&x.dims()[1..]) as f64)?;
        add(x, &spread(&minus_mean, &self.axes, 1.0, x.dims())?)
    }

    /// `scale / (n - correction)` times the sums of products with the centred inputs.
    fn summed(&self, centred: &Tensor, x: &Tensor, scale: f64) -> Result<Tensor> {
        let (examples, input) = x.dims().split_at(1);
        let sums = sums(&(centred * x)?, &self.axes, scale / self.divisor(input))?;
        reshaped(&sums, &[examples, &self.axes.shape("variance", input)?].concat())
    }

    /// `2 dy / (n - correction)` times the centred inputs: the cotangent of the input.
    fn times(&self, centred: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let scale = 2.0 / self.divisor(&centred.dims()[1..]);
        Ok((spread(dy, &self.axes, scale, centred.dims())? * centred)?)
    }
}

impl Operation for Variance {
    /// The inputs less their means.
    type Cache = Tensor;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [input] = inputs else { return Err(ModelError::arity(self, inputs.len())) };
        let shape = self.axes.shape("variance", input)?;
        if self.axes.entries(input) <= self.correction {
            let expected = format!("more than {} entries", self.correction);
            return Err(ModelError::shape("variance", expected, input));
        }
        Ok(shape)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Tensor)> {
        let centred = self.centred(inputs[0])?;
        Ok((self.summed(&centred, &centred, 1.0)?, centred))
    }

    fn jvp(&self, centred: &Tensor, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        self.summed(centred, &contiguous(only_tangent(tangents)?)?, 2.0)
    }

    fn vjp(&self, centred: &Tensor, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(self.times(centred, dy)?)])
    }

    fn mixed_vjp(
        &self,
        centred: &Tensor,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        _: &[bool],
    ) -> Result<MixedCotangents> {
        let mut moved = self.times(centred, ddy)?;
        if let Some(dx) = tangents[0] {
            moved = add(&moved, &self.times(&self.centred(dx)?, dy)?)?;
        }
        Ok(vec![Some((self.times(centred, dy)?, moved))])
    }
}
