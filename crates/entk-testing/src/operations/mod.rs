//! The operations under test, each with shapes of its inputs and the numbers that these may hold:
//! one list, visited by tests of derivatives and by whatever else has to hold for all of them.

mod attention;
mod entrywise;
mod law;
mod linear;
mod norm;
mod pooling;
mod reduce;
mod shape;

use entk_models::Result;
pub use law::{InputLaw, Numbers, OperationVisitor};

/// Visits every operation of the list.
///
/// # Errors
/// The first of a visit.
pub fn visit_operations(visitor: &mut impl OperationVisitor) -> Result<()> {
    linear::visit(visitor)?;
    norm::visit(visitor)?;
    entrywise::visit(visitor)?;
    pooling::visit(visitor)?;
    shape::visit(visitor)?;
    reduce::visit(visitor)?;
    attention::visit(visitor)
}
