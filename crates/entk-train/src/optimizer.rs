//! The rule of a step with its decay, as the settings choose them.

use entk_models::Params;

use crate::{
    adam::Adam,
    axpy::add_scaled,
    config::{Decay, SgdConfig, Update},
    error::Result,
    sgd::Sgd,
};

/// A rule under way.
#[derive(Debug, Clone)]
pub(crate) struct Optimizer {
    decay: Decay,
    pub(crate) rule: Rule,
}

#[derive(Debug, Clone)]
pub(crate) enum Rule {
    Sgd(Sgd),
    Adam(Adam),
}

impl Optimizer {
    pub(crate) fn new(config: &SgdConfig) -> Result<Self> {
        let rule = match config.update {
            Update::HeavyBall => Rule::Sgd(Sgd::new(config.momentum)?),
            Update::Nesterov => Rule::Sgd(Sgd::new(config.momentum)?.nesterov()),
            Update::Adam(config) => Rule::Adam(Adam::new(config)?),
        };
        Ok(Self { decay: config.decay, rule })
    }

    /// The parameters after a step along the gradient of the loss, in a run that began at `start`.
    pub(crate) fn step(
        &mut self,
        start: &Params,
        theta: &Params,
        gradient: Params,
        rate: f64,
    ) -> Result<Params> {
        let gradient = match self.decay {
            Decay::Weights(w) => add_scaled(&gradient, w, theta)?,
            Decay::FromStart(w) => add_scaled(&add_scaled(&gradient, w, theta)?, -w, start)?,
            Decay::None | Decay::Decoupled(_) => gradient,
        };
        let next = match &mut self.rule {
            Rule::Sgd(sgd) => sgd.step(theta, &gradient, rate)?,
            Rule::Adam(adam) => adam.step(theta, &gradient, rate)?,
        };
        Ok(match self.decay {
            Decay::Decoupled(w) => add_scaled(&next, -rate * w, theta)?,
            _ => next,
        })
    }
}
