//! The table of operations that are understood: the name of one goes in, its rule comes out. One
//! file a family; docs/pytorch.md lists them from here.

pub(crate) mod attention;
pub(crate) mod composed;
pub(crate) mod conv;
pub(crate) mod dense;
pub(crate) mod index;
pub(crate) mod norm;
pub(crate) mod pointwise;
pub(crate) mod pooling;
pub(crate) mod recurrent;
pub(crate) mod reduce;
pub(crate) mod rule;
pub(crate) mod shape;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use std::{collections::HashMap, sync::LazyLock};

use crate::rules::rule::Rule;

/// Whether results share storage with the first tensor of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// They do not.
    Apart,
    /// They are views of it.
    View,
    /// They are views or copies.
    Maybe,
    /// It is written to.
    Written,
}

/// A family: its name in the documentation, and its rules by operation.
pub(crate) type Family = (&'static str, &'static [(&'static str, Rule)]);

/// All families, in the order of the documentation.
pub(crate) const FAMILIES: [Family; 16] = [
    ("dense maps and products", dense::RULES),
    ("convolutions", conv::RULES),
    ("norms", norm::RULES),
    ("functions of one number", pointwise::OF_ONE),
    ("functions of two tensors", pointwise::OF_TWO),
    ("functions made of others", composed::RULES),
    ("pooling and interpolation", pooling::RULES),
    ("sums and maxima", reduce::RULES),
    ("attention and softmax", attention::RULES),
    ("recurrent networks", recurrent::RULES),
    ("shapes", shape::axes::RULES),
    ("parts", shape::parts::RULES),
    ("windows and repetitions", shape::windows::RULES),
    ("what changes nothing here", shape::same::RULES),
    ("chosen entries", index::RULES),
    ("values without a derivative", values::RULES),
];

/// The operations of `torch.export` that have a rule here, by family: as in `aten.relu.default`,
/// without `aten.`.
///
/// ```
/// let families = entk_torch::supported_operations();
/// assert!(families.iter().any(|(_, names)| names.contains(&"relu.default")));
/// ```
pub fn supported_operations() -> Vec<(&'static str, Vec<&'static str>)> {
    let names = |rules: &[(&'static str, Rule)]| rules.iter().map(|(name, _)| *name).collect();
    FAMILIES.iter().map(|&(family, rules)| (family, names(rules))).collect()
}

static TABLE: LazyLock<HashMap<&'static str, Rule>> = LazyLock::new(|| {
    FAMILIES.iter().flat_map(|(_, rules)| rules.iter()).map(|(name, rule)| (*name, *rule)).collect()
});

/// Whether an operation writes into its first argument, and its name without the mark of that.
fn functional(operation: &str) -> (bool, String) {
    let (base, overload) = operation.split_once('.').unwrap_or((operation, "default"));
    match base.strip_suffix('_') {
        Some(stripped) if !stripped.ends_with('_') => (true, format!("{stripped}.{overload}")),
        _ => (false, operation.to_owned()),
    }
}

/// The rule of an operation.
pub(crate) fn rule(operation: &str) -> Option<Rule> {
    TABLE.get(functional(operation).1.as_str()).copied()
}

/// Whether the results of an operation share storage with its first tensor.
pub(crate) fn sharing(operation: &str) -> Sharing {
    let (written, _) = functional(operation);
    let base = operation.split('.').next().unwrap_or_default();
    match () {
        () if written => Sharing::Written,
        () if shape::VIEWS.contains(&base) => Sharing::View,
        () if shape::MAYBE_VIEWS.contains(&base) => Sharing::Maybe,
        () => Sharing::Apart,
    }
}

const RANDOM: &str = "a network must be a function: no random numbers, export with `model.eval()`, \
                      and write `training=self.training` where forward says `training=True`";

/// Parts of names of operations that cannot be taken, and what to write in their place.
const INSTEAD: [(&str, &str); 11] = [
    ("rand", RANDOM),
    ("bernoulli", RANDOM),
    ("normal", RANDOM),
    (
        "set_grad_enabled",
        "forward switches gradients off (`torch.no_grad()`): leave that out, and freeze those \
         parameters with `requires_grad_(False)`, or as the network is read",
    ),
    (
        "autocast",
        "forward switches element types (`torch.autocast`): leave that out, all is computed in the \
         type of the parameters",
    ),
    ("cond", "no branch may depend on data: write both and choose with `torch.where`"),
    ("while_loop", "no loop may depend on data: unroll it"),
    ("fft", "no complex numbers: multiply by the real matrices of sines and cosines"),
    ("linalg", "write it with products, or compute what depends on no input before the export"),
    ("sort", "choose entries with `amax` or `gather`"),
    ("topk", "choose entries with `amax` or `gather`"),
];

/// What to write in place of an operation that has no rule.
pub(crate) fn instead(operation: &str) -> String {
    let found = INSTEAD.iter().find(|(part, _)| operation.contains(part));
    let general = "write it with the operations that docs/pytorch.md of the project lists";
    found.map_or(general, |(_, instead)| instead).to_owned()
}
