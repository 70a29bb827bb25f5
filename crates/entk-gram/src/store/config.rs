//! How an assembly goes to a store, and what it reports: given to and got from
//! [`Assembly::store`](crate::Assembly::store).

use crate::{
    store::{Commit, Store},
    tiles::part::Part,
};

/// How a Gram goes to disk.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `edge` | 2048 | edge of a tile, in examples: 16 MiB of f32; at most N |
/// | `part` | 1/1 | the share of the tiles to compute |
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Edge of a tile.
    pub edge: usize,
    /// The share of the tiles.
    pub part: Part,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { edge: 2048, part: Part::default() }
    }
}

/// What an assembly into a store did.
#[derive(Debug)]
pub struct StoreReport {
    /// The store.
    pub store: Store,
    /// Tiles that were computed.
    pub computed: usize,
    /// Tiles of this part that were there before.
    pub kept: usize,
    /// The commit, once the only part is done. Several parts end with [`Store::finish`].
    pub commit: Option<Commit>,
}
