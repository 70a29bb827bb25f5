//! The order of work that fits the memory: a pure function of a [`Workload`], for every engine.

use crate::{
    error::{GramError, Result},
    plan::workload::{ColumnBlock, Workload, layers_of},
};

/// Factors that are kept for all rows after one sweep, and the chunks of blocks in which they
/// become operands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SweepGroup {
    pub(crate) layers: Vec<usize>,
    pub(crate) chunks: Vec<Vec<ColumnBlock>>,
}

/// The order of work.
///
/// Blocks of columns and their order follow from the layers alone, so that the bits of the kernel
/// do not depend on the memory: that only says how many blocks are at hand at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// One sweep each. A single chunk in all means that every operand is resident, and that the
    /// tiles are finished one after the other; else the tiles are resident and every chunk is
    /// added to each of them.
    pub(crate) groups: Vec<SweepGroup>,
    /// Tiles that are resident at a time; all work is repeated for each such set.
    pub(crate) tiles: usize,
    /// Largest memory in use.
    pub(crate) peak: u64,
}

impl Schedule {
    /// Whether all operands are resident, so that tiles need not be.
    pub(crate) fn operands_are_resident(&self) -> bool {
        self.passes() <= 1
    }

    /// The cheapest schedule that fits.
    ///
    /// # Errors
    /// [`GramError::Memory`] where nothing does.
    pub(crate) fn new(work: &Workload) -> Result<Self> {
        let limit = (work.limit as f64 * work.share) as u64;
        let whole = Self::whole(work);
        if whole.peak <= limit {
            return Ok(whole);
        }
        let mut tiles = work.tiles.min(work.resident_tiles).max(1);
        loop {
            match Self::split(work, tiles, limit) {
                Some(schedule) => return Ok(schedule),
                None if tiles > 1 => tiles = tiles.div_ceil(2),
                None => {
                    let least = least(work).min(whole.peak);
                    let needed = (least as f64 / work.share).ceil() as u64;
                    return Err(GramError::Memory { needed, limit: work.limit });
                }
            }
        }
    }

    /// Every operand resident, whatever the memory.
    pub(crate) fn whole(work: &Workload) -> Self {
        let layers = (0..work.layers.len()).collect();
        let group = SweepGroup { layers, chunks: vec![work.column_blocks()] };
        Self { groups: vec![group], tiles: 1, peak: work.whole() }
    }

    /// The schedule that takes the least memory.
    pub(crate) fn smallest(work: &Workload) -> Self {
        let whole = Self::whole(work);
        let split = Self::split(work, 1, least(work));
        split.filter(|split| split.peak < whole.peak).unwrap_or(whole)
    }

    /// So many tiles resident; `None` if that does not fit.
    fn split(work: &Workload, tiles: usize, limit: u64) -> Option<Self> {
        let blocks = work.column_blocks();
        let rest = limit.checked_sub(work.fixed(tiles))?;
        let most = rest.checked_sub(least_kept(work, &blocks))?;
        let least = Some(least_chunk(work, &blocks)).filter(|least| *least <= most)?;
        let chunk = (rest / work.chunk_share).clamp(least, most);
        let groups = grouped(work, blocks, rest - chunk, chunk);
        if work.device.is_some() {
            let peak = work.held_by_groups(&groups, tiles);
            return Some(Self { groups, tiles, peak });
        }
        let kept = groups.iter().map(|group| work.kept_bytes(&group.layers)).max();
        let chunk =
            groups.iter().flat_map(|group| &group.chunks).map(|chunk| bytes_of(work, chunk));
        let peak = work.fixed(tiles) + chunk.max().unwrap_or(0) + kept.unwrap_or(0);
        Some(Self { groups, tiles, peak })
    }

    /// Passes over the resident tiles.
    pub(crate) fn passes(&self) -> usize {
        self.groups.iter().map(|group| group.chunks.len()).sum()
    }
}

/// The least memory of any schedule.
fn least(work: &Workload) -> u64 {
    let blocks = work.column_blocks();
    work.fixed(1) + least_kept(work, &blocks) + least_chunk(work, &blocks)
}

/// The largest factors that a block needs.
fn least_kept(work: &Workload, blocks: &[ColumnBlock]) -> u64 {
    blocks.iter().map(|block| work.kept_bytes(&layers_of(block))).max().unwrap_or(0)
}

/// The largest block.
fn least_chunk(work: &Workload, blocks: &[ColumnBlock]) -> u64 {
    blocks.iter().map(|block| work.operand_bytes(block)).max().unwrap_or(0)
}

fn bytes_of(work: &Workload, chunk: &[ColumnBlock]) -> u64 {
    chunk.iter().map(|block| work.operand_bytes(block)).sum()
}

/// Blocks in their order, in groups whose factors take at most `kept` bytes and chunks of at most
/// `chunk`.
fn grouped(work: &Workload, blocks: Vec<ColumnBlock>, kept: u64, chunk: u64) -> Vec<SweepGroup> {
    let mut groups: Vec<SweepGroup> = Vec::new();
    for block in blocks {
        let more = layers_of(&block);
        let mut layers =
            groups.last().map_or_else(Vec::new, |group| [&group.layers[..], &more].concat());
        layers.sort_unstable();
        layers.dedup();
        match groups.last_mut() {
            Some(group) if work.kept_bytes(&layers) <= kept => {
                group.layers = layers;
                match group.chunks.last_mut() {
                    Some(last) if bytes_of(work, last) + work.operand_bytes(&block) <= chunk => {
                        last.push(block);
                    }
                    _ => group.chunks.push(vec![block]),
                }
            }
            _ => groups.push(SweepGroup { layers: more, chunks: vec![vec![block]] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        factors::form::Form,
        plan::workload::{DeviceSteps, LayerSize},
    };

    fn layer(form: Form, kept: usize, width: usize, channels: usize) -> LayerSize {
        let factor = kept.min(width);
        let (inputs, patches) = (factor / 2, 9 * channels);
        LayerSize { form, kept, width, channels, factor, inputs, patches, lent: 0 }
    }

    fn workload(limit: u64) -> Workload {
        Workload {
            layers: vec![
                layer(Form::Rows, 10, 10, 10),
                layer(Form::Dense, 50, 50, 1),
                layer(Form::Expanded, 100, 900, 9),
                layer(Form::Expanded, 60, 640, 64),
            ],
            rows: 1000,
            block: 100,
            tiles: 55,
            resident_tiles: usize::MAX,
            keeps_tiles: false,
            tile: 40_000,
            bytes_per_kept: 4,
            bytes_per_operand: 4,
            held: 10_000,
            sweep: 20_000,
            waiting: 0,
            scratch: 160_000,
            device: Some(DeviceSteps {
                batch: 10,
                filled_up: 0,
                copies: 2,
                unrounded: 0,
                patches: 1 << 10,
            }),
            depth: 200,
            chunk_share: 32,
            limit,
            share: 0.95,
        }
    }

    /// Every channel of every layer once.
    fn check(work: &Workload, schedule: &Schedule) {
        let mut seen: Vec<Vec<bool>> =
            work.layers.iter().map(|size| vec![false; size.channels]).collect();
        for group in &schedule.groups {
            for range in group.chunks.iter().flatten().flatten() {
                assert!(group.layers.contains(&range.layer));
                for channel in range.channels.clone() {
                    assert!(!std::mem::replace(&mut seen[range.layer][channel], true));
                }
            }
        }
        assert!(seen.iter().flatten().all(|seen| *seen));
    }

    #[test]
    fn schedules_of_any_limit_cover_everything_once_and_fit() {
        let mut shapes = Vec::new();
        for limit in (400_000..12_000_000).step_by(50_000) {
            let work = workload(limit);
            let Ok(schedule) = Schedule::new(&work) else { continue };
            check(&work, &schedule);
            let blocks = schedule.groups.iter().flat_map(|group| group.chunks.iter().flatten());
            assert!(blocks.eq(&work.column_blocks()), "the order of sums depends on the memory");
            assert!(schedule.peak <= limit, "{limit}: {schedule:?}");
            assert!((1..=work.tiles).contains(&schedule.tiles));
            shapes.push((schedule.operands_are_resident(), schedule.groups.len(), schedule.tiles));
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
        let needed = |limit| match Schedule::new(&workload(limit)) {
            Err(GramError::Memory { needed, .. }) => Some(needed),
            _ => None,
        };
        let least = needed(1).expect("nothing fits");
        assert_eq!((needed(least - 2), needed(least)), (Some(least), None));
    }
}
