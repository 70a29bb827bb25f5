//! Tests through the public API. Where a new one belongs: `gram` construction, access and products;
//! `tiles` matrices read tile by tile; `solvers` eigenpairs and singular triplets; `pairs`
//! ordering, sign, truncation, stored pairs; `metrics` alignment, energy and binary targets;
//! `compare` unbiased alignment, kernels against each other; `statistics` estimates and how often
//! their intervals hold; `lemmas` identities from the paper, as properties.

#![allow(clippy::unwrap_used)]

mod compare;
mod gram;
mod lemmas;
mod metrics;
mod pairs;
mod solvers;
mod statistics;
mod support;
mod tiles;
