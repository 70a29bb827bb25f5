//! The command line of the programs: flags that several of them flatten into their own, and what
//! the words there mean.

pub(crate) mod device;
pub(crate) mod exit;
pub(crate) mod flags;
pub(crate) mod index_list;
pub(crate) mod kernel_flags;
pub(crate) mod model_flags;
pub(crate) mod names;
pub(crate) mod numbers;
pub(crate) mod output_flags;
pub(crate) mod refused;
pub(crate) mod signals;
pub(crate) mod training_flags;
