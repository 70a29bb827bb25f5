//! Tests of kernels through the crate's interface: strategies, devices, stores.

mod common;
mod device;
mod device_operators;
mod input_gram;
mod jacobian;
mod micro_batches;
mod operator;
mod outputs;
mod plans;
mod python;
mod store;
mod strategies;
mod stress;
mod ways;
