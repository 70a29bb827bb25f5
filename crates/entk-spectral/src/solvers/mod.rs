//! Eigenpairs: in comes a kernel, out go its eigenpairs or singular triplets and the measures of
//! how good they are. The metrics take the eigenpairs.

pub(crate) mod certified_pairs;
pub(crate) mod eigh;
pub(crate) mod eigsh;
pub(crate) mod krylov;
pub(crate) mod nystrom;
pub(crate) mod psd;
pub(crate) mod residuals;
pub(crate) mod svds;
