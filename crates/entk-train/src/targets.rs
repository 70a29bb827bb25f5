//! [`Targets`]: what examples are to be mapped to, as binary labels, classes or real values.
//!
//! Callers build them from a data set or an eigenvector; losses, metrics and solvers read them, and
//! check them once where they come in.

use crate::error::{Result, TrainError};

/// The targets of N examples, for a model with [`outputs`](Self::outputs) outputs C.
///
/// The outputs of a model are called logits whatever is learnt; N C of them are always row by row,
/// output c of example n at index `n C + c`.
///
/// Plain labels convert into it: vectors and slices of `u8` are [`Binary`](Self::Binary). The
/// variants can be written down directly; whatever takes targets [checks](Self::check) them.
///
/// ```
/// use entk_train::Targets;
///
/// let binary = Targets::from(vec![0, 1, 1]);
/// assert_eq!((binary.count(), binary.outputs()), (3, 1));
/// let digits = Targets::classes(vec![7, 2, 1], 10)?;
/// assert_eq!((digits.count(), digits.outputs()), (3, 10));
/// let planes = Targets::values(vec![0.5, -1.0, 2.0, 0.0], 2)?;
/// assert_eq!((planes.count(), planes.outputs()), (2, 2));
/// let error = Targets::classes(vec![7, 10], 10).unwrap_err();
/// assert!(error.to_string().starts_with("label 1 is 10, and there are 10 classes, 0 to 9"));
/// # Ok::<(), entk_train::TrainError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Targets {
    /// Labels 0 or 1, for a model of one output; in formulas of the squared loss 0 stands for -1.
    Binary(Vec<u8>),
    /// Labels 0 to C - 1, for a model of C outputs.
    Classes {
        /// The class of each example.
        labels: Vec<u32>,
        /// Their number C, at least 2.
        classes: usize,
    },
    /// Real targets (N, C), for a model of C outputs.
    Values {
        /// Target c of example n at index `n C + c`.
        values: Vec<f64>,
        /// Values of an example, C, at least 1.
        outputs: usize,
    },
}

impl Targets {
    /// Labels 0 or 1.
    ///
    /// # Errors
    /// [`TrainError::Label`] for another label.
    pub fn binary(labels: Vec<u8>) -> Result<Self> {
        Self::Binary(labels).checked()
    }

    /// Labels of `classes` classes, counted from 0; of u8 after `.map(u32::from)`.
    ///
    /// # Errors
    /// [`TrainError::ClassLabel`] for a label that is not below `classes`,
    /// [`TrainError::Setting`] for fewer than two classes.
    pub fn classes(labels: Vec<u32>, classes: usize) -> Result<Self> {
        Self::Classes { labels, classes }.checked()
    }

    /// Real targets (N, C), row by row, for `outputs` outputs C.
    ///
    /// # Errors
    /// [`TrainError::TargetShape`] unless their number is a multiple of `outputs`,
    /// [`TrainError::NonFiniteTarget`] for NaN or infinity.
    pub fn values(values: Vec<f64>, outputs: usize) -> Result<Self> {
        Self::Values { values, outputs }.checked()
    }

    fn checked(self) -> Result<Self> {
        self.check().map(|()| self)
    }

    /// Refuses targets that the constructors refuse. Cost: one pass.
    ///
    /// # Errors
    /// As [`binary`](Self::binary), [`classes`](Self::classes) and [`values`](Self::values).
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Binary(labels) => match position(labels, |&label| label > 1) {
                Some((index, &value)) => Err(TrainError::Label { index, value }),
                None => Ok(()),
            },
            Self::Classes { labels, classes } => check_classes(labels, *classes),
            Self::Values { values, outputs } => check_values(values, *outputs),
        }
    }

    /// Refuses targets that are not of `examples` examples, or not what they should be.
    pub(crate) fn check_for(&self, examples: usize) -> Result<()> {
        self.check()?;
        match self.count() {
            found if found == examples => Ok(()),
            found => Err(TrainError::Count { what: self.name(), expected: examples, found }),
        }
    }

    /// Number of examples, N.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Binary(labels) => labels.len(),
            Self::Classes { labels, .. } => labels.len(),
            Self::Values { values, outputs } => values.len() / (*outputs).max(1),
        }
    }

    /// Outputs that a model of them must have, C: 1 for binary labels.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Binary(_) => 1,
            Self::Classes { classes, .. } => *classes,
            Self::Values { outputs, .. } => *outputs,
        }
    }

    /// What they are, as messages call them.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Binary(_) => "labels",
            Self::Classes { .. } => "class labels",
            Self::Values { .. } => "rows of target values",
        }
    }

    /// What the squared loss compares logits with, (N, C): 1 and -1 for the binary labels 1 and 0;
    /// for classes 1 at the label and 0 elsewhere (one-hot); real targets as they are.
    ///
    /// ```
    /// use entk_train::Targets;
    ///
    /// assert_eq!(Targets::from(vec![0, 1]).to_values(), [-1.0, 1.0]);
    /// assert_eq!(Targets::classes(vec![2, 0], 3)?.to_values(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), entk_train::TrainError>(())
    /// ```
    #[must_use]
    pub fn to_values(&self) -> Vec<f64> {
        match self {
            Self::Binary(labels) => labels.iter().map(|&label| sign(label)).collect(),
            Self::Classes { labels, classes } => {
                let one_hot = |&label: &u32| {
                    (0..*classes).map(move |c| f64::from(u8::from(c == label as usize)))
                };
                labels.iter().flat_map(one_hot).collect()
            }
            Self::Values { values, .. } => values.clone(),
        }
    }

    /// [`to_values`](Self::to_values) output by output, (C, N): the targets one after the other, as
    /// `alignments` of entk-spectral takes them.
    ///
    /// ```
    /// use entk_train::Targets;
    ///
    /// assert_eq!(Targets::classes(vec![2, 0], 3)?.to_columns(), [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    /// # Ok::<(), entk_train::TrainError>(())
    /// ```
    #[must_use]
    pub fn to_columns(&self) -> Vec<f64> {
        let (values, columns) = (self.to_values(), self.outputs());
        (0..columns).flat_map(|c| values[c..].iter().step_by(columns).copied()).collect()
    }

    /// The targets of the examples `indices`, in that order.
    ///
    /// # Panics
    /// As indexing a slice does, for an index that is not below N.
    #[must_use]
    pub fn select(&self, indices: &[u32]) -> Self {
        let rows = |n: &u32| *n as usize;
        match self {
            Self::Binary(labels) => Self::Binary(indices.iter().map(|n| labels[rows(n)]).collect()),
            Self::Classes { labels, classes } => {
                let labels = indices.iter().map(|n| labels[rows(n)]).collect();
                Self::Classes { labels, classes: *classes }
            }
            Self::Values { values, outputs } => {
                let row = |n: &u32| &values[rows(n) * outputs..(rows(n) + 1) * outputs];
                let values = indices.iter().flat_map(row).copied().collect();
                Self::Values { values, outputs: *outputs }
            }
        }
    }

    /// The first `count` examples, and the others.
    pub(crate) fn split_at(&self, count: usize) -> (Self, Self) {
        match self {
            Self::Binary(labels) => {
                let (first, rest) = labels.split_at(count);
                (Self::Binary(first.to_vec()), Self::Binary(rest.to_vec()))
            }
            Self::Classes { labels, classes } => {
                let of =
                    |labels: &[u32]| Self::Classes { labels: labels.to_vec(), classes: *classes };
                let (first, rest) = labels.split_at(count);
                (of(first), of(rest))
            }
            Self::Values { values, outputs } => {
                let of =
                    |values: &[f64]| Self::Values { values: values.to_vec(), outputs: *outputs };
                let (first, rest) = values.split_at(count * outputs);
                (of(first), of(rest))
            }
        }
    }

    /// Bytes that tell these targets from any others.
    pub(crate) fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        match self {
            Self::Binary(labels) => {
                hasher.update(labels);
            }
            Self::Classes { labels, classes } => {
                hasher.update(format!("{classes} classes ").as_bytes());
                labels.iter().for_each(|label| _ = hasher.update(&label.to_le_bytes()));
            }
            Self::Values { values, outputs } => {
                hasher.update(format!("{outputs} values ").as_bytes());
                values.iter().for_each(|value| _ = hasher.update(&value.to_le_bytes()));
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// The target of a binary label in the squared loss: 1 for label 1, -1 for label 0.
pub(crate) fn sign(label: u8) -> f64 {
    if label == 1 { 1.0 } else { -1.0 }
}

fn check_classes(labels: &[u32], classes: usize) -> Result<()> {
    if classes < 2 {
        let range = "at least 2, or binary labels for a model of one output";
        return Err(TrainError::Setting { field: "classes", found: classes as f64, range });
    }
    match position(labels, |&label| label as usize >= classes) {
        Some((index, &label)) => Err(TrainError::ClassLabel { index, label, classes }),
        None => Ok(()),
    }
}

fn check_values(values: &[f64], outputs: usize) -> Result<()> {
    if outputs == 0 || !values.len().is_multiple_of(outputs) {
        return Err(TrainError::TargetShape { values: values.len(), outputs });
    }
    match position(values, |value| !value.is_finite()) {
        Some((at, &value)) => {
            let (index, output) = (at / outputs, at % outputs);
            Err(TrainError::NonFiniteTarget { index, output, value })
        }
        None => Ok(()),
    }
}

fn position<T>(list: &[T], is_bad: impl Fn(&T) -> bool) -> Option<(usize, &T)> {
    list.iter().enumerate().find(|(_, item)| is_bad(item))
}

impl From<Vec<u8>> for Targets {
    fn from(labels: Vec<u8>) -> Self {
        Self::Binary(labels)
    }
}

impl From<&Vec<u8>> for Targets {
    fn from(labels: &Vec<u8>) -> Self {
        Self::Binary(labels.clone())
    }
}

impl From<&[u8]> for Targets {
    fn from(labels: &[u8]) -> Self {
        Self::Binary(labels.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Targets {
    fn from(labels: [u8; N]) -> Self {
        Self::Binary(labels.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Targets {
    fn from(labels: &[u8; N]) -> Self {
        Self::Binary(labels.to_vec())
    }
}

impl From<&Self> for Targets {
    fn from(targets: &Self) -> Self {
        targets.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checkpoints of binary tasks hold this hash.
    #[test]
    fn binary_labels_are_hashed_as_their_bytes() {
        let labels = [0, 1, 1, 0];
        let expected = blake3::hash(&labels).to_hex().to_string();
        assert_eq!(Targets::from(labels).hash(), expected);
        let classes = |classes| Targets::Classes { labels: vec![0, 1, 1, 0], classes }.hash();
        assert!(classes(2) != expected && classes(2) != classes(3));
        let values = |outputs| Targets::Values { values: vec![0.0; 4], outputs }.hash();
        assert_ne!(values(1), values(2));
    }
}
