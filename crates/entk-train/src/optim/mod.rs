//! From the parameters and the gradient of a minibatch to the next parameters, by the rule and the
//! decay of the settings.
//!
//! A [`Trainer`](crate::Trainer) takes each of its steps here; checkpoints keep the state of the
//! rule.

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

/// The chosen rule and decay, with what the rule keeps from step to step.
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

    /// Names of the tensors that the rule keeps, as checkpoints write them.
    pub(crate) fn purposes(&self) -> &'static [&'static str] {
        match self.rule {
            Rule::Sgd(_) => &["velocity"],
            Rule::Adam(_) => &["first-moment", "second-moment"],
        }
    }

    /// The tensors that the rule keeps, each with its name; none before the first step.
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

    /// Puts tensors and a count of steps, as a checkpoint has them, in place of the rule's own.
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
