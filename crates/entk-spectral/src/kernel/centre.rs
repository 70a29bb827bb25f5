//! Kernels without their mean gradient: in comes a Gram K, out goes H K H with H = I - 1 1^T / N,
//! as a Gram for a user and row by row for `centred_kernel_alignment`.

use rayon::prelude::*;

use crate::{
    dense::vector::BinaryScale,
    entries::{Entries, EntryType},
    error::Result,
    kernel::gram::Gram,
};

impl Gram {
    /// H K H with H = I - 1 1^T / N: the Gram of the gradients minus their mean over the sample,
    /// entry (i, j) = (grad f(x_i) - mean) . (grad f(x_j) - mean).
    ///
    /// Where the gradients have much in common, most of the trace lies along the constant vector;
    /// here that eigenvalue is 0, and the eigenvectors of the others have mean 0. Sums are in f64;
    /// entries are rounded once, to the type of K's entries. Digits that K has lost do not come
    /// back: the round-off of its entries is relative to their own size, not to that of the
    /// differences.
    ///
    /// Cost: two passes over the entries, and a second kernel of memory. The bits do not depend on
    /// the number of threads.
    ///
    /// # Errors
    /// [`NonFiniteEntry`](crate::SpectralError::NonFiniteEntry) for a difference that does not fit
    /// the type of K's entries.
    ///
    /// ```
    /// use entk_spectral::Gram;
    ///
    /// // Features (1, x) at x = -1, 0, 4: the constant one goes, x keeps its distance from 1.
    /// let gram = Gram::from_lower_f64(3, vec![2.0, 0., 0., 1.0, 1.0, 0., -3.0, 1.0, 17.0])?;
    /// assert_eq!(gram.centred()?.row(0).to_f64_vec(), [4.0, 2.0, -6.0]);
    /// # Ok::<(), entk_spectral::SpectralError>(())
    /// ```
    pub fn centred(&self) -> Result<Self> {
        let (n, means) = (self.n(), Means::of(self));
        let rows = (0..n).into_par_iter().map(|i| {
            let row = means.centred(self.row(i), i);
            row.into_iter().map(|x| means.scale.up(x))
        });
        match self.entry_type() {
            EntryType::F32 => {
                Self::from_lower_f32(n, rows.flat_map_iter(|row| row.map(|x| x as f32)).collect())
            }
            EntryType::F64 => Self::from_lower_f64(n, rows.flat_map_iter(|row| row).collect()),
        }
    }
}

/// Means of a kernel divided by its scale.
pub(crate) struct Means {
    scale: BinaryScale,
    rows: Vec<f64>,
    all: f64,
}

impl Means {
    pub(crate) fn of(gram: &Gram) -> Self {
        let (n, scale) = (gram.n(), BinaryScale::of(gram.max_abs()));
        let mean = |x: &[f64]| x.iter().sum::<f64>() / n as f64;
        let rows: Vec<f64> =
            (0..n).into_par_iter().map(|i| mean(&scaled(gram.row(i), scale))).collect();
        let all = mean(&rows);
        Self { scale, rows, all }
    }

    /// Row i of H K H, divided by the scale.
    pub(crate) fn centred(&self, row: Entries<'_>, i: usize) -> Vec<f64> {
        let mut row = scaled(row, self.scale);
        for (x, mean) in row.iter_mut().zip(&self.rows) {
            *x += self.all - self.rows[i] - mean;
        }
        row
    }
}

fn scaled(row: Entries<'_>, scale: BinaryScale) -> Vec<f64> {
    row.to_f64_vec().into_iter().map(|x| scale.down(x)).collect()
}
