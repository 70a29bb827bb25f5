//! Targets, losses, metrics and training of several outputs.

mod objective;
mod quality;
mod targets;
mod training;
