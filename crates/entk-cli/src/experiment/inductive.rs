//! Eigenfunctions of the training images, extended to the test images: the kernel of all images
//! comes in, tasks and alignments of the extended functions go out. Called by `inductive`.

use anyhow::Result;
use entk::spectral::{
    AlignmentEstimate, BinaryTarget, Eigenpairs, Gram, extend, unbiased_alignments,
};

use crate::{
    experiment::{kernel::InitialKernel, tasks::Task},
    run::Run,
};

/// The test images are cut into so many blocks, fewer if there are few images; a standard error
/// comes from leaving out one block at a time.
const BLOCKS: usize = 20;

/// Eigenvectors of the kernel of the training images, as functions of any image:
/// phi_j(x) = sum over i of Theta(x, x_i) phi_j(i) / lambda_j.
#[derive(Debug)]
pub struct InductivePairs {
    pairs: Eigenpairs,
    /// phi_j at the test images, one function after the other.
    extended: Vec<f64>,
    test_gram: Gram,
}

impl InductivePairs {
    /// The `k` leading eigenfunctions of the first `train` images of the kernel, which are the
    /// training images.
    ///
    /// # Errors
    /// When the eigensolver fails, or [`extend`]: on an eigenvalue below the precision of the
    /// kernel.
    pub fn find(run: &Run, kernel: &InitialKernel, train: usize, k: usize) -> Result<Self> {
        let pairs = kernel.first(train)?.eigenpairs(run, k)?.truncate(k)?;
        let seen: Vec<usize> = (0..train).collect();
        let new: Vec<usize> = (train..kernel.gram.n()).collect();
        let extended = extend(&pairs, &kernel.gram.block(&new, &seen)?)?;
        Ok(Self { pairs, extended, test_gram: kernel.gram.principal(&new)? })
    }

    /// The task of each of `indices`, from 1: signs of phi_j on training and test images.
    ///
    /// # Errors
    /// An index beyond the pairs.
    pub fn tasks(&self, indices: &[usize]) -> Result<Vec<Task>> {
        let task = |&index: &usize| {
            let (value, seen) = self.pairs.pair(index - 1)?;
            let target = BinaryTarget::from_vector(&[seen, self.at_test(index)].concat())?;
            Ok(Task::binary(index, Some(value), &target))
        };
        indices.iter().map(task).collect()
    }

    /// The alignment of phi_j, scaled to mean square 1, on the training images: lambda_j / N.
    ///
    /// # Errors
    /// An index, from 1, beyond the pairs.
    pub fn alignment(&self, index: usize) -> Result<f64> {
        Ok(self.pairs.pair(index - 1)?.0 / self.pairs.dim() as f64)
    }

    /// The alignments of `indices` on the test images, each function scaled to mean square 1 there.
    /// They have no bias, since the functions do not depend on the test images.
    ///
    /// # Errors
    /// Less than four test images.
    pub fn test_alignments(&self, indices: &[usize]) -> Result<Vec<AlignmentEstimate>> {
        let n = self.test_gram.n();
        let scaled = |&index: &usize| {
            let phi = self.at_test(index);
            let root_mean_square = (phi.iter().map(|x| x * x).sum::<f64>() / n as f64).sqrt();
            phi.iter().map(move |x| x / root_mean_square).collect::<Vec<f64>>()
        };
        let functions: Vec<f64> = indices.iter().flat_map(scaled).collect();
        Ok(unbiased_alignments(&self.test_gram, &functions, BLOCKS.min(n / 2))?)
    }

    fn at_test(&self, index: usize) -> &[f64] {
        let n = self.test_gram.n();
        &self.extended[(index - 1) * n..index * n]
    }
}

/// Shares of labels on which two tasks agree: of the first `train` labels, and of the others. The
/// sign of an eigenvector is arbitrary; it is chosen so that at least half of the first ones agree.
pub fn agreement(a: &Task, b: &Task, train: usize) -> [f64; 2] {
    let same: Vec<bool> = a.labels.iter().zip(&b.labels).map(|(a, b)| a == b).collect();
    let (seen, new) = same.split_at(train.min(same.len()));
    let shares = [seen, new]
        .map(|part| part.iter().filter(|same| **same).count() as f64 / part.len().max(1) as f64);
    if shares[0] < 0.5 { shares.map(|share| 1.0 - share) } else { shares }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_opposite_sign_agree() -> Result<()> {
        let task = |labels: [u8; 6]| -> Result<Task> {
            let target = BinaryTarget::from_labels(labels.to_vec())?;
            Ok(Task::binary(1, None, &target))
        };
        let a = task([0, 1, 1, 0, 1, 1])?;
        // Three of the first four labels are others, and one of the last two.
        let b = task([1, 0, 0, 0, 0, 1])?;
        assert_eq!(agreement(&a, &b, 4), [0.75, 0.5]);
        assert_eq!(agreement(&a, &a, 4), [1.0, 1.0]);
        Ok(())
    }
}
