//! Which entries of an axis each output reads, and with which weight: sizes of windows, resampling
//! and choices become one table, which the loops beside this file and their transposes run through.

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
}
