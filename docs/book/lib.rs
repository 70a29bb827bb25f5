//! The book's Rust: chapters come in as documentation, their code runs as documentation tests.
//!
//! Chapters that only include a guide of `docs/` are tested where that guide is
//! (`examples/src/lib.rs`); shell and Python are run by `tools/book/check.py`.
#![forbid(unsafe_code)]

/// First kernel in five minutes.
#[cfg(doctest)]
#[doc = include_str!("src/first-kernel.md")]
struct FirstKernel;

/// Which kernel, of many outputs.
#[cfg(doctest)]
#[doc = include_str!("src/outputs.md")]
struct ManyOutputs;

/// How big N can be.
#[cfg(doctest)]
#[doc = include_str!("src/how-big.md")]
struct HowBig;

/// What a certificate says.
#[cfg(doctest)]
#[doc = include_str!("src/certificate.md")]
struct Certificate;

/// What is called what.
#[cfg(doctest)]
#[doc = include_str!("src/names.md")]
struct Names;

/// Traps of interpretation.
#[cfg(doctest)]
#[doc = include_str!("src/traps.md")]
struct Traps;
