//! Which entries of an axis each output reads, and with which weight: sizes of windows, resampling
//! and choices become one table, which the loops beside this file and their transposes run through.

use std::collections::BTreeMap;

/// For every output along an axis the entries that it reads, ascending for windows, and a weight of
/// each: a sparse matrix (outputs, inputs), row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AxisTaps {
    input: usize,
    ends: Vec<usize>,
    taps: Vec<(usize, f64)>,
}

impl AxisTaps {
    /// The table of an axis of `input` entries whose outputs read these `(entry, weight)`. Weights
    /// of exactly zero are left out.
    pub(crate) fn new<R: IntoIterator<Item = (usize, f64)>>(
        input: usize,
        outputs: impl IntoIterator<Item = R>,
    ) -> Self {
        let (mut ends, mut taps) = (Vec::new(), Vec::new());
        for output in outputs {
            taps.extend(output.into_iter().filter(|(_, weight)| *weight != 0.0));
            ends.push(taps.len());
        }
        Self { input, ends, taps }
    }

    /// Each output is the entry of this number.
    pub(crate) fn chosen(input: usize, entries: impl IntoIterator<Item = usize>) -> Self {
        Self::new(input, entries.into_iter().map(|entry| [(entry, 1.0)]))
    }

    /// Every output is its entry.
    pub(crate) fn identity(size: usize) -> Self {
        Self::chosen(size, 0..size)
    }

    /// Length of the axis that is read.
    pub(crate) fn inputs(&self) -> usize {
        self.input
    }

    /// Length of the axis that is made.
    pub(crate) fn outputs(&self) -> usize {
        self.ends.len()
    }

    /// What each output reads, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[(usize, f64)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.taps[start..*end])
    }

    /// The matrix transposed: for every entry the outputs that read it, ascending.
    pub(crate) fn transposed(&self) -> Self {
        let mut readers = vec![Vec::new(); self.input];
        for (output, taps) in self.iter().enumerate() {
            taps.iter().for_each(|(entry, weight)| readers[*entry].push((output, *weight)));
        }
        Self::new(self.outputs(), readers)
    }

    /// Most entries that an output reads.
    pub(crate) fn most(&self) -> usize {
        self.iter().map(<[_]>::len).max().unwrap_or(0)
    }
}

/// Taps of one weight in a row: for t below `count`, output `output + t step` reads entry
/// `entry + t step`, each with its step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Run {
    pub(crate) entry: usize,
    pub(crate) output: usize,
    pub(crate) count: usize,
    pub(crate) weight: f64,
}

/// A table as runs, so that loops over outputs go through memory at fixed steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Runs {
    /// From one entry of a run to the next.
    pub(crate) entries: usize,
    /// From one output of a run to the next.
    pub(crate) outputs: usize,
    pub(crate) runs: Vec<Run>,
}

impl AxisTaps {
    /// Runs of neighbouring outputs; those of any one output are in the order of its entries.
    pub(crate) fn runs_of_outputs(&self) -> Runs {
        let step = self.step();
        let mut diagonals: BTreeMap<isize, Vec<Run>> = BTreeMap::new();
        for (output, taps) in self.iter().enumerate() {
            for &(entry, weight) in taps {
                let runs = diagonals.entry(entry as isize - (output * step) as isize).or_default();
                match runs.last_mut() {
                    Some(run) if run.output + run.count == output && run.weight == weight => {
                        run.count += 1;
                    }
                    _ => runs.push(Run { entry, output, count: 1, weight }),
                }
            }
        }
        Runs { entries: step, outputs: 1, runs: diagonals.into_values().flatten().collect() }
    }

    /// Runs of neighbouring outputs, or of neighbouring entries where these are fewer.
    pub(crate) fn runs(&self) -> Runs {
        if self.outputs() <= self.inputs() {
            return self.runs_of_outputs();
        }
        let Runs { entries, outputs, runs } = self.transposed().runs_of_outputs();
        let swapped = |run: Run| Run { entry: run.output, output: run.entry, ..run };
        Runs { entries: outputs, outputs: entries, runs: runs.into_iter().map(swapped).collect() }
    }

    /// Entries from one output to the next, in the middle of the axis.
    fn step(&self) -> usize {
        let middle = self.outputs() / 2;
        let mut firsts = self.iter().skip(middle.saturating_sub(1)).map(<[_]>::first);
        match (firsts.next().flatten(), firsts.next().flatten()) {
            (Some(a), Some(b)) => b.0.saturating_sub(a.0).max(1),
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_is_the_table_itself() {
        let taps = AxisTaps::new(5, [vec![(0, 1.0), (3, 2.0)], vec![], vec![(3, 0.5), (4, 0.0)]]);
        assert_eq!((taps.inputs(), taps.outputs(), taps.most()), (5, 3, 2));
        let transposed = taps.transposed();
        let rows: Vec<_> = transposed.iter().map(<[_]>::to_vec).collect();
        assert_eq!(rows, [vec![(0, 1.0)], vec![], vec![], vec![(0, 2.0), (2, 0.5)], vec![]]);
        assert_eq!(transposed.transposed(), taps);
    }

    #[test]
    fn runs_are_the_taps_of_the_table() {
        let overlapping = (0..4).map(|j| (2 * j..2 * j + 3).map(|entry| (entry.min(8), 0.5)));
        let tables = [
            AxisTaps::new(9, overlapping),
            AxisTaps::new(5, [vec![(0, 1.0), (3, 2.0)], vec![], vec![(3, 0.5), (3, 1.5)]]),
            AxisTaps::chosen(3, [0, 0, 1, 1, 2, 2]),
            AxisTaps::chosen(6, [4, 5, 0, 1, 2, 3]),
        ];
        for (taps, most) in tables.iter().zip([3, 4, 2, 2]) {
            for (taps, most) in [(taps, most), (&taps.transposed(), 2 * most)] {
                let runs = taps.runs();
                assert!(runs.runs.len() <= most, "{runs:?}");
                let mut rows = vec![Vec::new(); taps.outputs()];
                for run in &runs.runs {
                    for t in 0..run.count {
                        let entry = run.entry + t * runs.entries;
                        rows[run.output + t * runs.outputs].push((entry, run.weight));
                    }
                }
                rows.iter_mut().for_each(|row| row.sort_by_key(|tap| tap.0));
                assert!(rows.iter().map(Vec::as_slice).eq(taps.iter()), "{runs:?}");
            }
        }
    }
}
