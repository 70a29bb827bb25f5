//! Parameters as one flat vector: sums, products and norms of named tensors. A tangent, a gradient
//! and a step of an optimiser are computed so; two sets may list their names in different orders.

use candle_core::{DType, Tensor};

use crate::{
    error::{ModelError, Result},
    loops::add_scaled::add_scaled,
    params::{Params, host_summary::HostSummary, list::in_order_of},
};

impl Params {
    /// Zero theta of the same shapes, with the same statistics.
    ///
    /// # Errors
    /// An allocation refused by the device.
    pub fn zeros_like(&self) -> Result<Self> {
        self.map(|t| Ok(t.zeros_like()?))
    }

    /// `self + alpha * other`.
    ///
    /// # Errors
    /// [`ModelError::Names`] if the two differ in names or shapes.
    pub fn add_scaled(&self, alpha: f64, other: &Params) -> Result<Self> {
        self.zip(other, |a, b| add_scaled(a, alpha, b))
    }

    /// `self - other`.
    ///
    /// # Errors
    /// As [`add_scaled`](Params::add_scaled).
    pub fn sub(&self, other: &Params) -> Result<Self> {
        self.add_scaled(-1.0, other)
    }

    /// `alpha * self`.
    ///
    /// # Errors
    /// An allocation refused by the device.
    pub fn scale(&self, alpha: f64) -> Result<Self> {
        self.map(|t| Ok((t * alpha)?))
    }

    /// Inner product of the flat vectors, summed in f64 whatever the dtype.
    ///
    /// # Errors
    /// As [`add_scaled`](Params::add_scaled).
    pub fn dot(&self, other: &Params) -> Result<f64> {
        let mut sum = 0.0;
        for ((_, a), b) in self.theta.iter().zip(in_order_of(&self.theta, &other.theta)?) {
            let product = (a.to_dtype(DType::F64)? * b.to_dtype(DType::F64)?)?;
            sum += product.sum_all()?.to_scalar::<f64>()?;
        }
        Ok(sum)
    }

    /// The l2 norm of the flat vector.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn norm(&self) -> Result<f64> {
        Ok(self.dot(self)?.sqrt())
    }

    /// `1 - cos(self, other)` of the flat vectors, in 0..=2.
    ///
    /// # Errors
    /// A zero vector has no direction and is refused.
    pub fn cosine_distance(&self, other: &Params) -> Result<f64> {
        let norms = self.norm()? * other.norm()?;
        if norms == 0.0 {
            return Err(ModelError::ZeroVector);
        }
        Ok(1.0 - self.dot(other)? / norms)
    }

    /// Refuses a set of other names or shapes than this one's theta.
    ///
    /// # Errors
    /// [`ModelError::Names`].
    pub fn check_same_shape(&self, other: &Params) -> Result<()> {
        in_order_of(&self.theta, &other.theta).map(|_| ())
    }

    /// Applies `f` to every trainable tensor.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(&self, mut f: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let theta =
            self.theta.iter().map(|(name, t)| Ok((name.clone(), f(t)?))).collect::<Result<_>>()?;
        Ok(Self { theta, summary: HostSummary::default(), ..self.clone() })
    }

    /// Applies `f` to every pair of trainable tensors.
    ///
    /// # Errors
    /// Those of `f`, and [`ModelError::Names`] if names or shapes differ.
    pub fn zip(
        &self,
        other: &Params,
        mut f: impl FnMut(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        let theta = (self.theta.iter().zip(in_order_of(&self.theta, &other.theta)?))
            .map(|((name, a), b)| Ok((name.clone(), f(a, b)?)))
            .collect::<Result<_>>()?;
        Ok(Self { theta, summary: HostSummary::default(), ..self.clone() })
    }

    /// A gradient of these parameters from named tensors, in this set's order and shapes: absent
    /// ones are zero, and those of one name are summed. Other names are left out.
    ///
    /// # Errors
    /// A tensor of another number of entries, or those of the device.
    pub fn gradient_from(&self, mut parts: Vec<(String, Tensor)>) -> Result<Self> {
        let mut theta = Vec::with_capacity(self.theta.len());
        for (name, like) in &self.theta {
            let mut sum: Option<Tensor> = None;
            while let Some(at) = parts.iter().position(|(n, _)| n == name) {
                let part = parts.swap_remove(at).1.reshape(like.shape())?;
                sum = Some(match sum {
                    Some(s) => (s + part)?,
                    None => part,
                });
            }
            theta.push((name.clone(), sum.map_or_else(|| like.zeros_like(), Ok)?));
        }
        Ok(Self { theta, summary: HostSummary::default(), ..self.clone() })
    }
}
