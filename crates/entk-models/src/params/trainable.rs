//! Which parameters are trained: patterns of names go in, specifications with other kinds come out.
//! Called by networks.

use crate::{
    error::{ModelError, Result},
    params::spec::{ParamKind, ParamSpec},
};

/// Which parameters are trained, by patterns of their names in which `*` stands for any part of a
/// name. The others keep their values: they are no part of theta, have no gradient and no share in
/// a kernel.
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

    /// All but those that one of these patterns matches.
    pub fn except<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self { only: None, except: patterns.into_iter().map(S::into).collect() }
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
            let trained = self.only.as_deref().is_none_or(matched) && !matched(&self.except);
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
