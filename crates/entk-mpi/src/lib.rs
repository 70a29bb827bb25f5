//! Ranks that solve one problem together: [`on_threads`] runs them as threads of one process, and
//! with the feature `mpi` `MpiRank` is this process among those that `mpirun` or `srun` has
//! started.
//!
//! What ranks compute together is in `entk-spectral`: operators that are distributed by rows
//! (`DistributedTiles`, `DistributedRowGram`) and the solver (`EigshRun::distributed_pairs`), which
//! gives the same bits for any number of ranks of either kind. This crate carries their numbers.
//!
//! Small problems are solved on every rank and must have the same bits there: processes run on one
//! kind of processor. Without the feature nothing of MPI is compiled or linked; with it the build
//! needs an MPI with its `mpicc`, and libclang.
#![forbid(unsafe_code)]

#[cfg(feature = "mpi")]
mod process;
mod threads;

#[cfg(feature = "mpi")]
pub use process::{MpiError, MpiRank};
pub use threads::{ThreadRank, on_threads};

/// Compiles the README's example as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
