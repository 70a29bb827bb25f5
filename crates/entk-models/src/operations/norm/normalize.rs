//! Normalisation of each example by its own moments: layer norm, RMS norm, group norm, instance
//! norm, and the normalisation of a weight. x, and maybe a weight and a bias, go in.

use candle_core::{DType, Tensor};

use crate::{
    error::{ModelError, Result},
    loops::{
        axis::strided::contiguous,
        entrywise::add,
        norm::{
            group_derivatives::{WeightPlace, group_gradients, project, projection_tangent},
            groups::{Groups, normalize_groups},
        },
    },
    operation::{MixedCotangents, NormMode, Operation, add_tangents, pairs},
    operations::examples::{examples_of, for_all, one_of_equal},
};

/// Added to variances unless another number is chosen, as in PyTorch.
const EPSILON: f64 = 1e-5;

/// What is normalised at once.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Over {
    LastAxes(usize),
    Groups(usize),
    EachChannel,
    EachRow,
}

/// Normalisation of each example by its own moments: `y = x_hat weight + bias` with
/// `x_hat = (x - mean) / sqrt(variance + eps)`, the variance biased. Inputs are x, and if there are
/// any, a weight, and a bias beside it.
///
/// Examples do not interact. A weight that is exactly zero blocks gradients. Cost: forward and
/// backward one pass over memory each, and one for the gradients of weight and bias.
///
/// ```
/// # use candle_core::{Device, Tensor};
/// # use entk_models::{NormMode, Normalize, Operation};
/// let x = Tensor::new(&[[1f64, 2.0, 3.0, 6.0]], &Device::Cpu)?;
/// let (y, _) = Normalize::layer(1).with_eps(0.0).forward(&[&x], NormMode::Frozen)?;
/// let expected = [-2.0, -1.0, 0.0, 3.0].map(|x: f64| x / 3.5f64.sqrt());
/// let error = (y - Tensor::new(&[expected], &Device::Cpu)?)?.abs()?.max_all()?;
/// assert!(error.to_scalar::<f64>()? < 1e-15);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalize {
    over: Over,
    centred: bool,
    /// The unit round-off of the element type, if there is none.
    eps: Option<f64>,
}

impl Normalize {
    /// Layer norm over the last axes, so many of them; weight and bias have their shape. eps is
    /// 1e-5.
    pub fn layer(axes: usize) -> Self {
        Self { over: Over::LastAxes(axes), centred: true, eps: Some(EPSILON) }
    }

    /// RMS norm over the last axis: the mean counts as zero. Weight and bias have its length. eps
    /// is the distance from 1 to the next number of the element type, as in PyTorch.
    pub fn rms() -> Self {
        Self { over: Over::LastAxes(1), centred: false, eps: None }
    }

    /// Group norm of x (C, ...): so many groups of neighbouring channels, each with all its pixels.
    /// Weight and bias are (C). eps is 1e-5.
    pub fn groups(groups: usize) -> Self {
        Self { over: Over::Groups(groups), centred: true, eps: Some(EPSILON) }
    }

    /// Instance norm of x (C, ...): each channel by itself. Weight and bias are (C). eps is 1e-5.
    pub fn instance() -> Self {
        Self { over: Over::EachChannel, centred: true, eps: Some(EPSILON) }
    }

    /// Weight norm, `w = g v / ||v||` with norms over all axes but the first: x is v (out, ...),
    /// the weight is g, (out) or (out, 1, ...). No eps and no bias, as in PyTorch.
    pub fn weight() -> Self {
        Self { over: Over::EachRow, centred: false, eps: Some(0.0) }
    }

    /// Adds another number to variances.
    #[must_use]
    pub fn with_eps(self, eps: f64) -> Self {
        Self { eps: Some(eps), ..self }
    }

    /// How an example of this shape falls into runs.
    fn groups_of(&self, x: &[usize], eps: f64) -> Result<Groups> {
        let count = |axes: &[usize]| axes.iter().product::<usize>();
        let (channels, pixels) = match x {
            [channels, pixels @ ..] => (*channels, count(pixels)),
            [] => (1, 1),
        };
        let [repeats, groups, channels, pixels] = match self.over {
            Over::LastAxes(axes) if (1..=x.len()).contains(&axes) => {
                let (outer, last) = x.split_at(x.len() - axes);
                [count(outer), 1, count(last), 1]
            }
            Over::Groups(groups) if groups > 0 && !x.is_empty() && channels % groups == 0 => {
                [1, groups, channels / groups, pixels]
            }
            Over::EachChannel | Over::EachRow if !x.is_empty() => [1, channels, 1, pixels],
            _ => return Err(ModelError::shape(format!("{self:?}"), self.expected(), x)),
        };
        if repeats * groups * channels * pixels == 0 {
            return Err(ModelError::zero(format!("{self:?}: axes {x:?}")));
        }
        Ok(Groups { repeats, groups, channels, pixels, centred: self.centred, eps })
    }

    fn expected(&self) -> String {
        match self.over {
            Over::LastAxes(axes) => format!("at least {axes} axes, and one"),
            Over::Groups(groups) => format!("(N, C, ...), C a multiple of {groups}"),
            Over::EachChannel | Over::EachRow => "(N, C, ...)".to_owned(),
        }
    }

    /// Refuses a weight or bias that does not belong to an x of this shape.
    fn ensure_weight(&self, x: &[usize], weight: &[usize]) -> Result<()> {
        let (expected, ones) = match self.over {
            Over::LastAxes(axes) => (&x[x.len() - axes..], 0),
            Over::EachRow => (&x[..1], weight.iter().skip(1).filter(|axis| **axis == 1).count()),
            Over::Groups(_) | Over::EachChannel => (&x[..1], 0),
        };
        if weight[..weight.len() - ones] == *expected {
            return Ok(());
        }
        let what = format!("{self:?}: weight or bias");
        Err(ModelError::shape(what, format!("{expected:?}"), weight))
    }

    /// What weights count: with runs of root mean square 1, those of norm 1 are shorter.
    fn gain(&self, groups: Groups) -> f64 {
        if self.over == Over::EachRow { (groups.run() as f64).sqrt().recip() } else { 1.0 }
    }
}

/// What derivatives of a [`Normalize`] need.
#[derive(Debug)]
pub struct NormalizeCache {
    groups: Groups,
    gain: f64,
    examples: usize,
    x: Tensor,
    /// As it multiplies, with its gain.
    weight: Option<Tensor>,
    /// Shapes of the inputs behind the first, for one example.
    shapes: Vec<Vec<usize>>,
}

impl NormalizeCache {
    /// Weights or their tangent as they multiply.
    fn scaled(&self, weight: &Tensor) -> Result<Tensor> {
        if self.gain == 1.0 {
            return Ok(weight.clone());
        }
        Ok((weight * self.gain)?)
    }

    /// A cotangent of the weights, from that of what multiplies.
    fn of_weights(&self, place: usize, rows: Tensor) -> Result<Tensor> {
        let shape = [&[rows.dim(0)?], self.shapes[place - 1].as_slice()].concat();
        let rows = rows.reshape(shape)?;
        if place == 1 { self.scaled(&rows) } else { Ok(rows) }
    }

    /// `P (weight u)`, for a weight that may be left out.
    fn cotangent(&self, u: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let weight = weight.map(|weight| (WeightPlace::Before, weight));
        project(self.groups, u, &self.x, weight)
    }

    /// How the cotangent of x moves.
    fn moved_cotangent(
        &self,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
    ) -> Result<Tensor> {
        let mut moved = self.cotangent(ddy, self.weight.as_ref())?;
        if let Some(weight) = tangents.get(1).copied().flatten() {
            moved = add(&moved, &self.cotangent(dy, Some(&self.scaled(weight)?))?)?;
        }
        if let Some(dx) = tangents[0] {
            let u = match &self.weight {
                Some(weight) => self.groups.scale_channels(dy, weight)?,
                None => dy.clone(),
            };
            moved = add(&moved, &projection_tangent(self.groups, &u, dx, &self.x)?)?;
        }
        Ok(moved)
    }
}

fn unit_round_off(dtype: DType) -> f64 {
    if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) }
}

impl Operation for Normalize {
    type Cache = NormalizeCache;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [x, weights @ ..] = inputs else { return Err(ModelError::arity(self, 0)) };
        let fits = if self.over == Over::EachRow { weights.len() == 1 } else { weights.len() < 3 };
        if !fits {
            return Err(ModelError::arity(self, inputs.len()));
        }
        self.groups_of(x, 0.0)?;
        weights.iter().try_for_each(|weight| self.ensure_weight(x, weight))?;
        Ok(x.to_vec())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, NormalizeCache)> {
        let x = contiguous(&one_of_equal(inputs[0])?)?;
        let eps = self.eps.unwrap_or_else(|| unit_round_off(x.dtype()));
        let groups = self.groups_of(&x.dims()[1..], eps)?;
        let mut cache = NormalizeCache {
            groups,
            gain: self.gain(groups),
            examples: examples_of(inputs),
            x,
            weight: None,
            shapes: inputs[1..].iter().map(|input| input.dims()[1..].to_vec()).collect(),
        };
        let weights = inputs[1..].iter().map(|input| one_of_equal(input));
        let weights = weights.collect::<Result<Vec<_>>>()?;
        cache.weight = weights.first().map(|weight| cache.scaled(weight)).transpose()?;
        let y = normalize_groups(groups, &cache.x, cache.weight.as_ref(), weights.get(1))?;
        Ok((for_all(&y, cache.examples)?, cache))
    }

    fn jvp(&self, cache: &NormalizeCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let (groups, x) = (cache.groups, &cache.x);
        let weight = cache.weight.as_ref().map(|weight| (WeightPlace::After, weight));
        let through = tangents[0].map(|dx| project(groups, dx, x, weight)).transpose()?;
        let of = |place: usize| tangents.get(place).copied().flatten();
        let moved = match (of(1).map(|weight| cache.scaled(weight)).transpose()?, of(2)) {
            (Some(weight), bias) => Some(normalize_groups(groups, x, Some(&weight), bias)?),
            (None, Some(bias)) => {
                Some(normalize_groups(groups, x, Some(&bias.zeros_like()?), Some(bias))?)
            }
            (None, None) => None,
        };
        let full = |t: Option<Tensor>| t.map(|t| for_all(&t, cache.examples)).transpose();
        let sum = add_tangents(full(through)?, full(moved)?)?;
        sum.ok_or(ModelError::Cache { what: "tangent" })
    }

    fn vjp(
        &self,
        cache: &NormalizeCache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let mut cotangents = vec![None; wanted.len()];
        if wanted[0] {
            cotangents[0] = Some(cache.cotangent(dy, cache.weight.as_ref())?);
        }
        if wanted[1..].contains(&true) {
            let rows = group_gradients(cache.groups, dy, &cache.x)?;
            for place in (1..wanted.len()).filter(|place| wanted[*place]) {
                cotangents[place] = Some(cache.of_weights(place, rows.get(place - 1)?)?);
            }
        }
        Ok(cotangents)
    }

    /// With d the cotangent of y and d' its tangent: that of x is `P (weight d)`, where P moves
    /// with x; the rows of the weight, `sum d x_hat`, move by `sum (d' x_hat + d P x')`.
    fn mixed_vjp(
        &self,
        cache: &NormalizeCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let fixed = self.vjp(cache, dy, wanted)?;
        let mut moved = self.vjp(cache, ddy, wanted)?;
        if wanted[0] {
            moved[0] = Some(cache.moved_cotangent(tangents, dy, ddy)?);
        }
        if let (Some(rows), Some(dx)) = (moved.get_mut(1).and_then(Option::as_mut), tangents[0]) {
            let hat = project(cache.groups, dx, &cache.x, None)?;
            let more = cache.groups.channel_products(dy, &hat)?;
            *rows = add(rows, &cache.of_weights(1, more)?)?;
        }
        Ok(pairs(fixed, moved))
    }

    fn takes_shared(&self, _: usize) -> bool {
        true
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        (0..zero.len()).map(|input| input == 0 && zero.get(1) == Some(&true)).collect()
    }
}
