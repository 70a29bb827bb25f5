//! Networks and parameters beside the rest of the world: candle, candle-nn, files, tables.

mod by_name;
mod closures;
mod flax_weights;
mod likely_network;
mod summary;
mod weight_files;
