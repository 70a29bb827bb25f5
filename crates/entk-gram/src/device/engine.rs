use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::{
    assembly::Assembly,
    device::{
        arithmetic::Arithmetic,
        leaf::Leaf,
        schedule::{Group, Schedule, Unit},
        term::Term,
    },
    error::Result,
    factors::{Swept, factors_from},
    grid::TileIndex,
    progress::Watch,
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

/// Takes finished tiles, (rows, columns), in the order in which they were asked for.
pub(crate) type TileSink<'a> = dyn FnMut(TileIndex, Tensor) -> Result<()> + 'a;

/// Takes the entries of finished tiles, row-major.
pub(crate) type HostSink<'a, A> = dyn FnMut(TileIndex, &[A]) -> Result<()> + 'a;

/// Computes tiles of a kernel in tensor operations, wherever its tensors lie.
///
/// Either all operands of the products are resident and tiles are finished one after the other, or
/// the tiles are resident and the parameters are split: leaves are kept for all examples group by
/// group, chunk by chunk of the parameters they become operands, and every tile takes their
/// product. The Jacobian is then formed once, and the sweeps are as many as there are groups.
pub(crate) struct DeviceEngine<'a> {
    pub(crate) assembly: &'a Assembly<'a>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) schedule: Schedule,
    pub(crate) arithmetic: Arithmetic,
}

/// Leaves by their place in the backward sweep.
type Leaves = BTreeMap<usize, Leaf>;
/// Operands of the blocks that take part.
type Operands = BTreeMap<usize, Vec<Term>>;

impl DeviceEngine<'_> {
    /// Computes tiles: rows of the first block, columns of the second.
    pub(crate) fn run(
        &self,
        tiles: &[TileIndex],
        watch: &Watch<'_>,
        sink: &mut TileSink<'_>,
    ) -> Result<()> {
        let together =
            if self.schedule.rows_are_resident() { tiles.len() } else { self.schedule.tiles };
        tiles.chunks(together.max(1)).try_for_each(|tiles| self.together(tiles, watch, sink))
    }

    /// Entries that [`run`](Self::run) reports for a tile, each as often as it adds to it.
    pub(crate) fn work(&self, tile: TileIndex) -> usize {
        self.entries(tile) * self.schedule.passes()
    }

    /// Entries of a tile.
    pub(crate) fn entries(&self, tile: TileIndex) -> usize {
        self.blocks[tile.0].rows * self.blocks[tile.1].rows
    }

    /// Tiles that are resident together.
    fn together(
        &self,
        tiles: &[TileIndex],
        watch: &Watch<'_>,
        sink: &mut TileSink<'_>,
    ) -> Result<()> {
        let mut sums = vec![None; tiles.len()];
        let mut left = self.schedule.passes();
        for group in &self.schedule.groups {
            let kept = self.kept(group, tiles, watch)?;
            for chunk in 0..group.chunks.len() {
                let operands = self.operands(group, chunk, kept.as_ref(), tiles, watch)?;
                left -= 1;
                for (tile, sum) in tiles.iter().zip(&mut sums) {
                    watch.check()?;
                    let more = self.added(sum.take(), &operands, *tile)?;
                    watch.advance(self.entries(*tile));
                    if left == 0 {
                        sink(*tile, self.finished(more, *tile)?)?;
                    } else {
                        *sum = more;
                    }
                }
            }
        }
        Ok(())
    }

    /// The leaves of a group for all blocks, unless they become operands all at once.
    fn kept(
        &self,
        group: &Group,
        tiles: &[TileIndex],
        watch: &Watch<'_>,
    ) -> Result<Option<BTreeMap<usize, Leaves>>> {
        if group.chunks.len() == 1 {
            return Ok(None);
        }
        let leaves = |block| Ok((block, self.leaves(block, &group.leaves, watch)?));
        Ok(Some(blocks_of(tiles).map(leaves).collect::<Result<_>>()?))
    }

    /// One chunk of a group for every block.
    fn operands(
        &self,
        group: &Group,
        chunk: usize,
        kept: Option<&BTreeMap<usize, Leaves>>,
        tiles: &[TileIndex],
        watch: &Watch<'_>,
    ) -> Result<Operands> {
        let units = &group.chunks[chunk];
        let of_block = |block: usize| {
            let swept;
            let leaves = match kept {
                Some(kept) => &kept[&block],
                None => {
                    swept = self.leaves(block, &group.leaves, watch)?;
                    &swept
                }
            };
            let term = |unit: &Unit| {
                let unit: Vec<_> = unit.iter().map(|piece| (&leaves[&piece.leaf], piece)).collect();
                Term::new(&unit, &self.arithmetic)
            };
            Ok((block, units.iter().map(term).collect::<Result<_>>()?))
        };
        blocks_of(tiles).map(of_block).collect()
    }

    /// The tile with the products of all terms.
    fn added(
        &self,
        mut sum: Option<Tensor>,
        operands: &Operands,
        tile: TileIndex,
    ) -> Result<Option<Tensor>> {
        for (left, right) in operands[&tile.0].iter().zip(&operands[&tile.1]) {
            sum = Some(left.added(right, sum, &self.arithmetic)?);
        }
        Ok(sum)
    }

    /// A tile without any term is zero.
    fn finished(&self, sum: Option<Tensor>, tile: TileIndex) -> Result<Tensor> {
        let shape = (self.blocks[tile.0].rows, self.blocks[tile.1].rows);
        let device = self.assembly.params.device();
        Ok(sum.map_or_else(|| Tensor::zeros(shape, self.arithmetic.entry, device), Ok)?)
    }

    /// One sweep over the examples of a block: its leaves at the places `wanted`.
    fn leaves(&self, block: usize, wanted: &[usize], watch: &Watch<'_>) -> Result<Leaves> {
        let Block { inputs, skip, rows } = &self.blocks[block];
        let starts = (0..inputs.dim(0)?).step_by(self.assembly.config.micro_batch);
        let batches = starts.map(|start| {
            watch.check()?;
            let leaves = batch_leaves(self.assembly, inputs, start)?;
            (leaves.into_iter().enumerate())
                .filter(|(at, _)| wanted.contains(at))
                .map(|(_, outputs)| settled(outputs))
                .collect::<Result<Vec<_>>>()
        });
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let joined = |at: usize| {
            let parts: Vec<_> = batches.iter().map(|batch| batch[at].clone()).collect();
            let leaf = Leaf::joined(&parts)?;
            if leaf.count() == *rows { Ok(leaf) } else { leaf.narrow(&(*skip..skip + rows)) }
        };
        wanted.iter().enumerate().map(|(at, leaf)| Ok((*leaf, joined(at)?))).collect()
    }
}

/// All leaves of a micro-batch, each once for every output that has rows of its own.
pub(super) fn batch_leaves(
    assembly: &Assembly<'_>,
    inputs: &Tensor,
    start: usize,
) -> Result<Vec<Vec<Leaf>>> {
    let Assembly { model, params, config, .. } = assembly;
    let Swept { groups, count } = factors_from(*model, params, inputs, config, start)?;
    let mut leaves: Vec<Vec<Leaf>> = Vec::new();
    for factors in groups {
        let mut at = 0;
        for factor in factors {
            for leaf in Leaf::of(factor, config.strategy)? {
                if leaves.len() == at {
                    leaves.push(Vec::new());
                }
                leaves[at].push(if leaf.count() == count {
                    leaf
                } else {
                    leaf.narrow(&(0..count))?
                });
                at += 1;
            }
        }
    }
    Ok(leaves)
}

/// One leaf of the rows of all outputs, in the form in which it is kept.
pub(super) fn settled(outputs: Vec<Leaf>) -> Result<Leaf> {
    Leaf::interleaved(&outputs)?.settled()
}

/// The blocks that some tiles need, ascending.
fn blocks_of(tiles: &[TileIndex]) -> impl Iterator<Item = usize> + use<> {
    let mut blocks: Vec<usize> = tiles.iter().flat_map(|tile| [tile.0, tile.1]).collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks.into_iter()
}
