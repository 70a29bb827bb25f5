//! Operations entry by entry.

mod add;
mod add_activated;
mod apply;
mod divide;
mod multiply;
pub(crate) mod pair;

pub use add::{Add, Subtract};
pub use add_activated::AddActivated;
pub use divide::Divide;
pub use multiply::Multiply;
