//! The blocks of a kernel of several outputs: in come the rows of the whole, out go the kernels of
//! single outputs, those between two outputs, and their sums. Whoever has computed a full kernel
//! calls it in place of computing these again.

use std::ops::Range;

use crate::{
    entries::{Entries, EntryType},
    error::{Result, SpectralError},
    kernel::{cross::CrossGram, gram::Gram, rows::KernelRows},
};

/// The C x C blocks `K_cc'[n, m] = K[n C + c, m C + c']`, each N x N, of a kernel of N C rows: in
/// memory, or in a store.
///
/// `K_c'c` is the transpose of `K_cc'`, so that the C (C + 1) / 2 blocks with c <= c' are all.
/// Entries keep their type; nothing is normalised. A block reads the rows of one output and takes
/// 8 N^2 bytes, and N^2 entries.
///
/// ```
/// use entk_spectral::{Gram, OutputBlocks};
///
/// // Two examples of two outputs; the lower triangle.
/// let full = Gram::from_lower_f64(
///     4,
///     vec![
///         5.0, 0.0, 0.0, 0.0, //
///         1.0, 6.0, 0.0, 0.0, //
///         2.0, 3.0, 7.0, 0.0, //
///         4.0, 0.5, 1.5, 8.0,
///     ],
/// )?;
/// let blocks = OutputBlocks::new(&full, 2)?;
/// assert_eq!(blocks.gram(0)?.entries().to_f64_vec(), [5.0, 2.0, 2.0, 7.0]);
/// assert_eq!(blocks.cross(0, 1)?.entries().to_f64_vec(), [1.0, 4.0, 3.0, 1.5]);
/// assert_eq!(blocks.trace()?.entries().to_f64_vec(), [11.0, 2.5, 2.5, 15.0]);
/// assert_eq!(blocks.sum()?.get(1, 0), 2.0 + 3.0 + 4.0 + 0.5);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct OutputBlocks<'a> {
    full: &'a dyn KernelRows,
    outputs: usize,
}

impl<'a> OutputBlocks<'a> {
    /// The blocks of a kernel of so many outputs C, rows `n C + c`.
    ///
    /// # Errors
    /// [`OutputRows`](SpectralError::OutputRows) unless its rows are a multiple of C >= 1.
    pub fn new(full: &'a dyn KernelRows, outputs: usize) -> Result<Self> {
        let rows = full.n();
        match rows.checked_rem(outputs) {
            Some(0) => Ok(Self { full, outputs }),
            _ => Err(SpectralError::OutputRows { rows, outputs }),
        }
    }

    /// Number of examples N.
    pub fn examples(&self) -> usize {
        self.full.n() / self.outputs
    }

    /// Number of outputs C.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The kernel of one output, `K_cc[n, m] = grad f_c(x_n) . grad f_c(x_m)`.
    ///
    /// # Errors
    /// [`IndexOutOfRange`](SpectralError::IndexOutOfRange), and those of reading rows.
    pub fn gram(&self, output: usize) -> Result<Gram> {
        self.check(output)?;
        let one = output..output + 1;
        let (entry, entries) = self.sum_over(one.clone(), |_| one.clone())?;
        match entry {
            EntryType::F64 => Gram::from_lower_f64(self.examples(), entries),
            EntryType::F32 => Gram::from_lower_f32(self.examples(), narrow(&entries)),
        }
    }

    /// The kernel between two outputs, `K_cc'[n, m] = grad f_c(x_n) . grad f_c'(x_m)`: rows are
    /// those of `left`, and for c unlike c' it is not symmetric.
    ///
    /// # Errors
    /// As [`gram`](Self::gram).
    pub fn cross(&self, left: usize, right: usize) -> Result<CrossGram> {
        self.check(left)?;
        self.check(right)?;
        let n = self.examples();
        let (entry, entries) = self.sum_over(left..left + 1, |_| right..right + 1)?;
        match entry {
            EntryType::F64 => CrossGram::from_f64(n, n, entries),
            EntryType::F32 => CrossGram::from_f32(n, n, narrow(&entries)),
        }
    }

    /// The trace over outputs, `sum_c K_cc`, in f64.
    ///
    /// # Errors
    /// Those of reading rows.
    pub fn trace(&self) -> Result<Gram> {
        let (_, entries) = self.sum_over(0..self.outputs, |c| c..c + 1)?;
        Gram::from_lower_f64(self.examples(), entries)
    }

    /// The kernel of the sum of all outputs, `sum_cc' K_cc'`, in f64.
    ///
    /// # Errors
    /// Those of reading rows.
    pub fn sum(&self) -> Result<Gram> {
        let (_, entries) = self.sum_over(0..self.outputs, |_| 0..self.outputs)?;
        Gram::from_lower_f64(self.examples(), entries)
    }

    fn check(&self, index: usize) -> Result<()> {
        let len = self.outputs;
        if index < len {
            return Ok(());
        }
        Err(SpectralError::IndexOutOfRange { what: "output", index, len })
    }

    /// The sum of the blocks with these rows and, for each, these columns; and how entries are
    /// stored.
    fn sum_over(
        &self,
        rows: Range<usize>,
        columns: impl Fn(usize) -> Range<usize>,
    ) -> Result<(EntryType, Vec<f64>)> {
        let (n, mut stored) = (self.examples(), EntryType::F64);
        let mut sums = vec![0.0; n * n];
        let mut buffer = Vec::new();
        for (example, sums) in sums.chunks_exact_mut(n).enumerate() {
            for output in rows.clone() {
                let row = self.row(example * self.outputs + output, &mut buffer)?;
                if let Entries::F32(_) = row {
                    stored = EntryType::F32;
                }
                for (m, sum) in sums.iter_mut().enumerate() {
                    let entry = |c: usize| row.get(m * self.outputs + c);
                    *sum += columns(output).map(entry).sum::<f64>();
                }
            }
        }
        Ok((stored, sums))
    }

    fn row<'b>(&'b self, index: usize, buffer: &'b mut Vec<f64>) -> Result<Entries<'b>> {
        let len = self.full.n();
        let out_of_range = SpectralError::IndexOutOfRange { what: "row", index, len };
        let Ok(at) = u32::try_from(index) else { return Err(out_of_range) };
        self.full.rows(&[at], buffer)?.pop().ok_or(out_of_range)
    }
}

/// Entries that were widened from f32.
fn narrow(entries: &[f64]) -> Vec<f32> {
    entries.iter().map(|entry| *entry as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries that tell their row and column; integers, so that sums are exact.
    fn full(examples: usize, outputs: usize) -> Result<Gram> {
        let rows = examples * outputs;
        let entry = |at: usize| ((at / rows) * 100 + at % rows) as f32;
        Gram::from_lower_f32(rows, (0..rows * rows).map(entry).collect())
    }

    #[test]
    fn blocks_are_entries_of_the_whole_and_sum_to_trace_and_sum() -> Result<()> {
        let (n, c) = (5, 3);
        let full = full(n, c)?;
        let blocks = OutputBlocks::new(&full, c)?;
        assert_eq!((blocks.examples(), blocks.outputs()), (n, c));
        let (trace, sum) = (blocks.trace()?, blocks.sum()?);
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let (mut diagonal, mut all) = (0.0, 0.0);
            for (a, b) in (0..c).flat_map(|a| (0..c).map(move |b| (a, b))) {
                let entry = full.get(i * c + a, j * c + b);
                assert_eq!(blocks.cross(a, b)?.get(i, j), entry);
                assert_eq!(blocks.cross(b, a)?.get(j, i), entry);
                if a == b {
                    assert_eq!(blocks.gram(a)?.get(i, j), entry);
                    diagonal += entry;
                }
                all += entry;
            }
            assert_eq!((trace.get(i, j), sum.get(i, j)), (diagonal, all));
        }
        assert_eq!(blocks.gram(0)?.entry_type(), EntryType::F32);
        Ok(())
    }

    #[test]
    fn wrong_numbers_of_outputs_are_refused() -> Result<()> {
        let full = full(4, 3)?;
        for outputs in [0, 5, 24] {
            let refused = OutputBlocks::new(&full, outputs).map(|_| ());
            assert_eq!(refused, Err(SpectralError::OutputRows { rows: 12, outputs }));
        }
        let blocks = OutputBlocks::new(&full, 3)?;
        let beyond = SpectralError::IndexOutOfRange { what: "output", index: 3, len: 3 };
        assert_eq!(blocks.gram(3).map(|_| ()), Err(beyond.clone()));
        assert_eq!(blocks.cross(0, 3).map(|_| ()), Err(beyond));
        Ok(())
    }
}
