//! The spread of a curve over seeds: points of all seeds come in, the median and the extremes at
//! each x go out. Called by the figures, mostly through `Series`.

use anyhow::{Result, ensure};
use serde::Serialize;

/// Median and extremes of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The middle value, or the mean of the two middle values.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

/// Summarizes `values`; `None` when there are none or one of them is NaN.
///
/// ```
/// let summary = entk_cli::summarize(&[3.0, 1.0, 2.0, 10.0]).expect("four numbers");
/// assert_eq!((summary.median, summary.min, summary.max), (2.5, 1.0, 10.0));
/// ```
pub fn summarize(values: &[f64]) -> Option<Summary> {
    if values.iter().any(|value| value.is_nan()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let upper = sorted[sorted.len() / 2];
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(Summary { median: lower + (upper - lower) / 2.0, min, max })
}

/// A curve with its spread: at each `x` the [`Summary`] over several runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Bands {
    x: Vec<f64>,
    summaries: Vec<Summary>,
}

impl Bands {
    /// Summarizes points (x, y) by their x, in the order in which each x is first seen.
    ///
    /// # Errors
    ///
    /// When there are no points, or one is NaN.
    pub fn of_points(points: &[(f64, f64)]) -> Result<Self> {
        ensure!(!points.is_empty(), "no points to summarize");
        let mut groups: Vec<(f64, Vec<f64>)> = Vec::new();
        for &(x, y) in points {
            match groups.iter_mut().find(|(at, _)| *at == x) {
                Some((_, values)) => values.push(y),
                None => groups.push((x, vec![y])),
            }
        }
        let one = |(x, values): &(f64, Vec<f64>)| {
            summarize(values).ok_or_else(|| anyhow::anyhow!("a run is NaN at x = {x}"))
        };
        let summaries = groups.iter().map(one).collect::<Result<_>>()?;
        Ok(Self { x: groups.iter().map(|(x, _)| *x).collect(), summaries })
    }

    /// Points (index, y) of eigenfunctions, from 1, summarized by their index, and the median of
    /// those of index 0, the class task.
    ///
    /// # Errors
    /// As [`of_points`](Self::of_points), for either.
    pub fn of_tasks(points: impl Iterator<Item = (usize, f64)>) -> Result<(Self, f64)> {
        let points = points.map(|(index, y)| (index as f64, y));
        let (class, eigen): (Vec<_>, Vec<_>) = points.partition(|(index, _)| *index == 0.0);
        Ok((Self::of_points(&eigen)?, Self::of_points(&class)?.summaries[0].median))
    }

    /// The summaries, in the order of `x`.
    pub fn summaries(&self) -> &[Summary] {
        &self.summaries
    }

    /// The points (x, median).
    pub fn medians(&self) -> Vec<(f64, f64)> {
        self.x.iter().zip(&self.summaries).map(|(&x, summary)| (x, summary.median)).collect()
    }

    /// The (min, max) pairs, in the order of `x`.
    pub fn extremes(&self) -> Vec<(f64, f64)> {
        self.summaries.iter().map(|summary| (summary.min, summary.max)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_its_own_summary() {
        assert_eq!(summarize(&[4.0]), Some(Summary { median: 4.0, min: 4.0, max: 4.0 }));
        assert_eq!(summarize(&[]), None);
        assert_eq!(summarize(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn points_are_grouped_by_x() -> Result<()> {
        let points = [(1.0, 5.0), (3.0, 2.0), (1.0, 7.0), (3.0, 1.0), (1.0, 6.0)];
        let bands = Bands::of_points(&points)?;
        assert_eq!(bands.medians(), [(1.0, 6.0), (3.0, 1.5)]);
        assert_eq!(bands.extremes(), [(5.0, 7.0), (1.0, 2.0)]);
        assert!(Bands::of_points(&[]).is_err() && Bands::of_points(&[(1.0, f64::NAN)]).is_err());
        Ok(())
    }
}
