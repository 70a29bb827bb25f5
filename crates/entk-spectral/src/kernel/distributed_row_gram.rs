//! A A^T of an operator A whose rows several ranks share: in come the bands of rows of A that a
//! rank holds, out goes an operator over the ranks. Matrix-free kernels of distributed examples are
//! solved by it.

use crate::{
    dense::vector::zeros,
    entries::EntryType,
    error::{Result, SpectralError},
    kernel::operator::{LinearOperator, check_finite, check_images},
    ranks::{operator::DistributedOperator, row_bands::RowBands},
};

/// The Gram A A^T of the rows of an operator A (N x P), distributed by rows over ranks.
///
/// A product costs one with the transpose of each band, whose images are summed over all bands of
/// all ranks ([`RowBands::sum`]), and one with each band: the same bits for any number of ranks.
/// What a rank sends are P numbers a column, and not its rows.
///
/// ```
/// use entk_spectral::{
///     CrossGram, DistributedOperator, DistributedRowGram, OneRank, Ranks, RowBands,
/// };
///
/// // The rows (1, 2) and (0, 1), and the row (3, 0).
/// let ranks = Ranks::new(&OneRank);
/// let bands = vec![
///     CrossGram::from_f64(2, 2, vec![1.0, 2.0, 0.0, 1.0])?,
///     CrossGram::from_f64(1, 2, vec![3.0, 0.0])?,
/// ];
/// let gram = DistributedRowGram::new(bands, RowBands::new(&ranks, 3, 2)?)?;
/// let mut image = [0.0; 3];
/// gram.apply_own(&[1.0, 0.0, 0.0], &mut image)?;
/// assert_eq!(image, [5.0, 2.0, 3.0]);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub struct DistributedRowGram<'a, A> {
    bands: Vec<A>,
    rows: RowBands<'a>,
    cols: usize,
}

impl<'a, A: LinearOperator> DistributedRowGram<'a, A> {
    /// A A^T for the bands of A that this rank holds, in their order.
    ///
    /// # Errors
    /// [`BufferLength`](SpectralError::BufferLength) unless there is an operator for each band of
    /// this rank, of as many rows, and all have the same number of columns.
    pub fn new(bands: Vec<A>, rows: RowBands<'a>) -> Result<Self> {
        let wrong = |what, expected, found| SpectralError::BufferLength { what, expected, found };
        let expected = rows.own_bands().count();
        if bands.len() != expected {
            return Err(wrong("bands of this rank", expected, bands.len()));
        }
        let cols = bands.first().map_or(0, LinearOperator::cols);
        for (band, own) in bands.iter().zip(rows.own_bands()) {
            if band.rows() != own.len() {
                return Err(wrong("rows of a band", own.len(), band.rows()));
            }
            if band.cols() != cols {
                return Err(wrong("columns of a band", cols, band.cols()));
            }
        }
        Ok(Self { bands, rows, cols })
    }

    /// The bands with the rows of `columns` that belong to each.
    fn each<'b>(&'b self, columns: &'b [f64]) -> impl Iterator<Item = (&'b A, Vec<f64>)> {
        let own = self.rows.own().len();
        self.bands.iter().zip(self.rows.own_bands()).map(move |(band, rows)| {
            let part = columns.chunks_exact(own).flat_map(|column| &column[rows.clone()]);
            (band, part.copied().collect())
        })
    }
}

impl<A: LinearOperator> DistributedOperator for DistributedRowGram<'_, A> {
    fn rows(&self) -> RowBands<'_> {
        self.rows
    }

    fn entry_type(&self) -> EntryType {
        self.bands.first().map_or(EntryType::F64, LinearOperator::entry_type)
    }

    fn block(&self) -> usize {
        self.bands.first().map_or(32, LinearOperator::block)
    }

    fn apply_own(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let own = self.rows.own().len();
        let count = check_images(columns, own, images, own)?;
        let transposed = |(band, part): (&A, Vec<f64>)| {
            let mut image = zeros(self.cols * count, "images of the columns")?;
            band.apply_transposed(&part, &mut image)?;
            check_finite(&image, self.cols)?;
            Ok(image)
        };
        let between = self.rows.sum(self.each(columns).map(transposed))?;
        for (band, rows) in self.bands.iter().zip(self.rows.own_bands()) {
            let mut part = zeros(rows.len() * count, "images of the columns")?;
            band.apply(&between, &mut part)?;
            for (image, part) in images.chunks_exact_mut(own).zip(part.chunks_exact(rows.len())) {
                image[rows.clone()].copy_from_slice(part);
            }
        }
        Ok(())
    }
}
