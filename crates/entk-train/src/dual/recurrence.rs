//! A step of SGD, and a whole epoch of them, as a linear map on pairs (velocity, displacement).
//!
//! From the settings and a learning rate come the coefficients of the map; a dual run applies it to
//! logits at every step, and to coefficients once an epoch.

use crate::{
    config::{Optimizer, SgdConfig, WeightDecay},
    error::{Result, TrainError},
};

/// One step on a pair (velocity, displacement), driven by a gradient g:
/// `velocity <- keep[0][0] velocity + keep[0][1] displacement + kick[0] g`, and `displacement`
/// likewise.
///
/// Every pair of the run obeys it at once: (momentum, theta - theta_0) in weight space, and for
/// each example (K b, K a) and (b, a) in coefficient space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StepMap {
    keep: [[f64; 2]; 2],
    kick: [f64; 2],
}

impl StepMap {
    /// The step that the settings ask for, with learning rate `rate`: heavy ball, `velocity <-
    /// momentum velocity + h`, `displacement <- displacement - rate velocity` with `h = g + decay
    /// displacement`; Nesterov moves by `-rate (h + momentum velocity)` instead.
    pub(crate) fn of(config: &SgdConfig, rate: f64) -> Result<Self> {
        let decay = match config.decay {
            WeightDecay::None => 0.0,
            WeightDecay::FromStart(weight) => weight,
            _ => return Err(TrainError::NotDual { what: "a decay other than from the start" }),
        };
        let momentum = config.momentum;
        // The displacement moves by -rate (fresh h + old velocity), with the velocity before the
        // step.
        let (fresh, old) = match config.optimizer {
            Optimizer::HeavyBall => (1.0, momentum),
            Optimizer::Nesterov => (1.0 + momentum, momentum * momentum),
            Optimizer::Adam(_) => return Err(TrainError::NotDual { what: "Adam" }),
        };
        let keep = [[momentum, decay], [-rate * old, 1.0 - rate * fresh * decay]];
        Ok(Self { keep, kick: [1.0, -rate * fresh] })
    }

    /// What another part of the gradient adds to a step that was taken on the first.
    pub(crate) fn kick_alone(self) -> Self {
        Self { keep: [[1.0, 0.0], [0.0, 1.0]], ..self }
    }

    /// The step on many pairs.
    #[inline(always)]
    pub(crate) fn apply(&self, velocity: &mut [f64], displacement: &mut [f64], gradient: &[f64]) {
        let [[vv, vm], [mv, mm]] = self.keep;
        let [kv, km] = self.kick;
        for ((v, m), g) in velocity.iter_mut().zip(displacement).zip(gradient) {
            (*v, *m) = (vv * *v + vm * *m + kv * g, mv * *v + mm * *m + km * g);
        }
    }
}

/// All steps of an epoch at once, for a pair that is driven in at most one of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EpochMap {
    /// The map of a pair that no gradient drives.
    keep: [[f64; 2]; 2],
    /// For each step, the pair at the end of the epoch if a unit gradient there drives a zero
    /// pair.
    kicks: Vec<[f64; 2]>,
}

impl EpochMap {
    pub(crate) fn new(steps: &[StepMap]) -> Self {
        let mut rest = [[1.0, 0.0], [0.0, 1.0]];
        let mut kicks = vec![[0.0; 2]; steps.len()];
        for (step, kick) in steps.iter().zip(&mut kicks).rev() {
            *kick = [0, 1].map(|i| rest[i][0] * step.kick[0] + rest[i][1] * step.kick[1]);
            rest = [0, 1].map(|i| {
                [0, 1].map(|j| rest[i][0] * step.keep[0][j] + rest[i][1] * step.keep[1][j])
            });
        }
        Self { keep: rest, kicks }
    }

    /// The epoch on the pairs of all examples, of which number i was driven by `gradient[i]` in
    /// step `steps[i]`, from 0; in none if there is no such step.
    pub(crate) fn apply(
        &self,
        velocity: &mut [f64],
        displacement: &mut [f64],
        gradient: &[f64],
        steps: &[usize],
    ) {
        let [[vv, vm], [mv, mm]] = self.keep;
        for (((v, m), g), &step) in velocity.iter_mut().zip(displacement).zip(gradient).zip(steps) {
            let kick = self.kicks.get(step).map_or([0.0; 2], |kick| kick.map(|k| k * g));
            (*v, *m) = (vv * *v + vm * *m + kick[0], mv * *v + mm * *m + kick[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_may_be_taken_in_parts() {
        let config = SgdConfig { decay: WeightDecay::FromStart(0.2), ..SgdConfig::default() };
        let step = StepMap::of(&config, 0.3).expect("linear");
        let (mut v, mut m) = ([0.75], [-0.5]);
        step.apply(&mut v, &mut m, &[1.5]);
        step.kick_alone().apply(&mut v, &mut m, &[0.25]);
        let (mut w, mut u) = ([0.75], [-0.5]);
        step.apply(&mut w, &mut u, &[1.75]);
        let error = (v[0] - w[0]).abs() + (m[0] - u[0]).abs();
        assert!(error <= 8.0 * f64::EPSILON, "{error}");
    }

    #[test]
    fn an_epoch_is_its_steps_one_after_the_other() {
        let config = SgdConfig {
            optimizer: Optimizer::Nesterov,
            decay: WeightDecay::FromStart(0.2),
            ..SgdConfig::default()
        };
        let steps = [0.3, 0.2, 0.15].map(|rate| StepMap::of(&config, rate).expect("linear"));
        for driven in 0..4 {
            let (mut v, mut m) = ([0.7], [-0.4]);
            for (at, step) in steps.iter().enumerate() {
                step.apply(&mut v, &mut m, &[if at == driven { 1.5 } else { 0.0 }]);
            }
            let (mut w, mut u) = ([0.7], [-0.4]);
            EpochMap::new(&steps).apply(&mut w, &mut u, &[1.5], &[driven]);
            // A dozen roundings of numbers below 2.
            let error = (v[0] - w[0]).abs() + (m[0] - u[0]).abs();
            assert!(error <= 24.0 * f64::EPSILON, "{error}");
        }
    }
}
