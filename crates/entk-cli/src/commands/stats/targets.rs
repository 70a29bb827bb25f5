//! Targets over the examples: labels come in, a few columns over the examples and every target as a
//! combination of them go out, so that hundreds of targets of ten classes cost ten columns. Called
//! by `problem`.

use std::path::Path;

use anyhow::Result;
use entk::data::{examples, npy::Data};
use entk_cli::{ensure_input, refused};

/// Up to so many classes all splits in two are targets.
const SPLIT: usize = 10;
/// More classes than this are numbers of another kind.
const MOST_CLASSES: usize = 1000;

/// Targets that are combinations of columns.
#[derive(Debug, Default)]
pub struct TargetSet {
    /// Columns of N entries, one after the other.
    pub columns: Vec<f64>,
    /// How many.
    pub count: usize,
    pub targets: Vec<StatisticsTarget>,
}

/// A target: its name and the weights of the columns.
#[derive(Debug)]
pub struct StatisticsTarget {
    pub name: String,
    pub weights: Vec<f64>,
}

impl TargetSet {
    /// The labels of a file for `count` inputs of another, whose copies up to `n` examples have
    /// them too.
    pub fn read(inputs: &Path, path: &Path, count: usize, n: usize) -> Result<Self> {
        examples::ensure_apart(inputs, path)?;
        let array = examples::read_labels(path)?.array;
        array.check_finite()?;
        let (shape, data) = array.into_parts();
        let width = match shape.as_slice() {
            [labels] if *labels == count => 1,
            [labels, width] if *labels == count => *width,
            found => {
                let shown = path.display();
                return Err(refused(format!(
                    "{shown}: expected a label, or a row of targets, for each of {count} inputs, \
                     found shape {found:?}"
                )));
            }
        };
        match data {
            Data::I64(classes) if width == 1 => Self::of_classes(path, &classes, n),
            Data::F64(values) => Ok(Self::of_values(&values, width, n)),
            Data::F32(values) => Ok(Self::of_values(
                &values.into_iter().map(f64::from).collect::<Vec<_>>(),
                width,
                n,
            )),
            _ => Err(refused(format!("{}: expected classes (N,) or fractions", path.display()))),
        }
    }

    fn of_classes(path: &Path, labels: &[i64], n: usize) -> Result<Self> {
        let class = |label: &i64| usize::try_from(*label).ok().filter(|c| *c < MOST_CLASSES);
        let classes: Option<Vec<usize>> = labels.iter().map(class).collect();
        let classes = classes.ok_or_else(|| {
            refused(format!("{}: expected classes from 0 to {}", path.display(), MOST_CLASSES - 1))
        })?;
        let count = classes.iter().max().map_or(0, |class| class + 1);
        ensure_input(count > 1, || {
            format!("{}: one class only, which no target splits", path.display())
        })?;
        let mut columns = vec![0.0; count * n];
        let classes = classes.iter().cycle().take(n).enumerate();
        classes.for_each(|(example, class)| columns[class * n + example] = 1.0);
        let targets = if count <= SPLIT { splits(count) } else { one_against_the_rest(count) };
        Ok(Self { columns, count, targets })
    }

    fn of_values(values: &[f64], width: usize, n: usize) -> Self {
        let column = |c: usize| values.iter().skip(c).step_by(width).copied().cycle().take(n);
        let unit = |c: usize| (0..width).map(|d| f64::from(u8::from(c == d))).collect();
        let target = |c: usize| StatisticsTarget { name: format!("column {c}"), weights: unit(c) };
        Self {
            columns: (0..width).flat_map(column).collect(),
            count: width,
            targets: (0..width).map(target).collect(),
        }
    }
}

/// All ways to give classes signs, but for those of one sign only and for mirror images: the last
/// class has -1.
fn splits(count: usize) -> Vec<StatisticsTarget> {
    let of_bits = |bits: usize| {
        let positive: Vec<usize> = (0..count).filter(|c| bits >> c & 1 == 1).collect();
        let sign = |c: usize| if positive.contains(&c) { 1.0 } else { -1.0 };
        let names: Vec<String> = positive.iter().map(ToString::to_string).collect();
        let name = format!("classes {}", names.join(" "));
        StatisticsTarget { name, weights: (0..count).map(sign).collect() }
    };
    (1..1 << (count - 1)).map(of_bits).collect()
}

fn one_against_the_rest(count: usize) -> Vec<StatisticsTarget> {
    let against = |class: usize| {
        let sign = |c: usize| if c == class { 1.0 } else { -1.0 };
        StatisticsTarget { name: format!("class {class}"), weights: (0..count).map(sign).collect() }
    };
    (0..count).map(against).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_split_in_all_ways_and_copies_have_their_labels() -> Result<()> {
        let set = TargetSet::of_classes(Path::new("y.npy"), &[0, 2, 1], 5)?;
        assert_eq!(set.columns, [1., 0., 0., 1., 0., 0., 0., 1., 0., 0., 0., 1., 0., 0., 1.]);
        let names: Vec<&str> = set.targets.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["classes 0", "classes 1", "classes 0 1"]);
        assert_eq!(set.targets[2].weights, [1.0, 1.0, -1.0]);
        assert_eq!(splits(10).len(), 511);
        assert!(TargetSet::of_classes(Path::new("y.npy"), &[0, -1], 2).is_err());
        Ok(())
    }
}
