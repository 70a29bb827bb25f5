//! Functions of a kernel by its eigenpairs: in come eigenpairs and targets, out go coefficients for
//! many ridges or times at once. Users call `ridge_path` and `flow`; both weigh the eigenvectors by
//! `filter`.

pub(crate) mod filter;
pub(crate) mod flow;
pub(crate) mod ridge_path;
