//! The rule of a step with its decay, as the settings choose them.

use entk_models::Params;

use crate::{
    config::{Optimizer, SgdConfig, WeightDecay},
    error::Result,
    optim::{
        adam::{Adam, Moments},
        sgd::Sgd,
    },
};

pub(crate) mod adam;
pub(crate) mod schedule;
pub(crate) mod sgd;

/// A rule under way.
#[derive(Debug, Clone)]
pub(crate) struct OptimizerState {
    decay: WeightDecay,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Sgd(Sgd),
    Adam(Adam),
}

impl OptimizerState {
    pub(crate) fn new(config: &SgdConfig) -> Result<Self> {
        let rule = match config.optimizer {
            Optimizer::HeavyBall => Rule::Sgd(Sgd::new(config.momentum)?),
            Optimizer::Nesterov => Rule::Sgd(Sgd::new(config.momentum)?.nesterov()),
            Optimizer::Adam(config) => Rule::Adam(Adam::new(config)?),
        };
        Ok(Self { decay: config.decay, rule })
    }

    /// The parameters after a step along the gradient of the loss, in a run that began at `start`.
    pub(crate) fn step(
        &mut self,
        start: &Params,
        params: &Params,
        gradient: Params,
        rate: f64,
    ) -> Result<Params> {
        let gradient = match self.decay {
            WeightDecay::Weights(w) => gradient.add_scaled(w, params)?,
            WeightDecay::FromStart(w) => gradient.add_scaled(w, params)?.add_scaled(-w, start)?,
            WeightDecay::None | WeightDecay::Decoupled(_) => gradient,
        };
        let next = match &mut self.rule {
            Rule::Sgd(sgd) => sgd.step(params, &gradient, rate)?,
            Rule::Adam(adam) => adam.step(params, &gradient, rate)?,
        };
        Ok(match self.decay {
            WeightDecay::Decoupled(w) => next.add_scaled(-rate * w, params)?,
            _ => next,
        })
    }

    /// What the state of the rule is called.
    pub(crate) fn purposes(&self) -> &'static [&'static str] {
        match self.rule {
            Rule::Sgd(_) => &["velocity"],
            Rule::Adam(_) => &["first-moment", "second-moment"],
        }
    }

    /// The state of the rule, by [`purposes`](Self::purposes); empty at rest.
    pub(crate) fn moments(&self) -> Vec<(&'static str, &Params)> {
        let moments = match &self.rule {
            Rule::Sgd(sgd) => sgd.velocity.iter().collect(),
            Rule::Adam(adam) => match &adam.moments {
                Some(moments) => vec![&moments.first, &moments.second],
                None => vec![],
            },
        };
        self.purposes().iter().copied().zip(moments).collect()
    }

    /// Steps that the rule has counted; 0 where it counts none.
    pub(crate) fn steps(&self) -> u32 {
        match &self.rule {
            Rule::Sgd(_) => 0,
            Rule::Adam(adam) => adam.steps,
        }
    }

    /// Takes the state of another rule of the same kind.
    pub(crate) fn restore(&mut self, moments: Vec<Params>, steps: u32) {
        let mut moments = moments.into_iter();
        match &mut self.rule {
            Rule::Sgd(sgd) => sgd.velocity = moments.next(),
            Rule::Adam(adam) => {
                let pair = moments.next().zip(moments.next());
                adam.moments = pair.map(|(first, second)| Moments { first, second });
                adam.steps = steps;
            }
        }
    }
}
