//! How the parameter axis is cut so that everything fits a device: pure functions of sizes.

use std::ops::Range;

use crate::{
    device::leaf::LeafSize,
    error::{GramError, Result},
    factors::form::Form,
};

/// Share of a device's memory that is planned with; allocators lose some to fragments.
const SHARE: f64 = 0.95;
/// Of what sweeps and tiles leave, this part goes to one chunk of operands, the rest to kept
/// leaves: each group of leaves costs a sweep, while a chunk costs no more than its units, which
/// are products of their own.
const CHUNK_SHARE: u64 = 32;
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
    /// Tiles that may be resident together.
    pub(crate) together: usize,
    /// Whether they all stay on the device.
    pub(crate) stay: bool,
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
    /// Columns that one product sums before the next adds to it.
    pub(crate) depth: usize,
    /// Memory of the device.
    pub(crate) limit: u64,
}

/// Some channels of a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) leaf: usize,
    pub(crate) channels: Range<usize>,
}

/// What one product of the kernel sums: a few short leaves, or a part of a long one.
pub(crate) type Unit = Vec<Piece>;

/// Leaves that are kept for all rows after one sweep, and the chunks of units in which they become
/// operands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) leaves: Vec<usize>,
    pub(crate) chunks: Vec<Vec<Unit>>,
}

/// The order of work on one device.
///
/// Units and their order follow from the leaves alone, so that the bits of the kernel do not depend
/// on the memory: that only says how many units are at hand at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// One sweep each. A single chunk in all means that every row is resident, and that the tiles
    /// are finished one after the other; else the tiles are resident and every chunk is added
    /// to each of them.
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
        let limit = (demand.limit as f64 * SHARE) as u64;
        let whole = Self::resident_rows(demand);
        if whole.peak <= limit {
            return Ok(whole);
        }
        let mut tiles = demand.tiles.min(demand.together).max(1);
        loop {
            match Self::resident_tiles(demand, tiles, limit) {
                Some(schedule) => return Ok(schedule),
                None if tiles > 1 => tiles = tiles.div_ceil(2),
                None => {
                    let units = demand.units();
                    let kept = demand.joined(demand.least_kept(&units));
                    let needed = demand.fixed(1) + kept + demand.least_chunk(&units);
                    let needed = (needed as f64 / SHARE).ceil() as u64;
                    return Err(GramError::DeviceMemory { needed, limit: demand.limit });
                }
            }
        }
    }

    /// Every unit in one chunk.
    fn resident_rows(demand: &Demand) -> Self {
        let width: u64 = demand.leaves.iter().map(|size| size.width as u64).sum();
        // The leaves of one block, and its rows while they are joined and rounded.
        let block = demand.block as u64 * (demand.kept() + 2 * width) * demand.item;
        let peak = demand.fixed(1) + block + demand.rows as u64 * width * demand.operand;
        let leaves = (0..demand.leaves.len()).collect();
        let group = Group { leaves, chunks: vec![demand.units()] };
        Self { groups: vec![group], tiles: 1, peak }
    }

    /// So many tiles resident; `None` if that does not fit.
    fn resident_tiles(demand: &Demand, tiles: usize, limit: u64) -> Option<Self> {
        let units = demand.units();
        let rest = limit.checked_sub(demand.fixed(tiles))?;
        let most = rest.checked_sub(demand.joined(demand.least_kept(&units)))?;
        let least = Some(demand.least_chunk(&units)).filter(|least| *least <= most)?;
        let chunk = (rest / CHUNK_SHARE).clamp(least, most);
        let groups = demand.grouped(units, rest - chunk, chunk);
        let used = |group: &Group| demand.joined(demand.kept_bytes(&group.leaves));
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
        let tiles = if self.stay { self.tiles } else { tiles };
        self.held + self.sweep + (tiles as u64 + SCRATCH_TILES) * tile
    }

    /// Numbers of all leaves for one row.
    fn kept(&self) -> u64 {
        self.leaves.iter().map(|size| size.layer.kept as u64).sum()
    }

    fn kept_bytes(&self, leaves: &[usize]) -> u64 {
        let kept: usize = leaves.iter().map(|leaf| self.leaves[*leaf].layer.kept).sum();
        self.rows as u64 * kept as u64 * self.item
    }

    /// Leaves of all rows, and those of one block twice: its micro-batches, and they as one.
    fn joined(&self, kept: u64) -> u64 {
        kept + kept / self.rows.div_ceil(self.block) as u64
    }

    fn operand_bytes(&self, unit: &Unit) -> u64 {
        let width: usize = unit.iter().map(|piece| self.width(piece)).sum();
        self.rows as u64 * width as u64 * self.operand
    }

    fn width(&self, piece: &Piece) -> usize {
        let size = &self.leaves[piece.leaf];
        size.width / size.channels.max(1) * piece.channels.len()
    }

    /// The largest set of leaves that a unit needs.
    fn least_kept(&self, units: &[Unit]) -> u64 {
        units.iter().map(|unit| self.kept_bytes(&leaves_of(unit))).max().unwrap_or(0)
    }

    /// The largest unit.
    fn least_chunk(&self, units: &[Unit]) -> u64 {
        units.iter().map(|unit| self.operand_bytes(unit)).max().unwrap_or(0)
    }

    /// All leaves in units of up to `depth` columns: rows that are shorter together first, then the
    /// others in their order, cut where they are longer.
    fn units(&self) -> Vec<Unit> {
        let is_rows = |size: &LeafSize| matches!(size.layer.form, Form::Rows | Form::Conv);
        let is_short = |size: &LeafSize| size.layer.form == Form::Rows && size.width < self.depth;
        let all = || self.leaves.iter().enumerate();
        let (mut units, mut taken) = (Vec::<Unit>::new(), self.depth);
        for (leaf, size) in all().filter(|(_, size)| is_short(size)) {
            let piece = Piece { leaf, channels: 0..size.channels };
            match units.last_mut() {
                Some(unit) if taken + size.width <= self.depth => unit.push(piece),
                _ => {
                    units.push(vec![piece]);
                    taken = 0;
                }
            }
            taken += size.width;
        }
        for (leaf, size) in all().filter(|(_, size)| !is_short(size)) {
            let channel = size.width.div_ceil(size.channels.max(1)).max(1);
            let step = if is_rows(size) { (self.depth / channel).max(1) } else { 1 };
            units.extend((0..size.channels).step_by(step).map(|start| {
                vec![Piece { leaf, channels: start..size.channels.min(start + step) }]
            }));
        }
        units
    }

    /// Units in their order, in groups whose leaves take at most `kept` bytes and chunks of at most
    /// `chunk`.
    fn grouped(&self, units: Vec<Unit>, kept: u64, chunk: u64) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut room = 0;
        for unit in units {
            let (more, leaves) = (self.operand_bytes(&unit), leaves_of(&unit));
            let mut together =
                groups.last().map_or_else(Vec::new, |group| [&group.leaves[..], &leaves].concat());
            together.sort_unstable();
            together.dedup();
            match groups.last_mut() {
                Some(group) if self.joined(self.kept_bytes(&together)) <= kept => {
                    group.leaves = together;
                    match group.chunks.last_mut() {
                        Some(last) if more <= room => last.push(unit),
                        _ => {
                            group.chunks.push(vec![unit]);
                            room = chunk;
                        }
                    }
                }
                _ => {
                    groups.push(Group { leaves, chunks: vec![vec![unit]] });
                    room = chunk;
                }
            }
            room = room.saturating_sub(more);
        }
        groups
    }
}

/// The leaves of a unit, ascending, each once.
fn leaves_of(unit: &Unit) -> Vec<usize> {
    unit.iter().map(|piece| piece.leaf).collect()
}

/// Edge of the tiles of a kernel of n rows that goes to memory: large enough for fast products,
/// small enough that the halves of tiles above the diagonal are few.
pub(crate) fn edge(n: usize) -> usize {
    (n / 8).next_power_of_two().clamp(1024, 2048).min(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factors::form::LayerPlan;

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
            together: usize::MAX,
            stay: false,
            item: 4,
            operand: 4,
            entry: 4,
            held: 10_000,
            sweep: 20_000,
            depth: 200,
            limit,
        }
    }

    /// Every channel of every leaf once.
    fn check(demand: &Demand, schedule: &Schedule) {
        let mut seen: Vec<Vec<bool>> =
            demand.leaves.iter().map(|size| vec![false; size.channels]).collect();
        for group in &schedule.groups {
            for piece in group.chunks.iter().flatten().flatten() {
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
            let units = schedule.groups.iter().flat_map(|group| group.chunks.iter().flatten());
            assert!(units.eq(&demand.units()), "the order of sums depends on the memory");
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
        let needed = |limit| match Schedule::new(&demand(limit)) {
            Err(GramError::DeviceMemory { needed, .. }) => Some(needed),
            _ => None,
        };
        let least = needed(1).expect("nothing fits");
        assert_eq!((needed(least - 2), needed(least)), (Some(least), None));
    }

    #[test]
    fn edges_suit_products() {
        assert_eq!([1, 500, 4_000, 60_000].map(edge), [1, 500, 1024, 2048]);
    }
}
