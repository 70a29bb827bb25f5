//! Tests of the public interface, one module for each noun.

// Helpers outside `#[test]` functions unwrap too: a failure there is a failed test.
#![allow(clippy::unwrap_used)]

mod batches;
mod checkpoint;
mod dual;
mod examples;
mod fit;
mod loss;
mod metrics;
mod outputs;
mod refusals;
mod rules;
mod sgd;
mod tasks;
mod trainer;
