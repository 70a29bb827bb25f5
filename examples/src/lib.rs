//! The examples of the README and of the guides, compiled and run as documentation tests. What the
//! programs of the figures share is in `entk-cli`.

#![forbid(unsafe_code)]

/// Compiles the README's examples as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Compiles the guide to operations as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/operations.md")]
struct Operations;

/// Compiles the guide to networks of PyTorch as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/pytorch.md")]
struct Pytorch;

/// Compiles the guide to weights from elsewhere as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/weights.md")]
struct Weights;

/// Compiles the guide to GPUs as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/cuda.md")]
struct Cuda;
