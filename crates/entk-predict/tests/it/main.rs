//! Tests through the public API. Where a new one belongs: `solve` solutions of (K + ridge) x = y
//! and what is refused; `paths` many ridges and times; `gaussian` variances and probabilities;
//! `golden` values of another library.

#![allow(clippy::unwrap_used)]

mod gaussian;
mod golden;
mod paths;
mod solve;
mod support;
