//! A column of a table against another, over the seeds: tables of a run come in, medians with their
//! extremes, trends and words for them go out. Called by `verdict`.

use std::cmp::Ordering;

use entk_cli::{Summary, summarize};

use super::finished::ResultTable;

/// Values over the seeds at each place, places ascending.
pub struct Curve(pub Vec<(f64, Summary)>);

/// The column `y` by the column `x` of the rows in which other columns are as `only` says; all rows
/// have the same `constant`.
pub fn curve(run: &[ResultTable], table: &str, [x, y]: [&str; 2], only: &[(&str, &str)]) -> Curve {
    let Some((header, lines)) = lines(run, table) else { return Curve(Vec::new()) };
    let column = |name: &str| header.iter().position(|column| column == name);
    let cell = |line: &[String], name: &str| -> Option<String> {
        column(name).and_then(|at| line.get(at)).cloned()
    };
    let number = |line: &[String], name: &str| match name {
        "constant" => Some(0.0),
        _ => cell(line, name)?.parse::<f64>().ok().filter(|number| number.is_finite()),
    };
    let is_meant = |line: &&Vec<String>| {
        only.iter().all(|(name, value)| cell(line, name).as_deref() == Some(value))
    };
    let points = lines.iter().filter(is_meant);
    let mut points: Vec<(f64, f64)> =
        points.filter_map(|line| Some((number(line, x)?, number(line, y)?))).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let of_place = |same: &[(f64, f64)]| {
        let values: Vec<f64> = same.iter().map(|(_, y)| *y).collect();
        Some((same[0].0, summarize(&values)?))
    };
    Curve(points.chunk_by(|a, b| a.0 == b.0).filter_map(of_place).collect())
}

fn lines<'r>(run: &'r [ResultTable], table: &str) -> Option<(&'r Vec<String>, &'r [Vec<String>])> {
    run.iter().find(|found| found.file == table)?.lines.split_first()
}

/// The values of a column, each once, in their order.
pub fn values(run: &[ResultTable], table: &str, column: &str) -> Vec<String> {
    let Some((header, lines)) = lines(run, table) else { return Vec::new() };
    let Some(at) = header.iter().position(|name| name == column) else { return Vec::new() };
    let mut found: Vec<String> = Vec::new();
    for value in lines.iter().filter_map(|line| line.get(at)) {
        if !found.contains(value) {
            found.push(value.clone());
        }
    }
    found
}

impl Curve {
    pub fn at(&self, place: f64) -> Option<Summary> {
        self.0.iter().find(|(at, _)| *at == place).map(|(_, value)| *value)
    }

    pub fn above(&self, least: f64) -> Self {
        Self(self.0.iter().copied().filter(|(at, _)| *at > least).collect())
    }

    /// Places that are one number but for round-off, as one: each that exceeds the one before by
    /// less than `relative` of itself.
    pub fn with_equal_places(mut self, relative: f64) -> Self {
        for at in 1..self.0.len() {
            let (before, place) = (self.0[at - 1].0, self.0[at].0);
            if place - before <= relative * place.abs() {
                self.0[at].0 = before;
            }
        }
        self
    }

    /// The medians less those of another, where both have one.
    pub fn differences(&self, other: &Self) -> Vec<(f64, f64)> {
        let difference = |(at, a): &(f64, Summary)| Some((*at, a.median - other.at(*at)?.median));
        self.0.iter().filter_map(difference).collect()
    }

    /// First and last value.
    pub fn ends(&self, show: fn(&Summary) -> String) -> Option<String> {
        let (from, to) = (self.0.first()?, self.0.last()?);
        Some(format!("{} at {}, {} at {}", show(&from.1), from.0, show(&to.1), to.0))
    }

    /// Spearman's correlation of places and medians; none of fewer than three, or of equal ones.
    pub fn rank_correlation(&self) -> Option<f64> {
        let x = ranks(&self.0.iter().map(|(at, _)| *at).collect::<Vec<_>>());
        let y = ranks(&self.0.iter().map(|(_, value)| value.median).collect::<Vec<_>>());
        let middle = (x.len() as f64 - 1.0) / 2.0;
        let product = |a: &[f64], b: &[f64]| {
            a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>()
        };
        let correlation = product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt();
        (x.len() > 2 && correlation.is_finite()).then_some(correlation)
    }
}

/// Ranks from 0; equal numbers have the mean of theirs.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = |a: &f64| {
        let below = sorted.partition_point(|b| b.total_cmp(a) == Ordering::Less);
        let equal = sorted[below..].partition_point(|b| b.total_cmp(a) == Ordering::Equal);
        below as f64 + (equal as f64 - 1.0) / 2.0
    };
    numbers.iter().map(rank).collect()
}

pub fn percent(value: &Summary) -> String {
    let Summary { median, min, max } = value;
    match min == max {
        true => format!("{:.1} %", 100.0 * median),
        false => format!("{:.1} % ({:.1} to {:.1})", 100.0 * median, 100.0 * min, 100.0 * max),
    }
}

pub fn plain(value: &Summary) -> String {
    let Summary { median, min, max } = value;
    match min == max {
        true => format!("{median:.4}"),
        false => format!("{median:.4} ({min:.4} to {max:.4})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_share_their_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 7.0]), [1.5, 0.0, 1.5, 3.0]);
    }
}
