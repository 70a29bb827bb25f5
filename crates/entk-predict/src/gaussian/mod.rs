//! Uncertainty of predictions: in come kernels and a factor or eigenpairs, out go variances and
//! covariances at test inputs, or probabilities of classes. Users call all of it.

pub(crate) mod ensemble;
pub(crate) mod posterior;
pub(crate) mod probabilities;
pub(crate) mod variance;
