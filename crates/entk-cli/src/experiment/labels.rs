//! Labels and the targets that a kernel is measured by, or a network trained on: numbers of a file
//! or classes of a data set come in, columns of targets go out, by a rule that the flags name or
//! that labels and outputs choose. Called by the programs that take `--labels`.

use std::path::Path;

use anyhow::{Context, Result};
use entk::{
    data::examples::{self, ExampleLabels},
    spectral::{Eigenpairs, EnergyConcentration, energy_concentration},
    train::Targets,
};

use crate::{
    cli::refused::{ensure_input, refused},
    experiment::target_rule::TargetRule,
    run::stderr::say,
};

/// More classes than this are taken for numbers of another kind.
const MOST_CLASSES: f64 = 65_536.0;

/// Classes whose names are said at most.
const NAMED: usize = 20;

/// Below this class labels are positive in the paper's binary task of ten classes.
const PAPER: usize = 5;

/// Labels as a file or a data set has them: classes, signs or real targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    source: String,
    columns: usize,
    values: Vec<f64>,
    /// Names of the classes, where the file has them.
    names: Vec<String>,
}

/// Targets, example by example.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelTargets {
    /// How they were made.
    pub rule: TargetRule,
    /// Columns, which are classes or outputs where the rule makes several.
    pub columns: usize,
    /// Entry n C + c is column c of example n.
    pub values: Vec<f64>,
}

impl LabelTargets {
    /// All numbers with 0 in the other columns.
    pub fn alone(&self, column: usize) -> Vec<f64> {
        let entry = |(at, y): (usize, &f64)| if at % self.columns == column { *y } else { 0.0 };
        self.values.iter().enumerate().map(entry).collect()
    }

    /// One number for each example.
    pub fn column(&self, column: usize) -> Vec<f64> {
        self.values.iter().skip(column).step_by(self.columns).copied().collect()
    }
}

impl LabelTargets {
    /// The share of all columns in the `top` leading eigenvectors of a kernel K of one row an
    /// example: that of their vector in the eigenvectors of K (x) I_C.
    ///
    /// # Errors
    /// As [`energy_concentration`].
    pub fn energy(&self, pairs: &Eigenpairs, top: usize) -> Result<EnergyConcentration> {
        let (mut captured, mut squares) = (0.0, 0.0);
        for column in (0..self.columns).map(|column| self.column(column)) {
            let square: f64 = column.iter().map(|y| y * y).sum();
            if square > 0.0 {
                captured += energy_concentration(pairs, &column, top)?.squared * square;
                squares += square;
            }
        }
        ensure_input(squares > 0.0, || "energy: all targets are 0".into())?;
        let squared = captured / squares;
        Ok(EnergyConcentration { ratio: squared.sqrt(), squared })
    }

    /// The targets of the first `n` examples.
    #[must_use]
    pub fn first(mut self, n: usize) -> Self {
        self.values.truncate(n * self.columns);
        self
    }

    /// What a network of so many outputs is trained on: labels 0 and 1, classes or real targets.
    ///
    /// # Errors
    /// Another number of columns than outputs.
    pub fn for_training(&self, outputs: usize) -> Result<Targets> {
        let (rule, columns) = (self.rule, self.columns);
        ensure_input(columns == outputs, || {
            let remedy = match (rule, outputs) {
                (TargetRule::Values, _) => "give targets (N, C) for its C outputs",
                (_, 1) => "give --classes, or --targets below:K",
                _ => "give --targets one-hot",
            };
            format!(
                "--targets {rule} has {columns} columns, and the network {outputs} outputs; \
                 {remedy}"
            )
        })?;
        Ok(match rule {
            TargetRule::OneHot if columns > 1 => {
                let class = |row: &[f64]| row.iter().position(|y| *y > 0.0).unwrap_or(0) as u32;
                Targets::classes(self.values.chunks_exact(columns).map(class).collect(), columns)?
            }
            TargetRule::Values | TargetRule::OneHot | TargetRule::CentredOneHot => {
                Targets::values(self.values.clone(), columns)?
            }
            TargetRule::Signs | TargetRule::Below(_) | TargetRule::Class(_) => {
                Targets::binary(self.values.iter().map(|y| u8::from(*y > 0.0)).collect())?
            }
        })
    }
}

impl Labels {
    /// The labels of a file: (N,), or real targets (N, C). Names of classes are said on stderr.
    ///
    /// # Errors
    /// A file that cannot be read, another number of labels than `count`, NaN or infinity.
    pub fn read(path: &Path, count: usize) -> Result<Self> {
        let ExampleLabels { array, classes } = examples::read_labels(path)?;
        let source = path.display().to_string();
        array.check_finite()?;
        say_classes(&source, &classes);
        let columns = match array.shape() {
            [n] if *n == count => 1,
            [n, columns] if *n == count => *columns,
            found => {
                let remedy = match found {
                    [1, n] if *n == count => "give `y.reshape(-1)`",
                    [_, n] if *n == count => "give `y.T`, a row for each input",
                    [_] | [_, _] => "give the labels of these inputs, in their order",
                    _ => "give `y.reshape(-1)` if they are labels, `y.reshape(N, -1)` if targets",
                };
                return Err(refused(format!(
                    "{source}: expected a label, or a row of targets, for each of the {count} \
                     inputs, found shape {found:?}; {remedy}"
                )));
            }
        };
        Ok(Self { source, columns, values: array.to_f64(), names: classes })
    }

    /// The labels of a file for those inputs: as [`read`](Self::read), and refused where they are
    /// among the inputs.
    ///
    /// # Errors
    /// As [`read`](Self::read), and a column of labels among those of the inputs.
    pub fn beside(inputs: &Path, path: &Path, count: usize) -> Result<Self> {
        examples::ensure_apart(inputs, path)?;
        Self::read(path, count)
    }

    /// Refuses labels of other classes: a label would stand for another class.
    ///
    /// # Errors
    /// Both lists of names.
    pub fn ensure_same_classes(&self, test: &Self) -> Result<()> {
        let (names, others) = (&self.names, &test.names);
        ensure_input(names == others || names.is_empty() || others.is_empty(), || {
            format!(
                "{}: expected the classes {} as {}, found {}; give both all classes",
                test.source,
                names.join(", "),
                self.source,
                others.join(", ")
            )
        })
    }

    /// The classes of a data set.
    pub fn of_classes(source: impl Into<String>, classes: &[u8]) -> Self {
        let values = classes.iter().copied().map(f64::from).collect();
        Self { source: source.into(), columns: 1, values, names: Vec::new() }
    }

    /// The labels of the first `n` examples.
    #[must_use]
    pub fn first(mut self, n: usize) -> Self {
        self.values.truncate(n * self.columns);
        self
    }

    /// Number of examples.
    pub fn count(&self) -> usize {
        self.values.len() / self.columns
    }

    /// The rule that these labels ask for with a network of so many outputs: real targets as they
    /// are; with one output signs, or for ten classes the paper's five against five; otherwise
    /// one-hot targets.
    pub fn default_rule(&self, outputs: usize) -> TargetRule {
        let all = |test: &dyn Fn(f64) -> bool| self.values.iter().all(|&label| test(label));
        let is_one_of = |allowed: [f64; 2]| all(&|label| allowed.contains(&label));
        if self.columns > 1 || !all(&|label| label.fract() == 0.0) {
            return TargetRule::Values;
        }
        let are_signs = is_one_of([-1.0, 1.0]) || is_one_of([0.0, 1.0]);
        match outputs {
            1 if are_signs => TargetRule::Signs,
            1 if all(&|label| (0.0..10.0).contains(&label)) => TargetRule::Below(PAPER),
            _ => TargetRule::OneHot,
        }
    }

    /// The targets by this rule, or by the [default](Self::default_rule), which is said on stderr,
    /// for a network of so many outputs.
    ///
    /// # Errors
    /// Labels that the rule does not know, named with their index and with the remedy.
    pub fn targets(&self, rule: Option<TargetRule>, outputs: usize) -> Result<LabelTargets> {
        let chosen = rule.unwrap_or_else(|| self.default_rule(outputs));
        let targets = self.by_rule(chosen, outputs);
        let targets = targets.with_context(|| format!("labels {}", self.source))?;
        let is_one =
            targets.values.windows(targets.columns + 1).all(|w| w[0] == w[targets.columns]);
        if is_one && self.count() > 1 {
            let source = &self.source;
            say(format_args!(
                "labels {source}: all of one class; accuracies and alignments tell nothing of it"
            ));
        }
        let of_classes = !matches!(chosen, TargetRule::Values | TargetRule::Signs);
        if of_classes && self.values.iter().all(|&label| label >= 1.0) {
            let source = &self.source;
            say(format_args!("labels {source}: none of class 0; classes are counted from 0"));
        }
        if rule.is_none() {
            say(format_args!("labels {}: --targets {chosen}, {}", self.source, chosen.formula()));
        }
        Ok(targets)
    }

    fn by_rule(&self, rule: TargetRule, outputs: usize) -> Result<LabelTargets> {
        let binary = |labels: &[usize], is_positive: &dyn Fn(usize) -> bool| {
            labels.iter().map(|&label| if is_positive(label) { 1.0 } else { -1.0 }).collect()
        };
        let (columns, values) = match rule {
            TargetRule::Values => (self.columns, self.values.clone()),
            TargetRule::Signs => (1, binary(&self.signs()?, &|label| label == 1)),
            TargetRule::Below(class) => (1, binary(&self.classes(None)?.0, &|label| label < class)),
            TargetRule::Class(class) => {
                let (labels, classes) = self.classes((outputs > 1).then_some(outputs))?;
                ensure_input(class < classes, || {
                    format!("--targets class:{class}: there are classes 0 to {}", classes - 1)
                })?;
                (1, binary(&labels, &|label| label == class))
            }
            TargetRule::OneHot | TargetRule::CentredOneHot => {
                let (labels, classes) = self.classes((outputs > 1).then_some(outputs))?;
                let shift = if rule == TargetRule::OneHot { 0.0 } else { 1.0 / classes as f64 };
                (classes, one_hot(&labels, classes, shift))
            }
        };
        Ok(LabelTargets { rule, columns, values })
    }

    /// Labels 0 and 1 from signs -1 and 1, or as they are.
    ///
    /// # Errors
    /// Another label, or both -1 and 0.
    pub fn signs(&self) -> Result<Vec<usize>> {
        let negative = if self.values.contains(&-1.0) { -1.0 } else { 0.0 };
        let expected = "-1 and 1, or 0 and 1; --targets below:K makes such of classes";
        self.each(expected, |label| match label {
            1.0 => Some(1),
            label if label == negative => Some(0),
            _ => None,
        })
    }

    /// The labels as classes, and how many there are: as many as given, or one more than the
    /// largest label.
    ///
    /// # Errors
    /// A label that is none of the classes.
    pub fn classes(&self, classes: Option<usize>) -> Result<(Vec<usize>, usize)> {
        let limit = classes.map_or(MOST_CLASSES, |classes| classes as f64);
        let expected = format!(
            "a class from 0 to {}; recode the labels, give --classes for a network with more \
             outputs, or --targets values if they are real targets",
            limit - 1.0
        );
        let labels = self.each(&expected, |label| {
            let is_class = label.fract() == 0.0 && (0.0..limit).contains(&label);
            is_class.then_some(label as usize)
        })?;
        let largest = labels.iter().max().map_or(0, |largest| largest + 1);
        Ok((labels, classes.unwrap_or(largest)))
    }

    /// Each label as a number from 0, of labels that are one for each example.
    fn each(&self, expected: &str, number: impl Fn(f64) -> Option<usize>) -> Result<Vec<usize>> {
        ensure_input(self.columns == 1, || {
            let columns = self.columns;
            format!("expected one label for each example, found {columns}: --targets values")
        })?;
        let numbers = self.values.iter().enumerate().map(|(index, &label)| {
            let found = || refused(format!("found {label} at index {index}, expected {expected}"));
            number(label).ok_or_else(found)
        });
        numbers.collect()
    }
}

fn one_hot(labels: &[usize], classes: usize, shift: f64) -> Vec<f64> {
    let mut values = vec![-shift; labels.len() * classes];
    for (row, &label) in values.chunks_exact_mut(classes).zip(labels) {
        row[label] += 1.0;
    }
    values
}

/// Says which class each label is.
fn say_classes(source: &str, classes: &[String]) {
    if classes.is_empty() {
        return;
    }
    let numbered = |(label, class): (usize, &String)| format!("{label} {class}");
    let more = if classes.len() > NAMED { ", ..." } else { "" };
    let named: Vec<String> = classes.iter().take(NAMED).enumerate().map(numbered).collect();
    say(format_args!("labels {source}: {}{more}", named.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64]) -> Labels {
        Labels { source: "y.npy".into(), columns: 1, values: values.to_vec(), names: Vec::new() }
    }

    fn message<T>(result: Result<T>) -> String {
        result.map_or_else(|error| format!("{error:#}"), |_| "no error".into())
    }

    #[test]
    fn labels_and_outputs_choose_the_rule() {
        let cases: [(&[f64], usize, TargetRule); 8] = [
            (&[-1.0, 1.0], 1, TargetRule::Signs),
            (&[0.0, 1.0], 1, TargetRule::Signs),
            (&[0.0, 1.0], 2, TargetRule::OneHot),
            (&[7.0, 0.0, 4.0], 1, TargetRule::Below(5)),
            (&[7.0, 0.0, 4.0], 10, TargetRule::OneHot),
            (&[12.0, 0.0], 1, TargetRule::OneHot),
            (&[0.5, 1.0], 1, TargetRule::Values),
            (&[0.5, 1.0], 10, TargetRule::Values),
        ];
        for (values, outputs, expected) in cases {
            assert_eq!(labels(values).default_rule(outputs), expected, "{values:?}, {outputs}");
        }
    }

    #[test]
    fn every_rule_makes_its_targets() -> Result<()> {
        let classes = labels(&[2.0, 0.0, 1.0]);
        let of =
            |rule, outputs| Ok::<_, anyhow::Error>(classes.targets(Some(rule), outputs)?.values);
        assert_eq!(of(TargetRule::Below(2), 1)?, [-1.0, 1.0, 1.0]);
        assert_eq!(of(TargetRule::Class(2), 1)?, [1.0, -1.0, -1.0]);
        assert_eq!(of(TargetRule::OneHot, 1)?, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(of(TargetRule::Values, 1)?, [2.0, 0.0, 1.0]);
        let centred = classes.targets(Some(TargetRule::CentredOneHot), 4)?;
        assert_eq!((centred.columns, centred.column(2)), (4, vec![0.75, -0.25, -0.25]));
        let signs = labels(&[-1.0, 1.0]).targets(None, 1)?;
        assert_eq!((signs.rule, signs.values), (TargetRule::Signs, vec![-1.0, 1.0]));
        Ok(())
    }

    #[test]
    fn labels_that_fit_no_class_are_named_with_the_remedy() {
        let cases = [
            (message(labels(&[0.0, 12.0]).targets(None, 10)), "found 12 at index 1"),
            (message(labels(&[0.0, 12.0]).targets(None, 10)), "0 to 9; recode the labels"),
            (message(labels(&[-3.0]).targets(None, 1)), "--targets values"),
            (message(labels(&[-1.0, 0.0]).targets(Some(TargetRule::Signs), 1)), "at index 1"),
            (message(labels(&[2.0]).targets(Some(TargetRule::Signs), 1)), "below:K"),
            (message(labels(&[2.0]).targets(Some(TargetRule::Class(3)), 1)), "0 to 2"),
            (message(labels(&[1e9]).targets(None, 1)), "found 1000000000"),
        ];
        for (found, expected) in cases {
            assert!(found.contains(expected), "{expected:?} not in {found:?}");
        }
    }
}
