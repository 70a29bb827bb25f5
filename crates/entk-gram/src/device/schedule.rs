//! How the parameter axis is cut so that everything fits a device: pure functions of sizes.

use std::ops::Range;

use super::leaf::LeafSize;
use crate::error::{GramError, Result};

/// Share of a device's memory that is planned with; allocators lose some to fragments.
const SHARE: f64 = 0.95;
/// Of what sweeps and tiles leave, this part goes to one chunk of operands, the rest to kept leaves: a chunk
/// costs a pass over the tiles, which is fast, a group of leaves costs a sweep.
const CHUNK_SHARE: u64 = 8;
/// Tiles that exist beside those of the kernel: the products of an entry-wise form and their sum.
pub(super) const SCRATCH_TILES: u64 = 4;

/// What there is, and what it has to hold. All memory in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    /// The leaves, last layer first.
    pub(crate) leaves: Vec<LeafSize>,
    /// Rows of the kernel that take part.
    pub(crate) rows: usize,
    /// Rows of one block.
    pub(crate) block: usize,
    /// Tiles to compute.
    pub(crate) tiles: usize,
    /// One number of a leaf.
    pub(crate) item: u64,
    /// One number of an operand of products.
    pub(crate) operand: u64,
    /// One entry of the kernel.
    pub(crate) entry: u64,
    /// Inputs and parameters.
    pub(crate) held: u64,
    /// A sweep of one micro-batch.
    pub(crate) sweep: u64,
    /// Memory of the device.
    pub(crate) limit: u64,
}

/// Some channels of a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) leaf: usize,
    pub(crate) channels: Range<usize>,
}

/// Leaves that are kept for all rows after one sweep, and the chunks in which they become products.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) leaves: Vec<usize>,
    pub(crate) chunks: Vec<Vec<Piece>>,
}

/// The order of work on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// One sweep each. A single chunk in all means that every row is resident, and that the tiles are
    /// finished one after the other; else the tiles are resident and every chunk is added to each of them.
    pub(crate) groups: Vec<Group>,
    /// Tiles that are resident at a time; all work is repeated for each such set.
    pub(crate) tiles: usize,
    /// Largest memory in use.
    pub(crate) peak: u64,
}

impl Schedule {
    /// Whether all operands are resident, so that tiles need not be.
    pub(crate) fn rows_are_resident(&self) -> bool {
        matches!(self.groups.as_slice(), [group] if group.chunks.len() == 1)
    }

    /// The cheapest schedule that fits.
    ///
    /// # Errors
    /// [`GramError::DeviceMemory`] where nothing does.
    pub(crate) fn new(demand: &Demand) -> Result<Self> {
        let whole = Self::resident_rows(demand);
        let limit = (demand.limit as f64 * SHARE) as u64;
        if whole.peak <= limit {
            return Ok(whole);
        }
        let mut tiles = demand.tiles;
        loop {
            let split = Self::resident_tiles(demand, tiles, limit);
            match split {
                Some(schedule) => return Ok(schedule),
                None if tiles > 1 => tiles = tiles.div_ceil(2),
                None => {
                    let needed = demand.fixed(1) + demand.least_leaf() + demand.least_chunk();
                    return Err(GramError::DeviceMemory { needed, limit: demand.limit });
                }
            }
        }
    }

    /// Every leaf in one chunk.
    fn resident_rows(demand: &Demand) -> Self {
        let whole = |(leaf, size): (usize, &LeafSize)| Piece { leaf, channels: 0..size.channels };
        let chunk = demand.leaves.iter().enumerate().map(whole).collect();
        let width: usize = demand.leaves.iter().map(|size| size.width).sum();
        // The leaves of one block, and its rows while they are joined and rounded.
        let block = demand.block as u64 * (demand.kept() as u64 + 2 * width as u64) * demand.item;
        let peak = demand.fixed(1) + block + demand.rows as u64 * width as u64 * demand.operand;
        let group = Group { leaves: (0..demand.leaves.len()).collect(), chunks: vec![chunk] };
        Self { groups: vec![group], tiles: 1, peak }
    }

    /// So many tiles resident, leaves grouped by first fit, largest first; `None` if that does not fit.
    fn resident_tiles(demand: &Demand, tiles: usize, limit: u64) -> Option<Self> {
        let rest = limit.checked_sub(demand.fixed(tiles))?;
        let all: u64 = demand.leaves.iter().map(|size| demand.operand_bytes(size)).sum();
        let chunk = (rest / CHUNK_SHARE).max(demand.least_chunk()).min(all);
        let kept = rest.checked_sub(chunk).filter(|kept| *kept >= demand.least_leaf())?;
        let groups: Vec<Group> = (demand.grouped(kept).into_iter())
            .map(|leaves| Group { chunks: demand.chunks(&leaves, chunk), leaves })
            .collect();
        let used = |group: &Group| -> u64 {
            group.leaves.iter().map(|leaf| demand.leaf_bytes(&demand.leaves[*leaf])).sum()
        };
        let largest = groups.iter().map(used).max().unwrap_or(0);
        Some(Self { groups, tiles, peak: demand.fixed(tiles) + chunk + largest })
    }

    /// Passes over the resident tiles.
    pub(crate) fn passes(&self) -> usize {
        self.groups.iter().map(|group| group.chunks.len()).sum()
    }
}

impl Demand {
    /// What is in memory whatever the groups: inputs, parameters, a sweep and tiles.
    fn fixed(&self, tiles: usize) -> u64 {
        let tile = (self.block as u64).pow(2) * self.entry;
        self.held + self.sweep + (tiles as u64 + SCRATCH_TILES) * tile
    }

    fn kept(&self) -> usize {
        self.leaves.iter().map(|size| size.layer.kept).sum()
    }

    fn leaf_bytes(&self, size: &LeafSize) -> u64 {
        self.rows as u64 * size.layer.kept as u64 * self.item
    }

    fn operand_bytes(&self, size: &LeafSize) -> u64 {
        self.rows as u64 * size.width as u64 * self.operand
    }

    /// The largest leaf, which cannot be kept in parts.
    fn least_leaf(&self) -> u64 {
        self.leaves.iter().map(|size| self.leaf_bytes(size)).max().unwrap_or(0)
    }

    /// The largest part in which a leaf becomes operands.
    fn least_chunk(&self) -> u64 {
        let part = |size: &LeafSize| self.operand_bytes(size) / size.channels.max(1) as u64;
        self.leaves.iter().map(part).max().unwrap_or(0)
    }

    /// Sets of leaves of at most `bytes`, each in the order of the leaves.
    fn grouped(&self, bytes: u64) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.leaves.len()).collect();
        order.sort_by_key(|leaf| std::cmp::Reverse(self.leaf_bytes(&self.leaves[*leaf])));
        let mut groups: Vec<(u64, Vec<usize>)> = Vec::new();
        for leaf in order {
            let more = self.leaf_bytes(&self.leaves[leaf]);
            match groups.iter_mut().find(|(taken, _)| *taken + more <= bytes) {
                Some((taken, leaves)) => {
                    *taken += more;
                    leaves.push(leaf);
                }
                None => groups.push((more, vec![leaf])),
            }
        }
        groups.iter_mut().for_each(|(_, leaves)| leaves.sort_unstable());
        groups.into_iter().map(|(_, leaves)| leaves).collect()
    }

    /// The leaves cut into chunks of at most `bytes` of operands.
    fn chunks(&self, leaves: &[usize], bytes: u64) -> Vec<Vec<Piece>> {
        let mut chunks: Vec<Vec<Piece>> = vec![Vec::new()];
        let mut room = bytes;
        for &leaf in leaves {
            let size = &self.leaves[leaf];
            let channel = (self.operand_bytes(size) / size.channels.max(1) as u64).max(1);
            let mut start = 0;
            while start < size.channels {
                let fit = ((room / channel) as usize).min(size.channels - start);
                if fit == 0 {
                    chunks.push(Vec::new());
                    room = bytes.max(channel);
                    continue;
                }
                let piece = Piece { leaf, channels: start..start + fit };
                chunks.last_mut().into_iter().for_each(|chunk| chunk.push(piece.clone()));
                room -= fit as u64 * channel;
                start += fit;
            }
        }
        chunks
    }
}

/// Edge of the tiles of a kernel of n rows that goes to memory: large enough for fast products, small enough
/// that the halves of tiles above the diagonal are few.
pub(crate) fn edge(n: usize) -> usize {
    (n / 8).next_power_of_two().clamp(1024, 2048).min(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Form, LayerPlan};

    fn leaf(form: Form, kept: usize, width: usize, channels: usize) -> LeafSize {
        let layer =
            LayerPlan { names: vec!["w".into()], parameters: width, form, kept, columns: width };
        LeafSize { layer, width, channels }
    }

    fn demand(limit: u64) -> Demand {
        Demand {
            leaves: vec![
                leaf(Form::Rows, 10, 10, 10),
                leaf(Form::Dense, 50, 50, 1),
                leaf(Form::Conv, 100, 900, 9),
                leaf(Form::Conv, 60, 640, 64),
            ],
            rows: 1000,
            block: 100,
            tiles: 55,
            item: 4,
            operand: 4,
            entry: 4,
            held: 10_000,
            sweep: 20_000,
            limit,
        }
    }

    /// Every channel of every leaf once.
    fn check(demand: &Demand, schedule: &Schedule) {
        let mut seen: Vec<Vec<bool>> =
            demand.leaves.iter().map(|size| vec![false; size.channels]).collect();
        for group in &schedule.groups {
            for piece in group.chunks.iter().flatten() {
                assert!(group.leaves.contains(&piece.leaf));
                for channel in piece.channels.clone() {
                    assert!(!std::mem::replace(&mut seen[piece.leaf][channel], true));
                }
            }
        }
        assert!(seen.iter().flatten().all(|seen| *seen));
    }

    #[test]
    fn schedules_of_any_limit_cover_everything_once_and_fit() {
        let mut shapes = Vec::new();
        for limit in (400_000..12_000_000).step_by(50_000) {
            let demand = demand(limit);
            let Ok(schedule) = Schedule::new(&demand) else { continue };
            check(&demand, &schedule);
            assert!(schedule.peak <= limit, "{limit}: {schedule:?}");
            assert!((1..=demand.tiles).contains(&schedule.tiles));
            shapes.push((schedule.rows_are_resident(), schedule.groups.len(), schedule.tiles));
        }
        // All rows; all tiles in one group and in several; some of the tiles.
        assert!(shapes.iter().any(|(rows, ..)| *rows));
        assert!(shapes.iter().any(|(rows, groups, tiles)| !rows && *groups == 1 && *tiles == 55));
        assert!(shapes.iter().any(|(rows, groups, tiles)| !rows && *groups > 1 && *tiles == 55));
        assert!(shapes.iter().any(|(_, _, tiles)| (2..55).contains(tiles)));
        // More memory never costs more sweeps.
        let sweeps = |(_, groups, tiles): &(bool, usize, usize)| groups * 55_usize.div_ceil(*tiles);
        let split: Vec<usize> = shapes.iter().filter(|s| !s.0).map(sweeps).collect();
        assert!(split.first() >= split.last());
    }

    #[test]
    fn a_device_that_is_too_small_says_what_is_needed() {
        let error = Schedule::new(&demand(300_000)).expect_err("nothing fits");
        match error {
            GramError::DeviceMemory { needed, limit } => assert!(needed > limit && limit == 300_000),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn edges_suit_products() {
        assert_eq!([1, 500, 4_000, 60_000].map(edge), [1, 500, 1024, 2048]);
    }
}
