//! What a device holds at a time, step by step: the sizes of a workload come in, bytes go out.
//! Called by [`Workload`] and by [`Schedule`](super::schedule::Schedule).

use crate::{
    factors::form::Form,
    plan::{
        schedule::SweepGroup,
        workload::{ChannelRange, ColumnBlock, DeviceSteps, Workload},
    },
};

impl Workload {
    /// The factors that a sweep of so many rows has left of these layers, beside the rows that are
    /// formed from them; a whole micro-batch is part of the inputs, which its factors may be.
    fn left_by_sweep(&self, layers: &[usize], rows: usize, is_whole: bool) -> u64 {
        let (mut numbers, mut patches) = (0, 0);
        for size in layers.iter().map(|layer| &self.layers[*layer]) {
            numbers += size.factor - if is_whole { size.lent } else { 0 };
            if size.form == Form::Rows && size.kept != size.factor {
                numbers += size.kept;
                patches = patches.max(size.patches);
            }
        }
        (rows * (numbers + patches)) as u64 * self.bytes_per_kept
    }

    /// A sweep of a micro-batch that is filled up with copies and of which so many rows are cut
    /// out: inputs of layers are there twice then, when the largest patches are freed.
    fn filled_up_sweep(&self, layers: &[usize], steps: DeviceSteps, rows: usize) -> u64 {
        let inputs: usize = layers.iter().map(|layer| self.layers[*layer].inputs).sum();
        let patches = self.layers.iter().map(|size| size.patches).max().unwrap_or(0);
        let twice = (rows * inputs).saturating_sub(steps.batch * patches);
        self.sweep + steps.filled_up + twice as u64 * self.bytes_per_kept
    }

    /// A bound of what any sweep takes.
    pub(super) fn largest_sweep(&self) -> u64 {
        let Some(steps) = self.device else { return self.sweep };
        let all: Vec<usize> = (0..self.layers.len()).collect();
        let left = self.left_by_sweep(&all, steps.batch, false);
        self.filled_up_sweep(&all, steps, steps.batch).max(left)
    }

    /// The factors of these layers for a block: those of its micro-batches so far and a sweep, or
    /// all of them and their joined copies.
    fn swept_block(&self, layers: &[usize]) -> u64 {
        let Some(steps) = self.device else { return self.sweep };
        let whole = self.block / steps.batch * steps.batch;
        let rest = self.block - whole;
        let kept = self.kept_of(layers, self.block);
        let mut most = if rest == 0 && whole == steps.batch { kept } else { 2 * kept };
        if whole > 0 {
            let swept = self.sweep.max(self.left_by_sweep(layers, steps.batch, true));
            most = most.max(self.kept_of(layers, whole - steps.batch) + swept);
        }
        if rest > 0 {
            let swept = self.filled_up_sweep(layers, steps, rest);
            let swept = swept.max(self.left_by_sweep(layers, rest, false));
            let all = if whole == 0 { kept } else { most };
            most = all.max(self.kept_of(layers, whole) + swept);
        }
        most
    }

    /// The factors of some layers for so many rows.
    fn kept_of(&self, layers: &[usize], rows: usize) -> u64 {
        let numbers = |layer: &usize| {
            let size = &self.layers[*layer];
            rows * size.kept - self.lent_rows(rows) * size.lent
        };
        layers.iter().map(numbers).sum::<usize>() as u64 * self.bytes_per_kept
    }

    /// Of so many rows those whose factors may be inputs of the kernel themselves: blocks that are
    /// swept at once and need no filling up.
    fn lent_rows(&self, rows: usize) -> usize {
        match self.device {
            Some(steps) if steps.batch == self.block => rows / self.block * self.block,
            _ => 0,
        }
    }

    /// The operands of some blocks of columns for so many rows.
    fn operands_of(&self, blocks: &[ColumnBlock], rows: usize) -> u64 {
        let numbers = |block: &ColumnBlock| {
            let width: usize = block.iter().map(|range| self.width(range)).sum();
            let lent = if self.is_kept(block) { self.layers[block[0].layer].lent } else { 0 };
            rows * width - self.lent_rows(rows) * lent
        };
        blocks.iter().map(numbers).sum::<usize>() as u64 * self.bytes_per_operand
    }

    /// The operands among them that are no factors themselves.
    fn copies_of(&self, blocks: &[ColumnBlock], rows: usize) -> u64 {
        let copied = |block: &&ColumnBlock| !self.is_kept(block);
        let width: usize =
            blocks.iter().filter(copied).flatten().map(|range| self.width(range)).sum();
        (rows * width) as u64 * self.bytes_per_operand
    }

    /// Whether an operand is a factor as it is kept: one whole layer, of which nothing is rounded.
    fn is_kept(&self, block: &ColumnBlock) -> bool {
        let [range] = block.as_slice() else { return false };
        let size = &self.layers[range.layer];
        let whole = range.channels.len() == size.channels;
        let rounds = self.device.is_none_or(|steps| steps.unrounded > 0);
        whole && !rounds && matches!(size.form, Form::Rows | Form::Dense)
    }

    /// What is there beside factors and operands while the operand of so many rows is made: patches
    /// and rows that are joined, and rows that are rounded.
    pub(super) fn making(&self, block: &ColumnBlock, rows: usize) -> u64 {
        let Some(steps) = self.device else { return 0 };
        let of = |range: &ChannelRange| {
            let size = &self.layers[range.layer];
            if size.form != Form::Expanded {
                return 0;
            }
            let share = |numbers: usize| numbers / size.channels.max(1) * range.channels.len();
            let patches = share(size.patches);
            let at_once = (steps.patches / patches.max(1)).max(1).min(rows);
            let parts = if at_once < rows { rows * self.width(range) } else { 0 };
            at_once * (patches + share(size.factor)) + parts
        };
        let patches: usize = block.iter().map(of).max().unwrap_or(0);
        let width: usize = block.iter().map(|range| self.width(range)).sum();
        (patches as u64 + steps.unrounded * (rows * width) as u64) * self.bytes_per_kept
    }

    fn most_making(&self, blocks: &[ColumnBlock]) -> u64 {
        blocks.iter().map(|block| self.making(block, self.block)).max().unwrap_or(0)
    }

    /// Operands of all rows that are made block by block, each from factors that are then freed;
    /// `[before, after]` are the tiles during the sweeps and during the products.
    fn at_once(&self, layers: &[usize], blocks: &[ColumnBlock], [before, after]: [u64; 2]) -> u64 {
        let others = self.operands_of(blocks, self.rows.saturating_sub(self.block));
        let made = self.kept_of(layers, self.block)
            + self.copies_of(blocks, self.block)
            + self.most_making(blocks);
        let products = self.operands_of(blocks, self.rows) + self.scratch + after;
        (before + others + self.swept_block(layers).max(made)).max(products)
    }

    /// What the operands of all columns and these tiles take.
    pub(super) fn held_by_operands(&self, tiles: [u64; 2]) -> u64 {
        let all: Vec<usize> = (0..self.layers.len()).collect();
        self.at_once(&all, &self.column_blocks(), tiles)
    }

    /// Memory of these groups with so many tiles resident. None is there before the first
    /// products, but for those of the set before that wait for their copies.
    pub(super) fn held_by_groups(&self, groups: &[SweepGroup], tiles: usize) -> u64 {
        let after = self.resident(tiles);
        let copies = self.device.map_or(0, |steps| steps.copies.min(tiles as u64));
        let first = match tiles < self.tiles && !self.keeps_tiles {
            true => self.tile * copies,
            false if self.keeps_tiles => after,
            false => 0,
        };
        let of_group = |(at, group): (usize, &SweepGroup)| {
            let before = if at == 0 { first } else { after };
            if let [chunk] = group.chunks.as_slice() {
                return self.at_once(&group.layers, chunk, [before, after]);
            }
            let others = self.kept_of(&group.layers, self.rows.saturating_sub(self.block));
            let kept = self.kept_of(&group.layers, self.rows);
            let chunk = |chunk: &Vec<ColumnBlock>| {
                let copies = self.copies_of(chunk, self.rows);
                after + kept + copies + self.scratch.max(self.most_making(chunk))
            };
            let products = group.chunks.iter().map(chunk).max().unwrap_or(0);
            (before + others + self.swept_block(&group.layers)).max(products)
        };
        self.held + groups.iter().enumerate().map(of_group).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::workload::LayerSize;

    const DENSE: LayerSize = LayerSize {
        form: Form::Dense,
        kept: 50,
        width: 50,
        channels: 1,
        factor: 50,
        inputs: 20,
        patches: 0,
        lent: 20,
    };
    /// Rows that are formed from a factor by way of patches.
    const ROWS: LayerSize = LayerSize {
        form: Form::Rows,
        kept: 10,
        width: 10,
        channels: 1,
        factor: 14,
        inputs: 4,
        patches: 9,
        lent: 0,
    };
    /// Rows in six parts, formed where they are multiplied.
    const EXPANDED: LayerSize = LayerSize {
        form: Form::Expanded,
        kept: 30,
        width: 60,
        channels: 6,
        factor: 30,
        inputs: 18,
        patches: 12,
        lent: 0,
    };

    /// 25 rows in blocks of 10, of which `batch` are swept at a time; factors have 4 bytes a
    /// number, operands 8.
    fn workload(layers: &[LayerSize], batch: usize, sweep: u64) -> Workload {
        let steps = DeviceSteps { batch, filled_up: 500, copies: 2, unrounded: 0, patches: 30 };
        Workload {
            layers: layers.to_vec(),
            rows: 25,
            block: 10,
            tiles: 6,
            resident_tiles: 6,
            keeps_tiles: false,
            tile: 3000,
            bytes_per_kept: 4,
            bytes_per_operand: 8,
            held: 100_000,
            sweep,
            waiting: 0,
            scratch: 700,
            device: Some(steps),
            depth: 1000,
            chunk_share: 32,
            limit: u64::MAX,
            share: 1.0,
        }
    }

    fn whole(work: &Workload, layer: usize) -> ColumnBlock {
        vec![ChannelRange { layer, channels: 0..work.layers[layer].channels }]
    }

    #[test]
    fn factors_that_are_inputs_of_the_kernel_are_not_copied() {
        let work = workload(&[DENSE, ROWS], 10, 1000);
        // Two whole blocks of the 25 rows are lent, twenty numbers each.
        assert_eq!(work.kept_of(&[0], 25), 4 * (25 * 50 - 20 * 20));
        assert_eq!(work.kept_of(&[0, 1], 25), 4 * (25 * 60 - 20 * 20));
        let [dense, rows] = [whole(&work, 0), whole(&work, 1)];
        let alone = std::slice::from_ref(&dense);
        assert_eq!(work.operands_of(alone, 25), 8 * (25 * 50 - 20 * 20));
        assert_eq!(work.operands_of(&[dense.clone(), rows.clone()], 9), 8 * 9 * 60);
        // In one product with others a factor is copied, and counts whole.
        let both = [[dense.clone(), rows].concat()];
        assert_eq!(work.operands_of(&both, 25), 8 * 25 * 60);
        assert_eq!(work.copies_of(&both, 25), 8 * 25 * 60);
        assert_eq!(work.copies_of(alone, 25), 0);
        // Blocks of several sweeps are joined, and nothing of them is lent.
        let copied = workload(&[DENSE, ROWS], 4, 1000);
        assert_eq!(copied.kept_of(&[0], 25), 4 * 25 * 50);
        // What is rounded is no factor as it is kept.
        let mut rounding = work;
        rounding.device = rounding.device.map(|steps| DeviceSteps { unrounded: 2, ..steps });
        assert_eq!(rounding.operands_of(alone, 25), 8 * 25 * 50);
        assert_eq!(rounding.copies_of(alone, 25), 8 * 25 * 50);
        assert_eq!(rounding.making(&dense, 10), 4 * 2 * 10 * 50);
    }

    #[test]
    fn a_sweep_leaves_factors_and_the_largest_patches() {
        let work = workload(&[DENSE, ROWS, ROWS], 10, 1000);
        // The rows are beside the factors that they are formed from.
        let of_rows = 14 + 10;
        assert_eq!(work.left_by_sweep(&[0], 7, false), 4 * 7 * 50);
        assert_eq!(work.left_by_sweep(&[0], 10, true), 4 * 10 * 30);
        assert_eq!(work.left_by_sweep(&[0, 1, 2], 7, false), 4 * 7 * (50 + 2 * of_rows + 9));
        // Inputs twice, when ten rows of patches are freed.
        assert_eq!(work.filled_up_sweep(&[0, 1], DeviceSteps { batch: 1, ..steps(&work) }, 5), {
            1000 + 500 + 4 * (5 * 24 - 9)
        });
        assert_eq!(work.filled_up_sweep(&[1], steps(&work), 5), 1000 + 500);
    }

    fn steps(work: &Workload) -> DeviceSteps {
        work.device.expect("a device")
    }

    #[test]
    fn a_block_takes_its_factors_twice_or_a_sweep_beside_some() {
        // One sweep a block: what it leaves, which is more than it takes.
        let left = 4 * 10 * (30 + 24 + 9);
        assert_eq!(workload(&[DENSE, ROWS], 10, 1000).swept_block(&[0, 1]), left);
        assert_eq!(workload(&[DENSE, ROWS], 10, 9000).swept_block(&[0, 1]), 9000);
        // Two sweeps of four and a filled up one of two, then joined.
        assert_eq!(workload(&[DENSE, ROWS], 4, 1000).swept_block(&[0, 1]), 2 * 4 * 10 * 60);
        let large = 9000 + 500 + 4 * (2 * 24 - 4 * 9);
        assert_eq!(workload(&[DENSE, ROWS], 4, 9000).swept_block(&[0, 1]), 4 * 8 * 60 + large);
        // A block shorter than a sweep.
        let filled_up = 9000 + 500 + 4 * (10 * 24 - 16 * 9);
        assert_eq!(workload(&[DENSE, ROWS], 16, 9000).swept_block(&[0, 1]), filled_up);
    }

    #[test]
    fn rows_are_formed_from_as_many_patches_as_fit() {
        let work = workload(&[EXPANDED], 10, 1000);
        let range = |channels| vec![ChannelRange { layer: 0, channels }];
        // Two numbers of patches a channel: fifteen rows at a time, so all ten at once.
        assert_eq!(work.making(&range(0..1), 10), 4 * 10 * (2 + 5));
        // Twelve numbers: two rows at a time, and the ten rows that they are joined to.
        assert_eq!(work.making(&range(0..6), 10), 4 * (2 * (12 + 30) + 10 * 60));
        assert_eq!(work.making(&range(0..6), 2), 4 * 2 * (12 + 30));
        // What needs no patches is made of nothing.
        assert_eq!(workload(&[DENSE], 10, 1000).making(&range(0..1), 10), 0);
    }

    #[test]
    fn operands_are_made_block_by_block() {
        let work = workload(&[DENSE, ROWS], 10, 1000);
        let blocks = [whole(&work, 0), whole(&work, 1)];
        let others = 8 * (15 * 60 - 10 * 20);
        let left = 4 * 10 * (30 + 24 + 9);
        let products = 8 * (25 * 60 - 20 * 20) + 700;
        assert_eq!(work.at_once(&[0, 1], &blocks, [5, 11]), (5 + others + left).max(products + 11));
        assert_eq!(work.at_once(&[0, 1], &blocks, [5000, 11]), 5000 + others + left);
    }
}
