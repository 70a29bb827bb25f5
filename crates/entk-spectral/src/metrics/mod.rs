//! What a kernel says about a target or about another kernel: in come a Gram or its eigenpairs and
//! target vectors, out go a few numbers. Nothing in this crate calls these.

pub(crate) mod alignment;
pub(crate) mod compare;
pub(crate) mod energy;
pub(crate) mod rank;
pub(crate) mod rkhs;
pub(crate) mod unbiased;
