//! Eigenpairs and singular triplets: in comes a kernel or an operator, out go its leading or all
//! pairs and the measures of how good they are. The metrics take the pairs.

pub(crate) mod certified_pairs;
pub(crate) mod columns;
pub(crate) mod convergence;
pub(crate) mod eigh;
pub(crate) mod eigsh;
pub(crate) mod eigsh_config;
pub(crate) mod krylov;
pub(crate) mod nystrom;
pub(crate) mod psd;
pub(crate) mod rayleigh_ritz;
pub(crate) mod residuals;
pub(crate) mod row_gram;
pub(crate) mod svds;
