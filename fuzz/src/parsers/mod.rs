//! The targets by name.

mod data;
mod flags;
mod inputs;
mod report;
mod results;
mod store;
pub mod train;
mod weights;

type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 13] = [
    ("npy", data::npy),
    ("idx", data::idx),
    ("cifar", data::cifar),
    ("arrays", data::arrays),
    ("table", data::table),
    ("weights", weights::safetensors),
    ("pickle", weights::pickle),
    ("archive", weights::archive),
    ("pairs", results::pairs),
    ("store", store::store),
    ("checkpoint", train::checkpoint),
    ("report", report::report),
    ("flags", flags::flags),
];
