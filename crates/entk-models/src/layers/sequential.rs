//! Layers one after another: what every network holds, and each path of a residual block.

use std::sync::Arc;

use candle_core::Tensor;

use crate::{
    cache::Cache,
    error::Result,
    layer::{FactorSink, Layer, NormMode},
    mixed::{MixedPoint, MixedSink},
    params::{Params, spec::ParamSpec},
};

/// Layers one after another.
#[derive(Debug, Clone, Default)]
pub struct Sequential {
    layers: Vec<Arc<dyn Layer>>,
}

impl Sequential {
    /// The identity.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a layer.
    #[must_use]
    pub fn then(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }
}

impl Layer for Sequential {
    fn specs(&self) -> Vec<ParamSpec> {
        self.layers.iter().flat_map(|layer| layer.specs()).collect()
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.layers.iter().try_fold(input.to_vec(), |shape, layer| layer.output_shape(&shape))
    }

    fn operations(&self, input: &[usize]) -> Result<f64> {
        let (mut shape, mut sum) = (input.to_vec(), 0.0);
        for layer in &self.layers {
            sum += layer.operations(&shape)?;
            shape = layer.output_shape(&shape)?;
        }
        Ok(sum)
    }

    fn forward(&self, params: &Params, x: &Tensor, mode: NormMode) -> Result<(Tensor, Cache)> {
        let mut value = x.clone();
        let mut cache = Cache::default();
        for layer in &self.layers {
            let (y, child) = layer.forward(params, &value, mode)?;
            cache.stops |= child.stops;
            cache.children.push(child);
            value = y;
        }
        Ok((value, cache))
    }

    fn value(&self, params: &Params, x: &Tensor, mode: NormMode) -> Result<Tensor> {
        self.layers.iter().try_fold(x.clone(), |x, layer| layer.value(params, &x, mode))
    }

    fn jvp(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        // No tangent passes a layer that stops: begin at the last of them.
        let first = cache.children.iter().rposition(|child| child.stops);
        let mut moving = dx.filter(|_| first.is_none()).cloned();
        for (layer, cache) in self.layers.iter().zip(&cache.children).skip(first.unwrap_or(0)) {
            moving = layer.jvp(params, tangent, cache, moving.as_ref())?;
        }
        Ok(moving)
    }

    fn vjp(
        &self,
        params: &Params,
        cache: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        sink: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        // Below the first layer with parameters nobody asks for a cotangent.
        let lowest = self.layers.iter().position(|layer| !layer.specs().is_empty());
        let lowest = if needs_dx { 0 } else { lowest.unwrap_or(self.layers.len()) };
        let mut cotangent = Some(dy.clone());
        for (at, (layer, cache)) in self.layers.iter().zip(&cache.children).enumerate().rev() {
            let Some(dy) = cotangent.filter(|_| at >= lowest) else { return Ok(None) };
            cotangent = layer.vjp(params, cache, &dy, needs_dx || at > lowest, sink)?;
        }
        Ok(cotangent)
    }

    fn tangents(
        &self,
        params: &Params,
        tangent: &Params,
        cache: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<(Option<Tensor>, Cache)> {
        let (mut moving, mut kept) = (dx.cloned(), Cache::of(dx.cloned()));
        for (layer, cache) in self.layers.iter().zip(&cache.children) {
            let (next, child) = layer.tangents(params, tangent, cache, moving.as_ref())?;
            kept.children.push(child);
            moving = next;
        }
        Ok((moving, kept))
    }

    fn mixed_vjp(
        &self,
        at: &MixedPoint<'_>,
        dy: &Tensor,
        ddy: &Tensor,
        needs_dx: bool,
        sink: &mut MixedSink<'_>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        let lowest = self.layers.iter().position(|layer| !layer.specs().is_empty());
        let lowest = if needs_dx { 0 } else { lowest.unwrap_or(self.layers.len()) };
        let mut cotangents = Some((dy.clone(), ddy.clone()));
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let Some((dy, ddy)) = cotangents.filter(|_| index >= lowest) else { return Ok(None) };
            let at = at.child(index)?;
            cotangents = layer.mixed_vjp(&at, &dy, &ddy, needs_dx || index > lowest, sink)?;
        }
        Ok(cotangents)
    }

    fn new_statistics(&self, params: &Params, cache: &Cache) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for (layer, cache) in self.layers.iter().zip(&cache.children) {
            all.extend(layer.new_statistics(params, cache)?);
        }
        Ok(all)
    }

    fn stops(&self, params: &Params) -> Result<bool> {
        for layer in &self.layers {
            if layer.stops(params)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn active(&self, params: &Params) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for layer in self.layers.iter().rev() {
            names.splice(0..0, layer.active(params)?);
            if layer.stops(params)? {
                break;
            }
        }
        Ok(names)
    }
}
