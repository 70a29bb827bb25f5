//! Two paths that are added, with an activation of the sum: the block of a ResNet.

use candle_core::Tensor;
use entk_device::Activation;

use crate::{
    cache::Cache,
    error::{ModelError, Result},
    layer::{FactorSink, Layer, NormMode, add_tangents},
    layers::sequential::Sequential,
    loops::entrywise::{activated_sum, add, mixed_product, sum_derivative_product},
    mixed::{MixedPoint, MixedSink},
    params::{Params, spec::ParamSpec},
};

/// Two paths from one input, added: `y = act(shortcut(x) + branch(x))`.
///
/// Shortcut and activation are the identity unless given. Parameters are those of the branch, then
/// those of the shortcut.
///
/// ```
/// # use entk_models::{Activation, BatchNorm2d, Conv2d, Residual, Sequential};
/// let branch = Sequential::new()
///     .then(Conv2d::new("conv1", 8, 8, 3).without_bias())
///     .then(BatchNorm2d::new("bn1", 8).with_activation(Activation::Relu))
///     .then(Conv2d::new("conv2", 8, 8, 3).without_bias())
///     .then(BatchNorm2d::new("bn2", 8).with_zero_scale());
/// let block = Residual::new(branch).with_activation(Activation::Relu);
/// ```
#[derive(Debug, Clone)]
pub struct Residual {
    branch: Sequential,
    shortcut: Sequential,
    activation: Option<Activation>,
}

/// Places of the two paths among the caches inside.
const BRANCH: usize = 0;
const SHORTCUT: usize = 1;

impl Residual {
    /// `x + branch(x)`.
    pub fn new(branch: Sequential) -> Self {
        Self { branch, shortcut: Sequential::new(), activation: None }
    }

    /// Puts a path in place of the identity.
    #[must_use]
    pub fn with_shortcut(self, shortcut: Sequential) -> Self {
        Self { shortcut, ..self }
    }

    /// Sets the activation of the sum.
    #[must_use]
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }

    /// `act'(shortcut(x) + branch(x)) d`.
    fn through_activation(&self, cache: &Cache, d: &Tensor) -> Result<Tensor> {
        let Some(act) = self.activation else { return Ok(d.clone()) };
        let [a, b] = summands(cache)?;
        sum_derivative_product(act, a, b, d)
    }
}

/// The outputs of the two paths, which are kept where there is an activation.
fn summands(cache: &Cache) -> Result<&[Tensor; 2]> {
    cache.tensors.as_slice().try_into().map_err(|_| ModelError::Cache { what: "two summands" })
}

impl Layer for Residual {
    fn specs(&self) -> Vec<ParamSpec> {
        [self.branch.specs(), self.shortcut.specs()].concat()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let (branch, shortcut) =
            (self.branch.output_shape(input)?, self.shortcut.output_shape(input)?);
        if branch != shortcut {
            let expected = format!("(N, {shortcut:?}), as the shortcut gives");
            return Err(ModelError::shape("residual branch", expected, &branch));
        }
        Ok(branch)
    }

    fn operations(&self, input: &[usize]) -> Result<f64> {
        Ok(self.branch.operations(input)? + self.shortcut.operations(input)?)
    }

    fn forward(&self, params: &Params, x: &Tensor, mode: NormMode) -> Result<(Tensor, Cache)> {
        let (a, shortcut) = self.shortcut.forward(params, x, mode)?;
        let (b, branch) = self.branch.forward(params, x, mode)?;
        let y = activated_sum(self.activation, &a, &b)?;
        let cache = match self.activation {
            Some(_) => Cache::of([a, b]),
            None => Cache::default(),
        };
        let stops = branch.stops && shortcut.stops;
        Ok((y, Cache { children: vec![branch, shortcut], stops, ..cache }))
    }

    fn value(&self, params: &Params, x: &Tensor, mode: NormMode) -> Result<Tensor> {
        let shortcut = self.shortcut.value(params, x, mode)?;
        activated_sum(self.activation, &shortcut, &self.branch.value(params, x, mode)?)
    }

    fn jvp(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        let branch = self.branch.jvp(params, tangent, cache.child(BRANCH)?, dx)?;
        let shortcut = self.shortcut.jvp(params, tangent, cache.child(SHORTCUT)?, dx)?;
        let sum = add_tangents(shortcut, branch)?;
        sum.map(|dz| self.through_activation(cache, &dz)).transpose()
    }

    fn vjp(
        &self,
        params: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        sink: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        let dz = self.through_activation(cache, dy)?;
        let shortcut = self.shortcut.vjp(params, cache.child(SHORTCUT)?, &dz, needs_dx, sink)?;
        let branch = self.branch.vjp(params, cache.child(BRANCH)?, &dz, needs_dx, sink)?;
        add_tangents(shortcut, branch)
    }

    /// Keeps the tangent of the sum, if it is not zero, and those inside.
    fn tangents(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<(Option<Tensor>, Cache)> {
        let (b, branch) = self.branch.tangents(params, tangent, cache.child(BRANCH)?, dx)?;
        let (a, shortcut) = self.shortcut.tangents(params, tangent, cache.child(SHORTCUT)?, dx)?;
        let dz = add_tangents(a, b)?;
        let dy = dz.as_ref().map(|dz| self.through_activation(cache, dz)).transpose()?;
        Ok((dy, Cache { children: vec![branch, shortcut], ..Cache::of(dz) }))
    }

    fn mixed_vjp(
        &self,
        at: &MixedPoint<'_>,
        dy: &Tensor,
        ddy: &Tensor,
        needs_dx: bool,
        sink: &mut MixedSink<'_>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        let (dz, ddz) = match self.activation {
            None => (dy.clone(), ddy.clone()),
            Some(act) => {
                let [a, b] = summands(at.cache)?;
                mixed_product(act, &add(a, b)?, at.moved.tensors.first(), dy, ddy)?
            }
        };
        let shortcut = self.shortcut.mixed_vjp(&at.child(SHORTCUT)?, &dz, &ddz, needs_dx, sink)?;
        let branch = self.branch.mixed_vjp(&at.child(BRANCH)?, &dz, &ddz, needs_dx, sink)?;
        match (shortcut, branch) {
            (Some((a, da)), Some((b, db))) => Ok(Some((add(&a, &b)?, add(&da, &db)?))),
            _ => Ok(None),
        }
    }

    fn new_statistics(&self, params: &Params, cache: &Cache) -> Result<Vec<(String, Tensor)>> {
        let mut all = self.branch.new_statistics(params, cache.child(BRANCH)?)?;
        all.extend(self.shortcut.new_statistics(params, cache.child(SHORTCUT)?)?);
        Ok(all)
    }

    fn stops(&self, params: &Params) -> Result<bool> {
        Ok(self.branch.stops(params)? && self.shortcut.stops(params)?)
    }

    fn active(&self, params: &Params) -> Result<Vec<String>> {
        Ok([self.branch.active(params)?, self.shortcut.active(params)?].concat())
    }
}
