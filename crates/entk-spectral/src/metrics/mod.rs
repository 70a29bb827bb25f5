//! What a kernel says about a target or about another kernel: in come a Gram or its eigenpairs and
//! vectors on its sample, out go a few numbers. Users call these.

pub(crate) mod alignment;
pub(crate) mod compare;
pub(crate) mod energy;
pub(crate) mod rank;
pub(crate) mod rkhs;
pub(crate) mod unbiased;
