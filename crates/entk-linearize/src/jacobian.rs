//! Products with the Jacobian of a whole data set, streamed in batches: a tangent or a cotangent
//! goes in, the product or the alignment of a target comes out. Called by figures and properties.

use candle_core::{DType, Device, Tensor};
use entk_models::{Model, Params, ensure_finite};

use crate::error::{LinearizeError, Result};

/// The Jacobian J of a model over a whole data set, as a linear operator that is never formed.
///
/// J has one row per example and output, example-major (`n C + c`), and one column per parameter.
/// Examples are streamed in batches of [`with_batch`](Jacobian::with_batch); each product costs
/// about three forward passes over the data.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_linearize::Jacobian;
/// use entk_models::{MlpConfig, Model};
///
/// let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
/// let theta = network.init(0, DType::F64, &Device::Cpu)?;
/// let x = Tensor::ones((5, 1, 4, 4), DType::F64, &Device::Cpu)?;
/// let jacobian = Jacobian::new(&network, &theta, &x)?;
///
/// let y = [1.0, -1.0, 1.0, -1.0, 1.0];
/// let alpha = jacobian.alignment(&y)?;
/// assert!(alpha > 0.0);
/// # Ok::<(), entk_linearize::LinearizeError>(())
/// ```
#[derive(Debug)]
pub struct Jacobian<'a> {
    model: &'a dyn Model,
    params: &'a Params,
    inputs: &'a Tensor,
    batch: usize,
}

impl<'a> Jacobian<'a> {
    /// The Jacobian at `params` over `inputs` (N, C, H, W), streamed in batches of 128.
    ///
    /// # Errors
    /// An empty data set, or NaN or infinity in it; inputs or parameters that do not fit the
    /// model; and those of [`Model::verify`].
    pub fn new(model: &'a dyn Model, params: &'a Params, inputs: &'a Tensor) -> Result<Self> {
        if inputs.elem_count() == 0 {
            return Err(LinearizeError::Empty);
        }
        ensure_finite(inputs, "inputs")?;
        model.verify(params, inputs)?;
        Ok(Self { model, params, inputs, batch: 128 })
    }

    /// Streams in batches of this many examples (at least one).
    #[must_use]
    pub fn with_batch(self, batch: usize) -> Self {
        Self { batch: batch.max(1), ..self }
    }

    /// Number of rows, N C.
    pub fn nrows(&self) -> usize {
        self.inputs.dims()[0] * self.model.outputs()
    }

    /// J v, N C numbers, for a tangent v in parameter space.
    ///
    /// # Errors
    /// A tangent of other names or shapes, or inputs that do not fit the model.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "jvp", skip_all))]
    pub fn jvp(&self, tangent: &Params) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(self.nrows());
        self.for_each_batch(|x| {
            let values = self.model.sweep(self.params, x)?.jvp(tangent)?;
            ensure_finite(&values, "model outputs")?;
            all.extend(values.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?);
            Ok(())
        })?;
        Ok(all)
    }

    /// J^T u in parameter space, for a cotangent u of N C numbers.
    ///
    /// # Errors
    /// A cotangent of the wrong length or with NaN or infinity, or inputs that do not fit.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "vjp", skip_all))]
    pub fn vjp(&self, cotangent: &[f64]) -> Result<Params> {
        self.check("cotangent", cotangent)?;
        let (outputs, mut at) = (self.model.outputs(), 0);
        let mut sum: Option<Params> = None;
        self.for_each_batch(|x| {
            let rows = x.dim(0)?;
            let part = cotangent[at..at + rows * outputs].to_vec();
            at += part.len();
            let u = Tensor::from_vec(part, (rows, outputs), &Device::Cpu)?
                .to_dtype(self.params.dtype())?
                .to_device(self.params.device())?;
            let gradient = self.model.sweep(self.params, x)?.vjp(&u)?;
            sum = Some(match sum.take() {
                Some(s) => s.add_scaled(1.0, &gradient)?,
                None => gradient,
            });
            Ok(())
        })?;
        sum.ok_or(LinearizeError::Empty)
    }

    /// The alignment of a target with the kernel, without a Gram: `||(1/N) sum_n y_n grad
    /// f(x_n)||^2 = y^T K y / N^2` (the paper's alpha, its Section 3), for `y` of N C numbers.
    ///
    /// # Errors
    /// As [`vjp`](Jacobian::vjp).
    pub fn alignment(&self, target: &[f64]) -> Result<f64> {
        let n = self.inputs.dims()[0] as f64;
        let gradient = self.vjp(target)?;
        Ok(gradient.dot(&gradient)? / (n * n))
    }

    /// The alignment of a target with the kernel `K_l` of each parameter l alone, by name and in
    /// the order of theta: `||(J^T y)_l||^2 / N^2 = y^T K_l y / N^2`. Their sum is
    /// [`alignment`](Jacobian::alignment); a layer's is the sum of its weight's and its bias's.
    ///
    /// # Errors
    /// As [`vjp`](Jacobian::vjp).
    pub fn layer_alignments(&self, target: &[f64]) -> Result<Vec<(String, f64)>> {
        let n = self.inputs.dims()[0] as f64;
        let gradient = self.vjp(target)?;
        let part = |(name, tensor): (&str, &Tensor)| {
            let squares = tensor.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
            Ok((name.to_owned(), squares / (n * n)))
        };
        gradient.iter().map(part).collect()
    }

    fn check(&self, what: &'static str, values: &[f64]) -> Result<()> {
        if values.len() != self.nrows() {
            let (expected, got) = (self.nrows(), values.len());
            return Err(LinearizeError::Length { what, expected, got });
        }
        match values.iter().position(|v| !v.is_finite()) {
            Some(index) => Err(LinearizeError::NonFinite { what, index, value: values[index] }),
            None => Ok(()),
        }
    }

    fn for_each_batch(&self, mut f: impl FnMut(&Tensor) -> Result<()>) -> Result<()> {
        let n = self.inputs.dims()[0];
        for start in (0..n).step_by(self.batch) {
            f(&self.inputs.narrow(0, start, self.batch.min(n - start))?)?;
        }
        Ok(())
    }
}
