//! What an engine has to compute and may hold, as numbers: made by each engine, read by
//! [`Schedule`](super::schedule::Schedule) and [`Plan`](super::Plan).

use std::ops::Range;

use crate::factors::form::Form;

/// The program, its threads and its small allocations.
pub(crate) const PROGRAM: u64 = 40 << 20;

/// Sizes of an assembly; all memory in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Workload {
    /// What is contracted by itself.
    pub(crate) layers: Vec<LayerSize>,
    /// Rows of the kernel that take part, of both sides where they differ.
    pub(crate) rows: usize,
    /// Rows whose factors are held twice while their micro-batches are joined.
    pub(crate) block: usize,
    /// Tiles to compute.
    pub(crate) tiles: usize,
    /// Tiles that may be resident at a time.
    pub(crate) resident_tiles: usize,
    /// Whether all finished tiles stay in this memory.
    pub(crate) keeps_tiles: bool,
    /// One tile.
    pub(crate) tile: u64,
    /// One number of a factor that waits to become an operand; 0 where factors are the operands.
    pub(crate) bytes_per_kept: u64,
    /// One number of an operand of products.
    pub(crate) bytes_per_operand: u64,
    /// Inputs, parameters and the program.
    pub(crate) held: u64,
    /// The sweeps that run at a time.
    pub(crate) sweep: u64,
    /// Tiles on their way elsewhere, beside those that are resident.
    pub(crate) waiting: u64,
    /// Buffers of products.
    pub(crate) scratch: u64,
    /// How a device goes through it; none for the CPU, whose sweeps have given their memory back
    /// before its products begin.
    pub(crate) device: Option<DeviceSteps>,
    /// Columns that one product sums before the next adds to it.
    pub(crate) depth: usize,
    /// Of what sweeps and tiles leave, one part in so many goes to a chunk of operands, the rest
    /// to factors that wait. A group of factors costs a sweep, a chunk no more than its
    /// products.
    pub(crate) chunk_share: u64,
    /// Memory there is, and the share of it that is planned with: allocators lose some to
    /// fragments.
    pub(crate) limit: u64,
    pub(crate) share: f64,
}

/// What a device's memory depends on beside the sizes of layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceSteps {
    /// Rows of the kernel that are swept at a time.
    pub(crate) batch: usize,
    /// The inputs of a micro-batch that is filled up with copies of its last example.
    pub(crate) filled_up: u64,
    /// Tiles that wait for their copies to the host while the next is computed.
    pub(crate) copies: u64,
    /// Numbers of a block's unrounded rows that are there while they are rounded, for each number
    /// of the operand; 0 where nothing is rounded, and an operand may be a factor itself.
    pub(crate) unrounded: u64,
    /// Most numbers of patches that are made at a time.
    pub(crate) patches: usize,
}

/// What is contracted by itself: the weight of a layer, its bias, or both; per row of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerSize {
    pub(crate) form: Form,
    /// Numbers of its factor; on the CPU factors are the operands, and `width` counts them.
    pub(crate) kept: usize,
    /// Numbers of the products' operands.
    pub(crate) width: usize,
    /// Equal parts in which its rows may be formed, one after the other; 1 if not at all.
    pub(crate) channels: usize,
    /// Numbers of inputs and cotangents, or of rows that no factor precedes.
    pub(crate) factor: usize,
    /// Numbers of its inputs.
    pub(crate) inputs: usize,
    /// Numbers of the patches of these, if rows are made from them.
    pub(crate) patches: usize,
    /// Numbers of its factor that are the inputs of the kernel themselves, and not copied where a
    /// block is swept at once.
    pub(crate) lent: usize,
}

/// Some channels of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelRange {
    pub(crate) layer: usize,
    pub(crate) channels: Range<usize>,
}

/// What one product of the kernel sums: a few short layers, or a part of a long one.
pub(crate) type ColumnBlock = Vec<ChannelRange>;

impl Workload {
    /// Memory that is needed whatever the operands, with so many tiles: a bound, since sweeps,
    /// operands and products follow each other.
    pub(crate) fn fixed(&self, tiles: usize) -> u64 {
        let making = self.column_blocks().into_iter().map(|block| self.making(&block, self.block));
        let at_once = self.largest_sweep().max(self.scratch).max(making.max().unwrap_or(0));
        self.held + at_once + self.resident(tiles)
    }

    /// Memory with all operands: each tile is finished at once, and none begins before the sweeps
    /// end.
    pub(crate) fn whole(&self) -> u64 {
        if let Some(steps) = self.device {
            let others = (self.tiles as u64).saturating_sub(1);
            let tiles = self.resident(1) + self.tile * steps.copies.min(others);
            return self.held + self.held_by_operands([0, tiles]);
        }
        let width: u64 = self.layers.iter().map(|size| size.width as u64).sum();
        let fixed = self.held + self.sweep.max(self.scratch + self.resident(1));
        fixed + self.rows as u64 * width * self.bytes_per_operand
    }

    pub(crate) fn resident(&self, tiles: usize) -> u64 {
        let tiles = if self.keeps_tiles { self.tiles } else { tiles };
        self.tile.saturating_mul(tiles as u64 + self.waiting)
    }

    /// The factors of some layers for all rows, those of one block twice.
    pub(crate) fn kept_bytes(&self, layers: &[usize]) -> u64 {
        let kept: usize = layers.iter().map(|layer| self.layers[*layer].kept).sum();
        let kept = self.rows as u64 * kept as u64 * self.bytes_per_kept;
        kept + kept / self.rows.div_ceil(self.block) as u64
    }

    /// The operands of a product, for all rows.
    pub(crate) fn operand_bytes(&self, block: &ColumnBlock) -> u64 {
        let width: usize = block.iter().map(|range| self.width(range)).sum();
        self.rows as u64 * width as u64 * self.bytes_per_operand
    }

    pub(super) fn width(&self, range: &ChannelRange) -> usize {
        let size = &self.layers[range.layer];
        size.width / size.channels.max(1) * range.channels.len()
    }

    /// All layers in blocks of up to `depth` columns: rows that are shorter together first, then
    /// the others in their order, cut where they are longer. A function of the layers alone, so
    /// that no bit of the kernel depends on the memory.
    pub(crate) fn column_blocks(&self) -> Vec<ColumnBlock> {
        let is_short = |size: &LayerSize| size.form == Form::Rows && size.width < self.depth;
        let all = || self.layers.iter().enumerate();
        let (mut blocks, mut taken) = (Vec::<ColumnBlock>::new(), self.depth);
        for (layer, size) in all().filter(|(_, size)| is_short(size)) {
            let range = ChannelRange { layer, channels: 0..size.channels };
            match blocks.last_mut() {
                Some(block) if taken.saturating_add(size.width) <= self.depth => block.push(range),
                _ => {
                    blocks.push(vec![range]);
                    taken = 0;
                }
            }
            taken += size.width;
        }
        for (layer, size) in all().filter(|(_, size)| !is_short(size)) {
            blocks.extend(self.cut(layer, size));
        }
        blocks
    }

    /// The channels of a long layer, as many at a time as have `depth` columns.
    fn cut(&self, layer: usize, size: &LayerSize) -> impl Iterator<Item = ColumnBlock> + use<> {
        let is_rows = matches!(size.form, Form::Rows | Form::Expanded);
        let (channels, width) = (size.channels, size.width);
        let channel = width.div_ceil(channels.max(1)).max(1);
        let step = if is_rows { (self.depth / channel).max(1) } else { 1 };
        (0..channels).step_by(step).map(move |start| {
            vec![ChannelRange { layer, channels: start..channels.min(start + step) }]
        })
    }
}

/// The layers of a block, ascending, each once.
pub(crate) fn layers_of(block: &ColumnBlock) -> Vec<usize> {
    block.iter().map(|range| range.layer).collect()
}
