//! Tests through the public API. Where a new one belongs: `gram` construction, access and products;
//! `solver` quality of `eigh` on ordinary kernels; `degenerate` the table of kernels that break
//! solvers; `eigsh` the iterative one, and `checkpoints` its interruptions; `svds` rectangular
//! operators, and `row_gram` the Gram of their rows; `tiles` matrices read tile by tile; `nystrom`
//! other inputs than those solved for; `pairs` ordering, sign, truncation, stored pairs; `metrics`
//! alignment, energy and binary targets; `compare` unbiased alignment, kernels against each other;
//! `lemmas` identities from the paper, as properties.

#![allow(clippy::unwrap_used)]

mod checkpoints;
mod compare;
mod degenerate;
mod eigsh;
mod gram;
mod lemmas;
mod metrics;
mod nystrom;
mod pairs;
mod row_gram;
mod solver;
mod support;
mod svds;
mod tiles;
