//! Kernel matrices: in come entries in f32 or f64, out go symmetric and rectangular matrices and
//! their products, in memory (`gram`, `cross`) or read tile by tile (`tiles`). The solvers and the
//! metrics start from these.

pub(crate) mod blocks;
pub(crate) mod centre;
pub(crate) mod cross;
pub(crate) mod distributed_row_gram;
pub(crate) mod distributed_tiles;
pub(crate) mod gram;
pub(crate) mod matrix;
pub(crate) mod operator;
pub(crate) mod products;
pub(crate) mod row_gram;
pub(crate) mod rows;
pub(crate) mod tiles;
