//! Solvers: `solver` quality of `eigh` on ordinary kernels; `degenerate` the table of kernels that
//! break solvers; `eigsh` the iterative one, and `checkpoints` its interruptions; `svds`
//! rectangular operators, and `row_gram` the Gram of their rows; `nystrom` other inputs than those
//! solved for.

mod checkpoints;
pub(crate) mod degenerate;
mod eigsh;
mod nystrom;
mod row_gram;
mod solver;
mod svds;
