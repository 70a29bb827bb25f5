//! Operations entry by entry.

mod activate;
mod add_activated;

pub use add_activated::AddActivated;
