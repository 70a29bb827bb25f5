//! Vectors whose rows several processes share: `communicator` is what ranks ask of each other,
//! `row_bands` who holds which rows and how sums over them are ordered, `operator` a matrix
//! between such vectors. The iterative eigensolver is written in these, with one rank as its
//! ordinary case.

pub(crate) mod communicator;
pub(crate) mod operator;
pub(crate) mod pairwise;
pub(crate) mod row_bands;
