//! Ways from and to candle-nn: its maps of variables, and networks as its modules.

pub(crate) mod module;
mod variables;
mod wrapped;
