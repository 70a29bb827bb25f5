//! Statistics of spectra too large to be computed: in come a few hundred products of an operator,
//! or the kernel of a sample, out go estimates with intervals. Users call these.

pub(crate) mod config;
pub(crate) mod interval;
pub(crate) mod projection;
pub(crate) mod sampled;
pub(crate) mod spectrum;
pub(crate) mod stochastic_lanczos;
