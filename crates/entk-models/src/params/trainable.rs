//! Which parameters are trained: patterns of names go in, specifications with other kinds come out.
//! Called by networks.

use crate::{
    error::{ModelError, Result},
    params::spec::{ParamKind, ParamSpec},
};

/// Which parameters are trained, by patterns of their names in which `*` stands for any part of a
/// name. The others keep their values: they are no part of theta, have no gradient and no share in
/// a kernel. The default is what was trained before.
///
/// ```
/// # use entk_models::{LeNet5Config, Model, Trainable};
/// let network = LeNet5Config::default().network()?;
/// let head = network.with_trainable(&Trainable::only(["fc3.*"]))?;
/// assert_eq!(head.init(0, candle_core::DType::F32, &candle_core::Device::Cpu)?.count(), 85);
/// # Ok::<(), entk_models::ModelError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trainable {
    only: Option<Vec<String>>,
    except: Vec<String>,
}

impl Trainable {
    /// Those that one of these patterns matches.
    pub fn only<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self { only: Some(patterns.into_iter().map(S::into).collect()), except: Vec::new() }
    }

    /// Those that were trained before, but for those that one of these patterns matches.
    pub fn except<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self::default().without(patterns)
    }

    /// These, but for those that one of these patterns matches.
    #[must_use]
    pub fn without<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.except.extend(patterns.into_iter().map(S::into));
        self
    }

    /// Gives every parameter of `specs` its kind.
    ///
    /// # Errors
    /// A pattern that matches no parameter, or no parameter that would be trained.
    pub(crate) fn apply(&self, specs: &mut [ParamSpec]) -> Result<()> {
        let is_parameter = |spec: &&mut ParamSpec| spec.kind != ParamKind::Statistic;
        for pattern in self.only.iter().flatten().chain(&self.except) {
            if !specs.iter_mut().filter(is_parameter).any(|spec| matches(pattern, &spec.name)) {
                let known = specs.iter().map(|spec| spec.name.clone()).collect();
                return Err(ModelError::UnknownName { name: pattern.clone(), known });
            }
        }
        for spec in specs.iter_mut().filter(is_parameter) {
            let matched = |patterns: &[String]| patterns.iter().any(|p| matches(p, &spec.name));
            let before = spec.kind == ParamKind::Trainable;
            let trained = self.only.as_deref().map_or(before, matched) && !matched(&self.except);
            spec.kind = if trained { ParamKind::Trainable } else { ParamKind::Frozen };
        }
        match specs.iter().any(|spec| spec.kind == ParamKind::Trainable) {
            true => Ok(()),
            false => Err(ModelError::NoParameters),
        }
    }
}

/// Whether a name is what a pattern stands for: `*` is any text, also none.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(tail) = name.strip_prefix(head) else { return false };
    let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
    ends.into_iter().any(|at| matches(rest, &tail[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_frozen_stays_so_unless_it_is_asked_for() -> Result<()> {
        let spec = |name: &str, kind| {
            let init = crate::params::init::Initializer::Zeros;
            ParamSpec { kind, ..ParamSpec::trainable(name, &[1], init) }
        };
        let base = [
            spec("a.weight", ParamKind::Frozen),
            spec("b.weight", ParamKind::Trainable),
            spec("b.bias", ParamKind::Trainable),
            spec("b.mean", ParamKind::Statistic),
        ];
        let trained = |trainable: Trainable| -> Result<Vec<String>> {
            let mut specs = base.to_vec();
            trainable.apply(&mut specs)?;
            let trained = specs.into_iter().filter(|spec| spec.kind == ParamKind::Trainable);
            Ok(trained.map(|spec| spec.name).collect())
        };
        assert_eq!(trained(Trainable::default())?, ["b.weight", "b.bias"]);
        assert_eq!(trained(Trainable::except(["*.bias"]))?, ["b.weight"]);
        assert_eq!(trained(Trainable::only(["*.weight"]))?, ["a.weight", "b.weight"]);
        assert_eq!(trained(Trainable::only(["*"]).without(["b.*"]))?, ["a.weight"]);
        assert!(trained(Trainable::except(["*.mean"])).is_err(), "statistics are no parameters");
        Ok(())
    }

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name, expected) in [
            ("fc1.weight", "fc1.weight", true),
            ("fc1.weight", "fc1.weights", false),
            ("*.lora_*", "h.0.q.lora_A.weight", true),
            ("*.lora_*", "lora_A.weight", false),
            ("*", "", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("*bias", "é.bias", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
