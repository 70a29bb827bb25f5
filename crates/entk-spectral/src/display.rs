//! Kernels and eigenpairs as text for people: a value comes in, one line or a short table goes out.
//!
//! Users print them; no other code reads what is written here.

use std::fmt;

use crate::{
    eigenpairs::Eigenpairs,
    kernel::{cross::CrossGram, gram::Gram},
    solvers::certified_pairs::CertifiedPairs,
};

/// Eigenvalues that are shown.
const HEAD: usize = 10;

/// Size, type, trace and how many eigenvalues carry it, (sum of lambda)^2 / (sum of lambda^2).
/// Cost: one pass over the N^2 entries.
///
/// ```
/// let gram = entk_spectral::Gram::from_lower_f64(2, vec![2.0, 0.0, 0.0, 2.0])?;
/// assert_eq!(gram.to_string(), "Gram 2 x 2, f64: trace 4.0000e0, participation ratio 2.0");
/// # Ok::<(), entk_spectral::SpectralError>(())
/// ```
impl fmt::Display for Gram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, entries) = (self.n(), self.entry_type().name());
        write!(f, "Gram {n} x {n}, {entries}: ")?;
        match (self.trace(), self.frobenius()) {
            (Ok(trace), Ok(norm)) if norm > 0.0 => {
                let rank = (trace / norm) * (trace / norm);
                write!(f, "trace {trace:.4e}, participation ratio {rank:.1}")
            }
            (Ok(trace), Ok(_)) => write!(f, "trace {trace:.4e}, all entries zero"),
            _ => write!(f, "trace or norm beyond f64"),
        }
    }
}

/// Size and type.
impl fmt::Display for CrossGram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, cols, entries) = (self.rows(), self.cols(), self.entry_type().name());
        write!(f, "CrossGram {rows} x {cols}, {entries}")
    }
}

/// How many, of how many rows, and the leading eigenvalues.
impl fmt::Display for Eigenpairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pairs(f, self, None)
    }
}

/// The pairs with their residuals, and what was measured of all.
impl fmt::Display for CertifiedPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pairs(f, &self.pairs, Some(&self.residuals))?;
        let worst = self.residuals.iter().copied().fold(0.0, f64::max);
        let (orthogonality, solver) = (self.orthogonality, self.solver);
        write!(
            f,
            "\nresiduals ‖K φ - λ φ‖ at most {worst:.1e}, orthogonal within {orthogonality:.1e}; {solver:?}"
        )?;
        // All pairs of a matrix in memory take no products.
        if self.products > 0 {
            write!(f, ", {} products", self.products)?;
        }
        match self.clusters.len() {
            0 => Ok(()),
            count => write!(f, "; runs of equal eigenvalues: {count}"),
        }
    }
}

fn write_pairs(
    f: &mut fmt::Formatter<'_>,
    pairs: &Eigenpairs,
    residuals: Option<&[f64]>,
) -> fmt::Result {
    let (count, dim) = (pairs.len(), pairs.dim());
    write!(f, "{count} eigenpairs of a kernel of {dim} rows in {}", pairs.entry_type().name())?;
    write!(f, "\n{:>6} {:>13}", "index", "eigenvalue")?;
    if residuals.is_some() {
        write!(f, " {:>9}", "residual")?;
    }
    for (j, value) in pairs.values().iter().take(HEAD).enumerate() {
        write!(f, "\n{j:>6} {value:>13.6e}")?;
        if let Some(residual) = residuals.and_then(|residuals| residuals.get(j)) {
            write!(f, " {residual:>9.1e}")?;
        }
    }
    match pairs.values().last() {
        Some(last) if count > HEAD => write!(f, "\n   ...\n{:>6} {last:>13.6e}", count - 1),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solvers::{eigh::eigh, eigsh::eigsh, eigsh_config::EigshConfig};

    fn diagonal(values: &[f64]) -> Gram {
        let n = values.len();
        let entries = (0..n * n).map(|at| if at / n == at % n { values[at / n] } else { 0.0 });
        Gram::from_lower_f64(n, entries.collect()).expect("a diagonal matrix")
    }

    #[test]
    fn a_gram_says_how_many_eigenvalues_carry_its_trace() {
        assert_eq!(
            diagonal(&[3.0, 1.0]).to_string(),
            "Gram 2 x 2, f64: trace 4.0000e0, participation ratio 1.6"
        );
        assert!(diagonal(&[0.0]).to_string().ends_with("trace 0.0000e0, all entries zero"));
        assert!(diagonal(&[f64::MAX, f64::MAX]).to_string().ends_with("beyond f64"));
    }

    #[test]
    fn pairs_show_their_head_and_their_last() {
        let values: Vec<f64> = (1..=12).rev().map(f64::from).collect();
        let text = eigh(&diagonal(&values)).expect("pairs").to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2 + HEAD + 2);
        assert_eq!(lines[0], "12 eigenpairs of a kernel of 12 rows in f64");
        assert_eq!(lines[2], "     0    1.200000e1");
        assert_eq!(lines[13], "    11    1.000000e0");
    }

    #[test]
    fn certified_pairs_show_their_residuals() {
        let gram = diagonal(&[2.0, 2.0, 1.0]);
        let text = eigsh(&gram, 2, &EigshConfig::default()).expect("pairs").to_string();
        assert!(text.lines().nth(1).is_some_and(|line| line.ends_with("residual")), "{text}");
        assert!(text.contains("at most") && text.contains("Dense"), "{text}");
        assert!(text.ends_with("equal eigenvalues: 1"), "{text}");
    }
}
