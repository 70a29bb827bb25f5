//! Alignment in the population: in come a Gram and targets on a sample, out goes an estimate for
//! each without the bias of the diagonal, with its standard error. Users call it.

use crate::{
    dense::vector::{check_stack, dot, finite},
    error::{Result, SpectralError},
    kernel::gram::Gram,
};

/// Targets multiplied at a time; bounds the working memory.
const STACK: usize = 256;

/// An estimate of E\[f(x) Theta(x, x') f(x')\] over independent x and x'.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AlignmentEstimate {
    /// The U-statistic: the mean over pairs i != j of f_i K_ij f_j.
    pub value: f64,
    /// Its standard error, by the delete-one-block jackknife.
    pub error: f64,
}

/// Unbiased alignment of many targets of m entries each, one after the other, each with a standard
/// error.
///
/// [`alignment`](crate::alignment) is f^T K f / m^2, of which the terms i = j are m of m^2 but, for
/// a kernel with a large diagonal, a good part of the sum: a target of pure noise seems aligned.
/// The U-statistic leaves them out, (f^T K f - sum_i f_i^2 K_ii) / (m (m - 1)), and its expectation
/// is the alignment in the population. It may be negative.
///
/// The error comes from leaving out one block of inputs at a time (input i is in block i mod
/// `blocks`): the square root of (G - 1)/G sum_g (U_(-g) - mean)^2 for G blocks. 20 blocks give the
/// error itself to about 16 %.
///
/// Cost: one product with the targets, m^2 each, and 1/G of it more.
///
/// # Errors
/// As [`alignments`](crate::alignments), but for a zero target or kernel, whose estimate is 0;
/// [`InvalidSetting`](SpectralError::InvalidSetting) unless every block can be left out: 2 <=
/// `blocks` and m >= 2 `blocks`.
///
/// ```
/// use entk_spectral::{Gram, alignment, unbiased_alignments};
///
/// // The identity is all diagonal: nothing generalises from one input to another.
/// let n = 40;
/// let mut entries = vec![0.0; n * n];
/// entries.iter_mut().step_by(n + 1).for_each(|x| *x = 1.0);
/// let gram = Gram::from_lower_f64(n, entries)?;
/// let y = vec![1.0; n];
/// assert!(alignment(&gram, &y)? > 0.02);
/// assert_eq!(unbiased_alignments(&gram, &y, 10)?[0].value, 0.0);
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
pub fn unbiased_alignments(
    gram: &Gram,
    targets: &[f64],
    blocks: usize,
) -> Result<Vec<AlignmentEstimate>> {
    let m = gram.n();
    check_stack(targets, m)?;
    if blocks < 2 || m / 2 < blocks {
        return Err(SpectralError::InvalidSetting {
            field: "blocks",
            expected: "between 2 and half the number of inputs",
        });
    }
    let members: Vec<Vec<usize>> = (0..blocks).map(|g| (g..m).step_by(blocks).collect()).collect();
    let diagonal = gram.diagonal();
    let mut estimates = Vec::with_capacity(targets.len() / m);
    for stack in targets.chunks(STACK * m) {
        let images = gram.product(stack)?;
        let within = block_forms(gram, stack, &members)?;
        for (t, (f, image)) in stack.chunks_exact(m).zip(images.chunks_exact(m)).enumerate() {
            let sums: Vec<BlockSums> = members
                .iter()
                .zip(&within)
                .map(|(members, within)| BlockSums::of(members, f, image, &diagonal, within[t]))
                .collect();
            estimates.push(estimate(&sums)?);
        }
    }
    Ok(estimates)
}

/// The sums over one block g that the estimate without it needs.
struct BlockSums {
    size: f64,
    /// f_g^T K f.
    row: f64,
    /// f_g^T K_gg f_g.
    within: f64,
    /// The terms i = j of both.
    diagonal: f64,
}

impl BlockSums {
    fn of(members: &[usize], f: &[f64], image: &[f64], diagonal: &[f64], within: f64) -> Self {
        Self {
            size: members.len() as f64,
            row: members.iter().map(|&i| f[i] * image[i]).sum(),
            within,
            diagonal: members.iter().map(|&i| f[i] * f[i] * diagonal[i]).sum(),
        }
    }
}

/// f_g^T K_gg f_g of every block g (outer) and target (inner).
fn block_forms(gram: &Gram, targets: &[f64], members: &[Vec<usize>]) -> Result<Vec<Vec<f64>>> {
    let m = gram.n();
    let of_block = |members: &Vec<usize>| {
        let parts: Vec<f64> =
            targets.chunks_exact(m).flat_map(|f| members.iter().map(|&i| f[i])).collect();
        let images = gram.principal(members)?.product(&parts)?;
        let pairs = parts.chunks_exact(members.len()).zip(images.chunks_exact(members.len()));
        Ok(pairs.map(|(f, image)| dot(f, image)).collect())
    };
    members.iter().map(of_block).collect()
}

fn estimate(blocks: &[BlockSums]) -> Result<AlignmentEstimate> {
    let total = |part: fn(&BlockSums) -> f64| blocks.iter().map(part).sum::<f64>();
    let (m, form) = (total(|b| b.size), total(|b| b.row));
    let diagonal = total(|b| b.diagonal);
    let mean_over_pairs = |sum: f64, m: f64| sum / m / (m - 1.0);
    let without: Vec<f64> = blocks
        .iter()
        .map(|b| {
            let rest = form - 2.0 * b.row + b.within - (diagonal - b.diagonal);
            mean_over_pairs(rest, m - b.size)
        })
        .collect();
    let count = blocks.len() as f64;
    let mean = without.iter().sum::<f64>() / count;
    let spread: f64 = without.iter().map(|u| (u - mean) * (u - mean)).sum();
    Ok(AlignmentEstimate {
        value: finite(mean_over_pairs(form - diagonal, m), "unbiased alignment")?,
        error: finite(((count - 1.0) / count * spread).sqrt(), "error of an alignment")?,
    })
}
