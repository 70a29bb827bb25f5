//! Who holds which rows of vectors with N entries: in come ranks and the rows of a band, out go the
//! rows of each rank, whole columns, and sums over all rows. Distributed operators and the solver
//! call it.

use std::ops::Range;

use crate::{
    error::{Result, SpectralError},
    ranks::{
        communicator::Ranks,
        pairwise::{Subtree, push, subtrees, total},
    },
};

/// Rows of a band where nothing asks for another number.
pub(crate) const BAND: usize = 4096;

/// Vectors of N entries, cut into bands of a fixed number of rows (the last may be shorter), of
/// which every rank holds consecutive ones.
///
/// A sum over rows is one over bands, added along a binary tree over all bands: its bits depend on
/// the band, not on the number of ranks.
#[derive(Clone, Copy, Debug)]
pub struct RowBands<'a> {
    ranks: &'a Ranks<'a>,
    n: usize,
    band: usize,
}

impl<'a> RowBands<'a> {
    /// Cuts N rows into bands of `band` rows.
    ///
    /// # Errors
    /// [`Empty`](SpectralError::Empty) for N = 0, [`InvalidSetting`](SpectralError::InvalidSetting)
    /// for a band of 0, [`TooManyRanks`](SpectralError::TooManyRanks) for fewer bands than ranks.
    pub fn new(ranks: &'a Ranks<'a>, n: usize, band: usize) -> Result<Self> {
        if n == 0 {
            return Err(SpectralError::Empty { what: "operator", rows: 0, cols: 0 });
        }
        if band == 0 {
            return Err(SpectralError::InvalidSetting { field: "band", expected: "at least 1" });
        }
        let (size, bands) = (ranks.size(), n.div_ceil(band));
        if size > bands {
            return Err(SpectralError::TooManyRanks { ranks: size, n, band, bands });
        }
        Ok(Self { ranks, n, band })
    }

    /// The ranks.
    pub fn ranks(&self) -> &'a Ranks<'a> {
        self.ranks
    }

    /// Entries N of a whole vector.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Rows of a band.
    pub fn band(&self) -> usize {
        self.band
    }

    /// How many bands there are on all ranks.
    pub fn bands(&self) -> usize {
        self.n.div_ceil(self.band)
    }

    /// The bands of a rank; shares differ by at most one.
    pub fn bands_of(&self, rank: usize) -> Range<usize> {
        let share = |rank: usize| rank * self.bands() / self.ranks.size();
        share(rank)..share(rank + 1)
    }

    /// The rows of a rank.
    pub fn rows_of(&self, rank: usize) -> Range<usize> {
        let bands = self.bands_of(rank);
        bands.start * self.band..self.n.min(bands.end * self.band)
    }

    /// The rows of this rank.
    pub fn own(&self) -> Range<usize> {
        self.rows_of(self.ranks.rank())
    }

    /// Whole columns, one after the other, of which each rank passes its rows. Called by every
    /// rank.
    ///
    /// # Errors
    /// As [`Ranks::all_gather`].
    pub fn gather(&self, own: &[f64]) -> Result<Vec<f64>> {
        if self.ranks.size() == 1 {
            return Ok(own.to_vec());
        }
        let all = self.ranks.all_gather(own)?;
        let count = all.len() / self.n;
        let (mut whole, mut rest) = (vec![0.0; all.len()], all.as_slice());
        for rank in 0..self.ranks.size() {
            let rows = self.rows_of(rank);
            let (part, after) = rest.split_at(rows.len() * count);
            rest = after;
            for (column, part) in whole.chunks_exact_mut(self.n).zip(part.chunks_exact(rows.len()))
            {
                column[rows.clone()].copy_from_slice(part);
            }
        }
        Ok(whole)
    }

    /// The sum over all bands of equally many numbers each, of which this rank passes those of its
    /// bands in their order. Called by every rank.
    ///
    /// Memory and traffic: as many times the numbers as the ranks' bands have subtrees of 2^l
    /// bands, at most 2 log2 of them a rank.
    ///
    /// # Errors
    /// The first of a band, and as [`Ranks::all_gather`].
    pub fn sum(&self, own: impl IntoIterator<Item = Result<Vec<f64>>>) -> Result<Vec<f64>> {
        let (mut here, bands) = (Vec::new(), self.bands_of(self.ranks.rank()));
        for (band, terms) in bands.zip(own) {
            push(&mut here, Subtree::band(band, terms?));
        }
        if self.ranks.size() == 1 {
            return Ok(total(here));
        }
        let len = here.first().map_or(0, |subtree| subtree.sum.len());
        let own: Vec<f64> = here.into_iter().flat_map(|subtree| subtree.sum).collect();
        let all = self.ranks.all_gather(&own)?;
        let (mut sums, mut joined) = (all.chunks_exact(len.max(1)), Vec::new());
        for mut subtree in (0..self.ranks.size()).flat_map(|rank| subtrees(self.bands_of(rank))) {
            subtree.sum = sums.next().unwrap_or_default().to_vec();
            push(&mut joined, subtree);
        }
        Ok(total(joined))
    }

    /// Where the bands of this rank lie in its own rows.
    pub(crate) fn own_bands(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (band, rows) = (self.band, self.own().len());
        (0..rows).step_by(band).map(move |start| start..rows.min(start + band))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::communicator::{Communicator, OneRank};

    /// One of several ranks, which knows who it is and nothing else.
    struct Alone(usize, usize);

    impl Communicator for Alone {
        fn rank(&self) -> usize {
            self.0
        }

        fn size(&self) -> usize {
            self.1
        }

        fn all_gather(&self, _: &[f64], _: &[usize], _: &mut [f64]) -> Result<()> {
            Err(SpectralError::OtherRank { rank: 0 })
        }
    }

    #[test]
    fn ranks_share_all_rows_in_whole_bands() {
        for (n, band, size) in [(10, 3, 1), (10, 3, 2), (10, 3, 3), (10, 3, 4), (64, 1, 7)] {
            let mut next = 0;
            for rank in 0..size {
                let alone = Alone(rank, size);
                let ranks = Ranks::new(&alone);
                let rows = RowBands::new(&ranks, n, band).unwrap();
                assert_eq!(rows.own().start, next);
                assert!(rows.own().start.is_multiple_of(band) && !rows.own().is_empty());
                assert_eq!(rows.own_bands().count(), rows.bands_of(rank).len());
                next = rows.own().end;
            }
            assert_eq!(next, n);
        }
    }

    #[test]
    fn more_ranks_than_bands_and_empty_sizes_are_refused() {
        let alone = Alone(0, 3);
        let ranks = Ranks::new(&alone);
        let refused = |n, band| RowBands::new(&ranks, n, band).map(|_| ()).unwrap_err();
        let (ranks, n, band, bands) = (3, 10, 5, 2);
        assert_eq!(refused(10, 5), SpectralError::TooManyRanks { ranks, n, band, bands });
        assert!(matches!(refused(0, 5), SpectralError::Empty { .. }));
        assert!(matches!(refused(10, 0), SpectralError::InvalidSetting { .. }));
    }

    #[test]
    fn sums_of_any_shares_are_those_of_one_rank() {
        let term = |band: usize| vec![1.0 / (1.0 + band as f64), (band as f64).sin()];
        for bands in 1..20 {
            let ranks = Ranks::new(&OneRank);
            let rows = RowBands::new(&ranks, bands, 1).unwrap();
            let expected = rows.sum((0..bands).map(|band| Ok(term(band)))).unwrap();
            for cut in 1..bands {
                let mut joined = Vec::new();
                for own in [0..cut, cut..bands] {
                    let mut here = Vec::new();
                    own.clone().for_each(|band| push(&mut here, Subtree::band(band, term(band))));
                    for (mut subtree, known) in subtrees(own).into_iter().zip(here) {
                        subtree.sum = known.sum;
                        push(&mut joined, subtree);
                    }
                }
                assert_eq!(total(joined), expected);
            }
        }
    }
}
