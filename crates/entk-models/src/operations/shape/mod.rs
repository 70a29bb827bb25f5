//! Other shapes, orders and choices of the same entries, and rows of tables.

mod concat;
mod embed;
mod expand;
mod flatten;
mod index_select;
mod pad;
mod permute;
mod reshape;
mod slice;
mod table_rows;

pub use concat::{Concat, Stack};
pub use embed::Embed;
pub use expand::Expand;
pub use flatten::{Flatten, FlattenAxes};
pub use index_select::{IndexSelect, Roll};
pub use pad::{Pad, PadWith};
pub use permute::Permute;
pub use reshape::Reshape;
pub use slice::{Select, Slice};
pub use table_rows::TableRows;
