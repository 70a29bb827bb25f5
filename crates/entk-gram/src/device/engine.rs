//! Tiles in tensor operations, in the order of a [`Schedule`]: factors of blocks of rows become
//! operands, operands become tiles.

use std::{collections::BTreeMap, ops::Range};

use candle_core::Tensor;

use crate::{
    config::Outputs,
    device::{arithmetic::Arithmetic, kept::KeptFactor, operand::LayerOperand},
    error::{GramError, Result},
    ntk::Ntk,
    plan::{
        schedule::{Schedule, SweepGroup},
        workload::ColumnBlock,
    },
    progress::Watch,
    tiles::{
        Tiles,
        grid::{Grid, TileIndex},
    },
};

/// Consecutive rows of the kernel, one row or column of tiles.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The examples to which they belong, (n, C, H, W).
    pub(crate) inputs: Tensor,
    /// Rows of the first example that belong to the block before.
    pub(crate) skip: usize,
    /// Number of rows.
    pub(crate) rows: usize,
}

impl Block {
    /// The rows of a kernel, and behind them its columns where these have inputs of their own.
    pub(crate) fn all(ntk: &Ntk<'_>, tiles: &Tiles<'_>) -> Result<Vec<Self>> {
        let mut blocks = Self::of(ntk, &ntk.inputs, tiles.rows)?;
        if let Some((others, cols)) = tiles.others {
            blocks.extend(Self::of(ntk, others, cols)?);
        }
        Ok(blocks)
    }

    fn of(ntk: &Ntk<'_>, inputs: &Tensor, grid: Grid) -> Result<Vec<Self>> {
        let per = ntk.rows_per_example();
        let block = |rows: Range<usize>| {
            let (first, last) = (rows.start / per, rows.end.div_ceil(per));
            let inputs = inputs.narrow(0, first, last - first)?;
            Ok(Self { inputs, skip: rows.start - first * per, rows: rows.len() })
        };
        (0..grid.side()).map(|at| block(grid.range(at))).collect()
    }
}

/// Takes finished tiles, (rows, columns), in the order in which they were asked for.
pub(crate) type TensorSink<'a> = dyn FnMut(TileIndex, Tensor) -> Result<()> + 'a;

/// Computes tiles of a kernel in tensor operations, wherever its tensors lie.
///
/// Either all operands of the products are resident and tiles are finished one after the other, or
/// the tiles are resident and the parameters are split: factors are kept for all examples group by
/// group, chunk by chunk of the parameters they become operands, and every tile takes their
/// product. The Jacobian is then formed once, and the sweeps are as many as there are groups.
pub(crate) struct DeviceEngine<'a> {
    pub(crate) ntk: Ntk<'a>,
    pub(crate) blocks: Vec<Block>,
    /// Where the blocks of the columns begin.
    pub(crate) first_col: usize,
    pub(crate) tiles: Vec<TileIndex>,
    pub(crate) schedule: Schedule,
    pub(crate) arithmetic: Arithmetic,
    /// Examples that are swept at a time.
    pub(crate) micro_batch: usize,
}

/// Factors by their place in the backward sweep.
type Factors = BTreeMap<usize, KeptFactor>;
/// Operands of the blocks that take part.
type Operands = BTreeMap<usize, Vec<LayerOperand>>;

impl DeviceEngine<'_> {
    /// Computes its tiles.
    pub(crate) fn run(&self, watch: &Watch<'_>, sink: &mut TensorSink<'_>) -> Result<()> {
        let resident = self.schedule.operands_are_resident();
        let at_once = if resident { self.tiles.len() } else { self.schedule.tiles };
        self.tiles.chunks(at_once.max(1)).try_for_each(|tiles| self.fill_tiles(tiles, watch, sink))
    }

    /// Entries that [`run`](Self::run) reports, each as often as it is added to.
    pub(crate) fn work(&self) -> usize {
        let entries: usize = self.tiles.iter().map(|tile| self.entries(*tile)).sum();
        entries * self.schedule.passes()
    }

    /// Rows and columns of a tile, as blocks.
    fn sides(&self, tile: TileIndex) -> [usize; 2] {
        [tile.0, self.first_col + tile.1]
    }

    fn shape(&self, tile: TileIndex) -> [usize; 2] {
        self.sides(tile).map(|block| self.blocks[block].rows)
    }

    /// Entries of a tile.
    pub(crate) fn entries(&self, tile: TileIndex) -> usize {
        self.shape(tile).iter().product()
    }

    /// The blocks that some tiles need, ascending.
    fn blocks_of(&self, tiles: &[TileIndex]) -> impl Iterator<Item = usize> + use<> {
        let mut blocks: Vec<usize> = tiles.iter().flat_map(|tile| self.sides(*tile)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks.into_iter()
    }

    /// Tiles that are resident at a time.
    fn fill_tiles(
        &self,
        tiles: &[TileIndex],
        watch: &Watch<'_>,
        sink: &mut TensorSink<'_>,
    ) -> Result<()> {
        let mut sums = vec![None; tiles.len()];
        let mut left = self.schedule.passes();
        let device = self.ntk.params.device();
        let at = |tile: TileIndex| move |error: GramError| error.at_tile(device, tile);
        for group in &self.schedule.groups {
            let kept = self.kept(group, tiles, watch).map_err(at(tiles[0]))?;
            for chunk in &group.chunks {
                let operands = self.operands(group, chunk, kept.as_ref(), tiles, watch);
                let operands = operands.map_err(at(tiles[0]))?;
                left -= 1;
                for (tile, sum) in tiles.iter().zip(&mut sums) {
                    watch.check()?;
                    let more = self.accumulate(sum.take(), &operands, *tile);
                    let more = more.map_err(at(*tile))?;
                    watch.advance(self.entries(*tile));
                    if left == 0 {
                        sink(*tile, self.finished(more, *tile).map_err(at(*tile))?)?;
                    } else {
                        *sum = more;
                    }
                }
            }
        }
        Ok(())
    }

    /// The factors of a group for all blocks, unless they become operands all at once.
    fn kept(
        &self,
        group: &SweepGroup,
        tiles: &[TileIndex],
        watch: &Watch<'_>,
    ) -> Result<Option<BTreeMap<usize, Factors>>> {
        if group.chunks.len() == 1 {
            return Ok(None);
        }
        let factors = |block| Ok((block, self.factors(block, &group.layers, watch)?));
        Ok(Some(self.blocks_of(tiles).map(factors).collect::<Result<_>>()?))
    }

    /// One chunk of a group for every block.
    fn operands(
        &self,
        group: &SweepGroup,
        chunk: &[ColumnBlock],
        kept: Option<&BTreeMap<usize, Factors>>,
        tiles: &[TileIndex],
        watch: &Watch<'_>,
    ) -> Result<Operands> {
        let of_block = |block: usize| {
            let swept;
            let factors = match kept {
                Some(kept) => &kept[&block],
                None => {
                    swept = self.factors(block, &group.layers, watch)?;
                    &swept
                }
            };
            let operand = |columns: &ColumnBlock| {
                let columns: Vec<_> = columns.iter().map(|r| (&factors[&r.layer], r)).collect();
                LayerOperand::new(&columns, &self.arithmetic)
            };
            Ok((block, chunk.iter().map(operand).collect::<Result<_>>()?))
        };
        self.blocks_of(tiles).map(of_block).collect()
    }

    /// The tile with the products of all operands.
    fn accumulate(
        &self,
        mut sum: Option<Tensor>,
        operands: &Operands,
        tile: TileIndex,
    ) -> Result<Option<Tensor>> {
        let [rows, cols] = self.sides(tile);
        for (left, right) in operands[&rows].iter().zip(&operands[&cols]) {
            sum = Some(left.accumulate(right, sum, &self.arithmetic)?);
        }
        Ok(sum)
    }

    /// A tile without any operand is zero.
    fn finished(&self, sum: Option<Tensor>, tile: TileIndex) -> Result<Tensor> {
        let (shape, device) = (self.shape(tile), self.ntk.params.device());
        Ok(sum.map_or_else(|| Tensor::zeros(&shape, self.arithmetic.entry, device), Ok)?)
    }

    /// One sweep over the examples of a block: its factors at the places `wanted`.
    fn factors(&self, block: usize, wanted: &[usize], watch: &Watch<'_>) -> Result<Factors> {
        let Block { inputs, skip, rows } = &self.blocks[block];
        let starts = (0..inputs.dim(0)?).step_by(self.micro_batch);
        let batches = starts.map(|start| {
            watch.check()?;
            let count = self.micro_batch.min(inputs.dim(0)? - start);
            let batch = inputs.narrow(0, start, count)?;
            batch_factors(&self.ntk, &batch, self.micro_batch, wanted)
        });
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let concat = |at: usize| {
            let parts: Vec<_> = batches.iter().map(|batch| batch[at].clone()).collect();
            let kept = KeptFactor::concat(&parts)?;
            if kept.count() == *rows { Ok(kept) } else { kept.narrow(&(*skip..skip + rows)) }
        };
        wanted.iter().enumerate().map(|(at, layer)| Ok((*layer, concat(at)?))).collect()
    }
}

/// The wanted factors of a micro-batch, the rows of all outputs of an example side by side.
///
/// The last batch is filled up to `size` with copies of its last example: the bits of a device's
/// products depend on how many rows are multiplied at once.
pub(super) fn batch_factors(
    ntk: &Ntk<'_>,
    batch: &Tensor,
    size: usize,
    wanted: &[usize],
) -> Result<Vec<KeptFactor>> {
    let count = batch.dim(0)?;
    let mut layers = vec![Vec::new(); wanted.len()];
    let mut at = 0;
    ntk.sweep(&padded(batch, size)?, None, &mut |_, swept| {
        if ntk.config.outputs == Outputs::Full {
            at = 0; // every output has the layers of the first
        }
        for factors in swept {
            let mut parts = 1;
            for factor in factors {
                let kept = KeptFactor::of(factor, ntk.config.strategy)?;
                parts = kept.len();
                for (part, kept) in kept.into_iter().enumerate() {
                    if let Ok(layer) = wanted.binary_search(&(at + part)) {
                        let cut = kept.count() != count;
                        layers[layer].push(if cut { kept.narrow(&(0..count))? } else { kept });
                    }
                }
            }
            at += parts;
        }
        Ok(())
    })?;
    layers.iter().map(|outputs| KeptFactor::interleaved(outputs)?.in_shorter_form()).collect()
}

fn padded(batch: &Tensor, size: usize) -> Result<Tensor> {
    let count = batch.dim(0)?;
    if count == size {
        return Ok(batch.clone());
    }
    let last = batch.narrow(0, count - 1, 1)?;
    let copies = last.repeat([&[size - count][..], &vec![1; last.rank() - 1]].concat())?;
    Ok(Tensor::cat(&[batch, &copies], 0)?)
}
