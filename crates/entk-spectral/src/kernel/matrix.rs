//! The rectangular table of finite entries behind `Gram` and `CrossGram`, row by row in f32 or f64:
//! access, parts, and sums and products in f64. `Gram` and `CrossGram` call it; the operators call
//! its check of a shape only.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

use crate::{
    dense::vector::{BinaryScale, check_stack, check_vector, dot, max_abs},
    entries::{Entries, EntryType, Scalar, Storage, with_entries},
    error::{Result, SpectralError},
    kernel::products::widen,
};

/// Rows of the product that one task computes.
const PANEL_ROWS: usize = 128;
/// Columns widened to f64 at a time: with the rows, 512 KiB, within an L2 cache.
const PANEL_COLS: usize = 512;
/// Fewest rows that are worth a task of their own in row-wise sweeps.
const MIN_ROWS: usize = 16;

#[derive(Clone, PartialEq)]
pub(crate) struct Matrix {
    storage: Storage,
    rows: usize,
    cols: usize,
}

impl Matrix {
    /// Wraps entries whose length and finiteness the caller has checked.
    pub(crate) fn from_checked(storage: Storage, rows: usize, cols: usize) -> Self {
        Self { storage, rows, cols }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    pub(crate) fn entries(&self) -> Entries<'_> {
        self.storage.view()
    }

    pub(crate) fn entry_type(&self) -> EntryType {
        match self.storage {
            Storage::F32(_) => EntryType::F32,
            Storage::F64(_) => EntryType::F64,
        }
    }

    /// Entry (i, j); panics out of range, as a slice does.
    pub(crate) fn get(&self, i: usize, j: usize) -> f64 {
        assert!(
            i < self.rows && j < self.cols,
            "entry ({i}, {j}) of a {} x {} kernel",
            self.rows,
            self.cols
        );
        let at = i * self.cols + j;
        with_entries!(self.entries(), x => x[at].widen())
    }

    /// Row i; panics out of range, as a slice does.
    pub(crate) fn row(&self, i: usize) -> Entries<'_> {
        let range = i * self.cols..(i + 1) * self.cols;
        match &self.storage {
            Storage::F32(x) => Entries::F32(&x[range]),
            Storage::F64(x) => Entries::F64(&x[range]),
        }
    }

    pub(crate) fn max_abs(&self) -> f64 {
        with_entries!(self.entries(), x => x
            .par_chunks(self.cols)
            .map(max_abs)
            .reduce(|| 0.0, f64::max))
    }

    /// Square root of the sum of squares, safe from overflow.
    pub(crate) fn frobenius(&self) -> f64 {
        let scale = BinaryScale::of(self.max_abs());
        let rows: Vec<f64> = with_entries!(self.entries(), x => x
            .par_chunks(self.cols)
            .map(|row| row.iter().map(|x| scale.down(x.widen())).map(|x| x * x).sum())
            .collect());
        scale.up(rows.iter().sum::<f64>().sqrt())
    }

    /// A copy in f64.
    pub(crate) fn to_f64(&self) -> Self {
        Self::from_checked(Storage::F64(self.entries().to_f64_vec()), self.rows, self.cols)
    }

    /// The entries at the given rows and columns, in that order.
    pub(crate) fn gather(&self, rows: &[usize], cols: &[usize]) -> Result<Self> {
        check_indices(rows, self.rows)?;
        check_indices(cols, self.cols)?;
        check_area("block of the kernel", rows.len(), cols.len())?;
        let storage = match &self.storage {
            Storage::F32(x) => Storage::F32(gather(x, self.cols, rows, cols)),
            Storage::F64(x) => Storage::F64(gather(x, self.cols, rows, cols)),
        };
        Ok(Self::from_checked(storage, rows.len(), cols.len()))
    }

    /// y = K x, one fixed-order f64 dot product per row.
    pub(crate) fn matvec(&self, x: &[f64]) -> Result<Vec<f64>> {
        check_vector(x, self.cols)?;
        finite_product(with_entries!(self.entries(), k => matvec(k, x)))
    }

    /// Y = K X for a stack of columns, each contiguous.
    pub(crate) fn product(&self, columns: &[f64]) -> Result<Vec<f64>> {
        let count = check_stack(columns, self.cols)?;
        if count == 1 {
            return self.matvec(columns);
        }
        let panels: Vec<Vec<f64>> = (0..self.rows.div_ceil(PANEL_ROWS))
            .into_par_iter()
            .map(|p| self.panel_product(p * PANEL_ROWS, columns, count))
            .collect();
        finite_product(stack_panels(&panels, self.rows, count))
    }

    /// Rows `first..first + PANEL_ROWS` of K X, column by column.
    fn panel_product(&self, first: usize, columns: &[f64], count: usize) -> Vec<f64> {
        let rows = PANEL_ROWS.min(self.rows - first);
        let x = MatRef::from_column_major_slice(columns, self.cols, count);
        let mut panel = vec![0.0; rows * count];
        let mut y = MatMut::from_column_major_slice_mut(&mut panel, rows, count);
        let mut tile = Vec::with_capacity(rows * PANEL_COLS.min(self.cols));
        for start in (0..self.cols).step_by(PANEL_COLS) {
            let width = PANEL_COLS.min(self.cols - start);
            with_entries!(self.entries(), k => {
                widen(k, self.cols, first..first + rows, start, width, &mut tile)
            });
            let k = MatRef::from_row_major_slice(&tile, rows, width);
            matmul(y.as_mut(), Accum::Add, k, x.subrows(start, width), 1.0, Par::Seq);
        }
        panel
    }
}

/// Number of entries of a non-empty `rows` x `cols` matrix.
pub(crate) fn check_area(what: &'static str, rows: usize, cols: usize) -> Result<usize> {
    if rows == 0 || cols == 0 {
        return Err(SpectralError::Empty { what, rows, cols });
    }
    rows.checked_mul(cols).ok_or(SpectralError::TooLarge { rows, cols })
}

/// Checks that a buffer is exactly the given non-empty shape.
pub(crate) fn check_shape(
    what: &'static str,
    rows: usize,
    cols: usize,
    found: usize,
) -> Result<()> {
    let expected = check_area(what, rows, cols)?;
    if found == expected {
        Ok(())
    } else {
        Err(SpectralError::BufferLength { what, expected, found })
    }
}

/// Finds the first non-finite entry among the first `reach(i)` of each row i.
pub(crate) fn check_finite<T: Scalar>(
    entries: &[T],
    cols: usize,
    reach: impl Fn(usize) -> usize + Sync,
) -> Result<()> {
    let bad = entries.par_chunks(cols).enumerate().find_map_first(|(row, x)| {
        let col = x[..reach(row)].iter().position(|x| !x.widen().is_finite())?;
        Some(SpectralError::NonFiniteEntry { row, col, value: x[col].widen() })
    });
    bad.map_or(Ok(()), Err)
}

fn check_indices(indices: &[usize], len: usize) -> Result<()> {
    match indices.iter().find(|&&i| i >= len) {
        Some(&index) => Err(SpectralError::IndexOutOfRange { what: "sample", index, len }),
        None => Ok(()),
    }
}

fn gather<T: Scalar>(entries: &[T], width: usize, rows: &[usize], cols: &[usize]) -> Vec<T> {
    let row = |&i: &usize| &entries[i * width..(i + 1) * width];
    rows.iter().map(row).flat_map(|row| cols.iter().map(|&j| row[j])).collect()
}

fn matvec<T: Scalar>(entries: &[T], x: &[f64]) -> Vec<f64> {
    entries.par_chunks(x.len()).with_min_len(MIN_ROWS).map(|row| dot(row, x)).collect()
}

/// Joins the row panels of a product into whole columns.
fn stack_panels(panels: &[Vec<f64>], rows: usize, count: usize) -> Vec<f64> {
    let mut columns = Vec::with_capacity(rows * count);
    for c in 0..count {
        for panel in panels {
            let height = panel.len() / count;
            columns.extend_from_slice(&panel[c * height..(c + 1) * height]);
        }
    }
    columns
}

fn finite_product(y: Vec<f64>) -> Result<Vec<f64>> {
    if y.iter().all(|y| y.is_finite()) {
        Ok(y)
    } else {
        Err(SpectralError::Overflow { quantity: "product of kernel and vector" })
    }
}
