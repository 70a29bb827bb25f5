//! Variances and covariances that came out of differences: in come numbers that round-off may have
//! made negative, out go ones that are not, with a count of what was changed. `posterior` and
//! `ensemble` call it.

use entk_spectral::{EntryType, Gram};

use crate::error::{PredictError, Result};

/// Accepted round-off in a variance, over the prior variance there, in units of eps of the stored
/// type: it grows with the condition of the training kernel, so that the bound is loose.
const GROWTH: f64 = 1e4;

/// Variances at M test inputs, none negative.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Variances {
    /// The variance at every test input.
    pub values: Vec<f64>,
    /// How many were negative by round-off and were set to zero.
    pub clipped: usize,
    /// The most negative of them before, or 0.
    pub most_negative: f64,
}

impl Variances {
    /// Takes variances as computed from `prior` variances that were stored as `entry_type`.
    pub(crate) fn new(mut values: Vec<f64>, prior: &[f64], entry_type: EntryType) -> Result<Self> {
        let (mut clipped, mut most_negative) = (0, 0.0_f64);
        for (index, (value, prior)) in values.iter_mut().zip(prior).enumerate() {
            let bound = -GROWTH * entry_type.epsilon() * prior.abs();
            if value.is_nan() || *value < bound {
                return Err(PredictError::NegativeVariance { index, value: *value, bound });
            }
            if *value < 0.0 {
                clipped += 1;
                most_negative = most_negative.min(*value);
                *value = 0.0;
            }
        }
        Ok(Self { values, clipped, most_negative })
    }
}

/// The covariance between M test inputs, with variances that are not negative.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Covariance {
    /// M x M, symmetric; its diagonal is `variances.values`.
    pub matrix: Gram,
    /// The diagonal, and what was changed in it.
    pub variances: Variances,
}

impl Covariance {
    /// Takes an M x M covariance as computed, of which the lower triangle is read row by row.
    pub(crate) fn new(mut values: Vec<f64>, prior: &[f64], entry_type: EntryType) -> Result<Self> {
        let step = prior.len() + 1;
        let diagonal = values.iter().step_by(step).copied().collect();
        let variances = Variances::new(diagonal, prior, entry_type)?;
        values.iter_mut().step_by(step).zip(&variances.values).for_each(|(x, v)| *x = *v);
        Ok(Self { matrix: Gram::from_lower_f64(prior.len(), values)?, variances })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_a_negative_variance_grows_with_the_prior() {
        for (entry_type, prior) in
            [(EntryType::F64, 1e-3), (EntryType::F64, 4.0), (EntryType::F32, 1e6)]
        {
            let bound = 1e4 * entry_type.epsilon() * prior;
            let of = |value: f64| Variances::new(vec![value], &[prior], entry_type);
            assert!(of(-0.9 * bound).is_ok_and(|v| v.values == [0.0] && v.clipped == 1));
            let refused = of(-1.1 * bound).expect_err("beyond the bound");
            assert!(matches!(refused, PredictError::NegativeVariance { index: 0, .. }));
        }
    }
}
