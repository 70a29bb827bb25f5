//! What one pass over the examples gives exactly: targets on the rows of the kernel come in, the
//! kernel's diagonal and the targets' gradients J^T y go out, with the columns of each layer.
//! Programs that report statistics of a kernel call it.

use std::ops::Range;

use entk_spectral::LinearOperator;

use crate::{
    error::{GramError, Result},
    jacobian::{JacobianOperator, Pass},
};

impl JacobianOperator<'_> {
    /// J^T `targets`, for whole columns of N entries one after the other in both, and the diagonal
    /// of J J^T: the squared norm of each row of J. `targets` may be empty.
    ///
    /// With g = J^T y the quadratic form y^T J J^T y is ||g||^2, and that of a layer alone the sum
    /// over its [columns](Self::layer_columns). The sum of the diagonal is the trace.
    ///
    /// Cost: one pass, with P multiply-adds an example and target. The diagonal costs as much as a
    /// target where rows are formed, and inputs and cotangents where a layer is dense.
    ///
    /// # Errors
    /// [`GramError::Setting`] for lengths that are not those of so many columns, and whatever a
    /// pass over the examples may return.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use entk_gram::{GramConfig, JacobianOperator, gram};
    /// use entk_models::{MlpConfig, Model};
    /// use entk_spectral::LinearOperator;
    ///
    /// let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
    /// let theta = network.init(0, DType::F64, &Device::Cpu)?;
    /// let x = Tensor::rand(0.0, 1.0, (20, 1, 4, 4), &Device::Cpu)?;
    /// let config = GramConfig::default();
    /// let jacobian = JacobianOperator::new(&network, &theta, &x, &config)?;
    /// let mut gradient = vec![0.0; jacobian.cols()];
    /// let diagonal = jacobian.diagonal_and_gradients(&[1.0; 20], &mut gradient)?;
    ///
    /// let kernel = gram(&network, &theta, &x, &config)?;
    /// assert!((diagonal.iter().sum::<f64>() / kernel.trace()? - 1.0).abs() < 1e-12);
    /// let form: f64 = kernel.matvec(&[1.0; 20])?.iter().sum();
    /// assert!((gradient.iter().map(|g| g * g).sum::<f64>() / form - 1.0).abs() < 1e-12);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "diagonal_and_gradients", skip_all))]
    pub fn diagonal_and_gradients(
        &self,
        targets: &[f64],
        gradients: &mut [f64],
    ) -> Result<Vec<f64>> {
        let (n, count) = (self.rows(), targets.len() / self.rows());
        for (field, got, least) in [
            ("length of the targets", targets.len(), count * n),
            ("length of the gradients", gradients.len(), count * self.cols()),
        ] {
            if got != least {
                return Err(GramError::Setting { field, got, least });
            }
        }
        let (mut g, mut norms) = (self.layout.zeros(count), vec![0.0; n]);
        self.pass(Pass::Norms { u: targets, g: &mut g, norms: &mut norms })?;
        self.layout.unpack(&g, gradients);
        Ok(norms)
    }

    /// The names of each layer's parameters and its columns of J, in their order. A trace over
    /// outputs may have a layer more than once.
    #[must_use]
    pub fn layer_columns(&self) -> Vec<(&[String], Range<usize>)> {
        let mut start = 0;
        let mut columns = |len: usize| {
            start += len;
            start - len..start
        };
        let layers = self.layers.iter();
        layers.map(|layer| (layer.names.as_slice(), columns(layer.parameters()))).collect()
    }
}
