//! A A^T and A^T A of an operator A, as operators: in come columns, out go their images by two
//! products. Solvers of eigenpairs and of singular triplets call them.

use crate::{
    dense::vector::zeros,
    entries::EntryType,
    error::Result,
    kernel::operator::{LinearOperator, SymmetricOperator, check_finite, check_images},
};

/// The Gram A A^T of the rows of an operator, as an operator.
///
/// A product costs one with A^T and one with A. With A the Jacobian of a model it is the kernel.
///
/// ```
/// use entk_spectral::{CrossGram, RowGram, SymmetricOperator};
///
/// let a = CrossGram::from_f64(2, 3, vec![1.0, 2.0, 0.0, 0.0, 1.0, 1.0])?;
/// let mut image = [0.0; 2];
/// RowGram::new(&a).apply(&[1.0, 0.0], &mut image)?;
/// assert_eq!(image, [5.0, 2.0]);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RowGram<'a, A: ?Sized> {
    operator: &'a A,
}

impl<'a, A: LinearOperator + ?Sized> RowGram<'a, A> {
    /// A A^T for this A.
    pub fn new(operator: &'a A) -> Self {
        Self { operator }
    }
}

impl<A: LinearOperator + ?Sized> SymmetricOperator for RowGram<'_, A> {
    fn n(&self) -> usize {
        self.operator.rows()
    }

    fn entry_type(&self) -> EntryType {
        self.operator.entry_type()
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        let (m, n) = (self.operator.rows(), self.operator.cols());
        let count = check_images(columns, m, images, m)?;
        let mut between = zeros(n * count, "images of the columns")?;
        self.operator.apply_transposed(columns, &mut between)?;
        check_finite(&between, n)?;
        self.operator.apply(&between, images)
    }

    fn block(&self) -> usize {
        self.operator.block()
    }
}

/// The Gram A^T A of the columns of an operator, as an operator: the positive eigenvalues of
/// [`RowGram`], by [`LinearOperator::apply_column_gram`].
#[derive(Clone, Copy, Debug)]
pub struct ColumnGram<'a, A: ?Sized> {
    operator: &'a A,
}

impl<'a, A: LinearOperator + ?Sized> ColumnGram<'a, A> {
    /// A^T A for this A.
    pub fn new(operator: &'a A) -> Self {
        Self { operator }
    }
}

impl<A: LinearOperator + ?Sized> SymmetricOperator for ColumnGram<'_, A> {
    fn n(&self) -> usize {
        self.operator.cols()
    }

    fn entry_type(&self) -> EntryType {
        self.operator.entry_type()
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> Result<()> {
        self.operator.apply_column_gram(columns, images)
    }

    fn block(&self) -> usize {
        self.operator.block()
    }
}
