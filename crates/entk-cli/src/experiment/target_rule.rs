//! The rules from labels to targets, as `--targets` and records name them: text comes in, a rule
//! goes out. Used by flags and by the labels that apply it.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::cli::device::by_name;

/// From labels to targets y.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetRule {
    /// 1 for the label 1, -1 for the labels -1 and 0.
    Signs,
    /// 1 for classes below this one, else -1.
    Below(usize),
    /// A column for each class: 1 for its examples, else 0.
    OneHot,
    /// [`OneHot`](Self::OneHot) less 1/C in every column.
    CentredOneHot,
    /// 1 for this class, else -1.
    Class(usize),
    /// Real targets as they are, a column for each output.
    Values,
}

impl TargetRule {
    /// Of what, and how, targets are made.
    pub fn formula(self) -> String {
        match self {
            Self::Signs => "y = 1 for the label 1, -1 for -1 or 0".into(),
            Self::Below(class) => format!("y = 1 for classes below {class}, else -1"),
            Self::OneHot => "y_c = 1 for class c, else 0; not centred".into(),
            Self::CentredOneHot => "y_c = 1 - 1/C for class c, else -1/C".into(),
            Self::Class(class) => format!("y = 1 for class {class}, else -1"),
            Self::Values => "y as given".into(),
        }
    }
}

impl FromStr for TargetRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |name| text.strip_prefix(name)?.parse().ok();
        match (text, number("below:"), number("class:")) {
            ("signs", ..) => Ok(Self::Signs),
            ("one-hot", ..) => Ok(Self::OneHot),
            ("one-hot-centred", ..) => Ok(Self::CentredOneHot),
            ("values", ..) => Ok(Self::Values),
            (_, Some(class), _) if class > 0 => Ok(Self::Below(class)),
            (_, _, Some(class)) => Ok(Self::Class(class)),
            _ => Err("expected signs, below:K with K from 1, one-hot, one-hot-centred, class:K \
                      with K from 0, or values"
                .into()),
        }
    }
}

impl fmt::Display for TargetRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signs => f.write_str("signs"),
            Self::Below(class) => write!(f, "below:{class}"),
            Self::OneHot => f.write_str("one-hot"),
            Self::CentredOneHot => f.write_str("one-hot-centred"),
            Self::Class(class) => write!(f, "class:{class}"),
            Self::Values => f.write_str("values"),
        }
    }
}

impl Serialize for TargetRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        by_name(self, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_names_the_class_of_its_rule() {
        assert_eq!(TargetRule::Below(5).formula(), "y = 1 for classes below 5, else -1");
        assert_eq!(TargetRule::Class(3).formula(), "y = 1 for class 3, else -1");
    }

    #[test]
    fn rules_print_as_they_parse() {
        for text in ["signs", "below:5", "one-hot", "one-hot-centred", "class:0", "values"] {
            let rule: Result<TargetRule, String> = text.parse();
            assert_eq!(rule.map(|rule| rule.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "below:0", "below", "class:x", "onehot"] {
            assert!(text.parse::<TargetRule>().is_err(), "{text}");
        }
    }
}
