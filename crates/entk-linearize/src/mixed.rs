//! The mixed derivative d^2 f / (dtheta dx): directions go in, M u, M^T v or M^T M come out. Called
//! for neural anisotropy directions and for Theorem 1.

use candle_core::{DType, Tensor};
use entk_memory::ensure;
use entk_models::{ActiveParameters, Factor, MixedFactor, Model, Params, Sweep, ensure_finite};

use crate::error::{LinearizeError, Result};

/// Directions that one sweep carries as a batch.
const DIRECTIONS: usize = 256;
/// Numbers of a sweep for each value of the network: the value, its tangent, its cotangent, and the
/// tangent of that.
const SWEPT: usize = 4;
/// Squares of d numbers in f64 that are there while one layer's is added to those before it.
const SQUARES: usize = 8;

/// The mixed derivative M = d^2 f / (dtheta dx), parameters x inputs, averaged over points x, as a
/// linear operator that is never formed. With C outputs, f is their sum.
///
/// Its right singular vectors at x = 0 are the neural anisotropy directions (NADs) of the network,
/// and the squared singular values the alignments that Theorem 1 predicts for the linear targets
/// sign(u . x). They are the eigenvectors and eigenvalues of M^T M ([`gram`](Self::gram)).
///
/// By M = E\[grad_theta f(x) x^T\] (Stein, x ~ N(0, I)) the average over Gaussian points is the
/// expectation itself; where grad_theta f is a polynomial of degree at most 2 in x, the value at
/// 0 equals it.
///
/// Paper: Theorem 1 and its Section 5; the networks there use GELU. A ReLU has second derivative
/// 0, and at x = 0, with zero biases, first derivative 0 as well: M is then 0.
///
/// ```
/// use candle_core::{DType, Device};
/// use entk_linearize::MixedDerivative;
/// use entk_models::{Activation, MlpConfig, Model};
///
/// let activation = Activation::Gelu;
/// let config = MlpConfig { input: [1, 3, 3], activation, ..MlpConfig::default() };
/// let network = config.network()?;
/// let theta = network.init(0, DType::F64, &Device::Cpu)?;
/// let mixed = MixedDerivative::at_zero(&network, &theta)?;
///
/// let gram = mixed.gram()?;
/// // Its diagonal is ||M e_j||^2.
/// let mut e = vec![0.0; 9];
/// e[4] = 1.0;
/// let column = mixed.apply(&e)?;
/// assert!((gram[4 * 9 + 4] - column.dot(&column)?).abs() < 1e-12 * gram[4 * 9 + 4]);
/// # Ok::<(), entk_linearize::LinearizeError>(())
/// ```
#[derive(Debug)]
pub struct MixedDerivative<'a> {
    model: &'a dyn Model,
    params: &'a Params,
    points: Tensor,
}

impl<'a> MixedDerivative<'a> {
    /// The mean of the mixed derivative over `points` (N, C, H, W).
    ///
    /// # Errors
    /// No point, NaN or infinity in one, points or parameters that do not fit the model, and
    /// those of [`Model::verify`].
    pub fn averaged(model: &'a dyn Model, params: &'a Params, points: &Tensor) -> Result<Self> {
        if points.elem_count() == 0 {
            return Err(LinearizeError::Empty);
        }
        ensure_finite(points, "points")?;
        model.verify(params, points)?;
        Ok(Self { model, params, points: points.clone() })
    }

    /// The mixed derivative at x = 0, as the paper takes it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn at_zero(model: &'a dyn Model, params: &'a Params) -> Result<Self> {
        let shape = [&[1], model.input_shape()].concat();
        let zero = Tensor::zeros(shape, params.dtype(), params.device())?;
        Self::averaged(model, params, &zero)
    }

    /// Number of columns d: the entries of one input.
    pub fn dim(&self) -> usize {
        self.model.input_shape().iter().product()
    }

    /// M u, in parameter space, for a direction u of d numbers. Costs about six forward passes
    /// over the points.
    ///
    /// # Errors
    /// A direction of another length or not finite, or a layer without a mixed derivative.
    pub fn apply(&self, direction: &[f64]) -> Result<Params> {
        let (n, dx) = (self.points.dim(0)?, self.directions(direction, 1)?);
        let sweep = self.model.sweep(self.params, &self.points)?;
        let sum = sweep.mixed(None, Some(&dx.broadcast_as(self.points.shape())?.contiguous()?))?;
        Ok(sum.gradient()?.scale(1.0 / n as f64)?)
    }

    /// M^T v, d numbers, for v in parameter space: the mean gradient of J(x) v with respect to x.
    /// Costs about six forward passes over the points.
    ///
    /// # Errors
    /// A tangent of other names or shapes, or a layer without a mixed derivative.
    pub fn apply_transposed(&self, tangent: &Params) -> Result<Vec<f64>> {
        let sweep = self.model.sweep(self.params, &self.points)?;
        let gradients = sweep.mixed(Some(tangent), None)?.input_gradient()?;
        let mean = gradients.to_dtype(DType::F64)?.flatten_from(1)?.mean(0)?;
        Ok(mean.to_vec1()?)
    }

    /// M^T M, d x d, row by row, symmetric: its eigenvectors are the right singular vectors of M,
    /// its eigenvalues their squared singular values.
    ///
    /// At a single point all directions are columns of one batch, and layers are contracted
    /// without forming M: for a dense layer with factors (a', d) and (a, d') entry (i, j) is
    /// `(d_i . d_j)(a'_i . a'_j) + (d_i . d'_j)(a'_i . a_j) + (d'_i . d_j)(a_i . a'_j) + (d'_i .
    /// d'_j)(a_i . a_j + 1)`. Sums are in f64. Cost: d forward and backward sweeps of tangents,
    /// then 4 d^2 times the widths of the dense layers and d^2 times the parameters of the
    /// convolutions and norms, of which d rows are kept. Tensors whose gradient is exactly zero
    /// for any input ([`Model::active_parameters`]) are left out: ResNet18 at its initial law
    /// keeps 1.6 % of its parameters. For several points the columns of M are formed: d times
    /// the sweep over the points, and d P numbers of memory.
    ///
    /// # Errors
    /// [`NoMemory`](LinearizeError::NoMemory) for more than there is of
    /// [`gram_bytes`](Self::gram_bytes), a layer without a mixed derivative, or those of the
    /// device.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "mixed_derivative_gram", skip_all))]
    pub fn gram(&self) -> Result<Vec<f64>> {
        let d = self.dim();
        let what = format!("the mixed derivative along {d} pixels");
        ensure(&what, self.gram_bytes()?, None, "use a narrower network or smaller inputs")?;
        let gram = if self.points.dim(0)? == 1 { self.structured()? } else { self.explicit()? };
        let mut gram = gram.flatten_all()?.to_vec1::<f64>()?;
        for i in 0..d {
            for j in 0..i {
                let mean = 0.5 * (gram[i * d + j] + gram[j * d + i]);
                (gram[i * d + j], gram[j * d + i]) = (mean, mean);
            }
        }
        match gram.iter().position(|x| !x.is_finite()) {
            Some(index) => {
                Err(LinearizeError::NonFinite { what: "M^T M", index, value: gram[index] })
            }
            None => Ok(gram),
        }
    }

    /// Memory that [`gram`](Self::gram) takes beside the parameters and points, in bytes: what is
    /// kept of the layers for all d directions, the largest layer once more, eight d x d squares,
    /// and four numbers for each value of a sweep. Cost: one direction's share of it.
    ///
    /// # Errors
    /// A layer without a mixed derivative, or those of the device.
    pub fn gram_bytes(&self) -> Result<u64> {
        let (d, points) = (self.dim(), self.points.dim(0)?);
        let (kept, largest) = if points == 1 {
            let layers = self.columns(0, 1, &self.model.active_parameters(self.params)?)?;
            let widths = || layers.iter().map(MovedColumns::width);
            (widths().sum(), widths().max().unwrap_or(0))
        } else {
            (self.params.count(), self.params.count())
        };
        let swept = if points == 1 { DIRECTIONS.min(d) } else { points };
        let values = (SWEPT * swept).saturating_mul(self.model.network().summary().values());
        let wide = (kept.saturating_add(largest)).saturating_mul(d);
        let wide = wide.saturating_add(d.saturating_mul(d).saturating_mul(SQUARES));
        let bytes = |numbers: usize, dtype: DType| {
            (numbers as u64).saturating_mul(dtype.size_in_bytes() as u64)
        };
        Ok(bytes(wide, DType::F64).saturating_add(bytes(values, self.params.dtype())))
    }

    /// M^T M from the factors of all directions at the one point.
    fn structured(&self) -> Result<Tensor> {
        let d = self.dim();
        let active = self.model.active_parameters(self.params)?;
        let mut layers: Vec<Vec<MovedColumns>> = Vec::new();
        for start in (0..d).step_by(DIRECTIONS) {
            let columns = self.columns(start, DIRECTIONS.min(d - start), &active)?;
            layers.resize_with(columns.len(), Vec::new);
            layers.iter_mut().zip(columns).for_each(|(layer, columns)| layer.push(columns));
        }
        let mut gram = Tensor::zeros((d, d), DType::F64, self.params.device())?;
        for layer in layers {
            gram = (gram + MovedColumns::concat(layer)?.gram()?)?;
        }
        Ok(gram)
    }

    /// What each layer with an active parameter adds to the columns `start..start + count` of M.
    fn columns(
        &self,
        start: usize,
        count: usize,
        active: &ActiveParameters,
    ) -> Result<Vec<MovedColumns>> {
        let dx = self.unit_directions(start, count)?;
        let mut layers = Vec::new();
        self.sweep_of_copies(count)?.mixed(None, Some(&dx))?.for_each_factor(&mut |factor| {
            if factor.cotangents.names().iter().any(|name| active.contains(name)) {
                layers.push(MovedColumns::of(factor)?);
            }
            Ok(())
        })?;
        Ok(layers)
    }

    /// M^T M from the columns of M.
    fn explicit(&self) -> Result<Tensor> {
        let d = self.dim();
        let columns: Vec<Tensor> = (0..d)
            .map(|j| {
                let mut unit = vec![0.0; d];
                unit[j] = 1.0;
                let column = self.apply(&unit)?;
                let parts: Vec<Tensor> = column
                    .iter()
                    .map(|(_, t)| t.flatten_all())
                    .collect::<candle_core::Result<_>>()?;
                Ok(Tensor::cat(&parts, 0)?.to_dtype(DType::F64)?)
            })
            .collect::<Result<_>>()?;
        let columns = Tensor::stack(&columns, 0)?;
        Ok(columns.matmul(&columns.t()?)?)
    }

    fn sweep_of_copies(&self, count: usize) -> Result<Sweep<'a>> {
        let shape = [&[count], self.model.input_shape()].concat();
        Ok(self.model.sweep(self.params, &self.points.broadcast_as(shape)?.contiguous()?)?)
    }

    /// The unit directions `start..start + count` as a batch.
    fn unit_directions(&self, start: usize, count: usize) -> Result<Tensor> {
        let d = self.dim();
        let mut units = vec![0.0; count * d];
        for (row, unit) in units.chunks_exact_mut(d).enumerate() {
            unit[start + row] = 1.0;
        }
        self.directions(&units, count)
    }

    /// Flat directions as a batch of inputs.
    fn directions(&self, flat: &[f64], count: usize) -> Result<Tensor> {
        let expected = count * self.dim();
        if flat.len() != expected {
            let got = flat.len();
            return Err(LinearizeError::Length { what: "direction", expected, got });
        }
        if let Some(index) = flat.iter().position(|x| !x.is_finite()) {
            return Err(LinearizeError::NonFinite { what: "direction", index, value: flat[index] });
        }
        let shape = [&[count], self.model.input_shape()].concat();
        let tensor = Tensor::from_vec(flat.to_vec(), shape, self.params.device())?;
        Ok(tensor.to_dtype(self.params.dtype())?)
    }
}

/// What one layer adds to the columns of M, one row a direction, in f64.
enum MovedColumns {
    /// d (x) a' + d' (x) a, and d' for the bias if there is one.
    Outer { moved: Option<[Tensor; 2]>, inputs: Tensor, cotangents: Tensor, bias: bool },
    /// The columns themselves.
    Rows(Tensor),
}

impl MovedColumns {
    fn of(factor: MixedFactor) -> entk_models::Result<Self> {
        let wide = |t: &Tensor| t.to_dtype(DType::F64);
        Ok(match &factor.cotangents {
            Factor::Dense { inputs, cotangents, bias, .. } if inputs.rank() == 2 => Self::Outer {
                moved: match &factor.inputs {
                    Some(Factor::Dense { inputs, cotangents, .. }) => {
                        Some([wide(inputs)?, wide(cotangents)?])
                    }
                    _ => None,
                },
                inputs: wide(inputs)?,
                cotangents: wide(cotangents)?,
                bias: bias.is_some(),
            },
            _ => Self::Rows(wide(&factor.rows()?)?),
        })
    }

    /// Numbers that are kept for a direction.
    fn width(&self) -> usize {
        let of = |x: &Tensor| x.dims().last().copied().unwrap_or(0);
        match self {
            Self::Rows(rows) => of(rows),
            Self::Outer { moved, inputs, cotangents, .. } => {
                (of(inputs) + of(cotangents)) * if moved.is_some() { 2 } else { 1 }
            }
        }
    }

    /// Joins one layer's columns for consecutive directions.
    fn concat(parts: Vec<Self>) -> Result<Self> {
        let mut rows = Vec::new();
        let (mut moved, mut fixed, mut with_bias) = (Vec::new(), Vec::new(), false);
        for part in parts {
            match part {
                Self::Rows(r) => rows.push(r),
                Self::Outer { moved: m, inputs, cotangents, bias } => {
                    moved.extend(m);
                    fixed.push([inputs, cotangents]);
                    with_bias = bias;
                }
            }
        }
        if fixed.is_empty() {
            return Ok(Self::Rows(Tensor::cat(&rows, 0)?));
        }
        let cat = |pairs: &[[Tensor; 2]], which: usize| {
            Tensor::cat(&pairs.iter().map(|pair| &pair[which]).collect::<Vec<_>>(), 0)
        };
        let moved = match moved.as_slice() {
            [] => None,
            moved => Some([cat(moved, 0)?, cat(moved, 1)?]),
        };
        let (inputs, cotangents) = (cat(&fixed, 0)?, cat(&fixed, 1)?);
        Ok(Self::Outer { moved, inputs, cotangents, bias: with_bias })
    }

    /// The inner products of all directions.
    fn gram(&self) -> Result<Tensor> {
        let inner = |a: &Tensor, b: &Tensor| a.matmul(&b.t()?);
        match self {
            Self::Rows(rows) => Ok(inner(rows, rows)?),
            Self::Outer { moved, inputs, cotangents, bias } => {
                let bias = f64::from(u8::from(*bias));
                let own = inner(inputs, inputs)?.affine(1.0, bias)?;
                let mut gram = (own * inner(cotangents, cotangents)?)?;
                if let Some([a, d]) = moved {
                    let cross = (inner(a, inputs)? * inner(d, cotangents)?)?;
                    gram = ((gram + &cross)? + cross.t()?)?;
                    gram = (gram + (inner(a, a)? * inner(d, d)?)?)?;
                }
                Ok(gram)
            }
        }
    }
}
