//! A Gram that stays on its device, as an operator for eigensolvers.

use std::{borrow::Cow, ops::Range};

use candle_core::{DType, Device, Tensor};
use entk_spectral::{Entries, EntryType, Gram, KernelRows, SpectralError, SymmetricOperator, Tile};

use crate::{
    config::DeviceConfig,
    device::{
        engine::Block,
        images::{BLOCK, apply, mirrored, on_device},
        plan::default_edge,
        run::engine,
    },
    error::{Result, operator_error},
    memory::zeros,
    ntk::{Ntk, entry_type},
    progress::Watch,
    tiles::{
        Tiles,
        grid::{Grid, TileIndex},
    },
};

/// A Gram whose lower triangle stays on the device, in tiles: an operator for
/// [`eigsh`](entk_spectral::eigsh), whose blocks of vectors are multiplied there, in f64. What is
/// left for the host, orthogonalisation and small dense problems, is a few per cent of the
/// operations.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_gram::{Assembly, GramConfig};
/// use entk_models::{MlpConfig, Model};
/// use entk_spectral::{EigshConfig, eigsh};
///
/// let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
/// let theta = network.init(0, DType::F32, &Device::Cpu)?;
/// let x = Tensor::randn(0f32, 1.0, (40, 1, 4, 4), &Device::Cpu)?;
/// let gram = Assembly::new(&network, &theta, &x, &GramConfig::default())?.resident_gram()?;
/// let top = eigsh(&gram, 3, &EigshConfig::default())?;
/// assert_eq!(top.pairs.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DeviceGram {
    grid: Grid,
    /// In the order of [`Grid::lower`].
    tiles: Vec<Tensor>,
    dtype: DType,
    device: Device,
}

impl DeviceGram {
    /// Computes the tiles of `grid` on the device of the parameters and leaves them there.
    pub(crate) fn assemble(
        ntk: &Ntk<'_>,
        grid: Grid,
        config: &DeviceConfig,
        watch: &Watch<'_>,
    ) -> Result<Self> {
        let tiles = Tiles::lower(grid);
        let copy = ntk.moved(ntk.params.clone(), ntk.inputs.clone());
        let engine = engine(copy, Block::all(ntk, &tiles)?, &tiles, true, config)?;
        let mut resident = Vec::with_capacity(tiles.wanted.len());
        watch.expect(engine.work());
        engine.run(watch, &mut |TileIndex(row, col), values| {
            resident.push(if row == col { mirrored(&values)? } else { values });
            Ok(())
        })?;
        Ok(Self { grid, tiles: resident, dtype: ntk.dtype(), device: ntk.params.device().clone() })
    }

    /// A kernel of the host's memory on this device: N^2 / 2 entries in its type.
    ///
    /// # Errors
    /// Those of the device, a full one among them.
    ///
    /// ```
    /// use candle_core::Device;
    /// use entk_gram::DeviceGram;
    /// use entk_spectral::{EigshConfig, Gram, eigsh};
    ///
    /// let gram = Gram::from_lower_f32(3, vec![2.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 5.0])?;
    /// let there = DeviceGram::new(&gram, &Device::Cpu)?;
    /// let top = eigsh(&there, 1, &EigshConfig::default())?;
    /// assert!((top.pairs.values()[0] - 5.0).abs() < 1e-9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(gram: &Gram, device: &Device) -> Result<Self> {
        let (n, grid) = (gram.n(), Grid::new(gram.n(), default_edge(gram.n())));
        let tile = |TileIndex(row, col)| {
            let (rows, cols) = (grid.range(row), grid.range(col));
            let shape = (rows.len(), cols.len());
            let ranges = rows.map(|i| i * n + cols.start..i * n + cols.end);
            let tile = match gram.entries() {
                Entries::F32(all) => Tile::F32(concat(all, ranges)),
                Entries::F64(all) => Tile::F64(concat(all, ranges)),
            };
            on_device(tile, shape, device)
        };
        let tiles = grid.lower().map(tile).collect::<Result<_>>()?;
        let dtype = if gram.entry_type() == EntryType::F64 { DType::F64 } else { DType::F32 };
        Ok(Self { grid, tiles, dtype, device: device.clone() })
    }

    /// Rows and columns.
    pub fn n(&self) -> usize {
        self.grid.n()
    }

    /// This kernel in the host's memory.
    ///
    /// # Errors
    /// Those of the device, and NaN or infinity in the kernel.
    pub fn gram(&self) -> Result<Gram> {
        let n = self.n();
        let mut entries = zeros::<f64>(n, n)?;
        for (tile, values) in self.grid.lower().zip(&self.tiles) {
            let (rows, cols) = (self.grid.range(tile.0), self.grid.range(tile.1));
            let values = values.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec2::<f64>()?;
            for (row, values) in rows.zip(values) {
                entries[row * n + cols.start..row * n + cols.end].copy_from_slice(&values);
            }
        }
        Ok(match self.dtype {
            DType::F64 => Gram::from_lower_f64(n, entries)?,
            _ => Gram::from_lower_f32(n, entries.into_iter().map(|k| k as f32).collect())?,
        })
    }

    /// Rows that belong to block `row` of the grid, these of its own, (count, N), in f64.
    fn rows_of_block(&self, row: usize, chosen: &[u32]) -> Result<Tensor> {
        let chosen = Tensor::new(chosen, &self.device)?;
        let part = |col: usize| {
            let (tile, axis) = if col <= row { ([row, col], 0) } else { ([col, row], 1) };
            let at = tile[0] * (tile[0] + 1) / 2 + tile[1];
            let part = self.tiles[at].index_select(&chosen, axis)?;
            if axis == 0 { Ok(part) } else { part.t() }
        };
        let parts = (0..self.grid.side()).map(part).collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 1)?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?)
    }

    /// The rows `indices` into `buffer`, one after the other.
    fn read_rows(&self, indices: &[u32], buffer: &mut [f64]) -> Result<()> {
        let (n, edge) = (self.n(), self.grid.edge());
        for row in 0..self.grid.side() {
            let is_here = |(_, index): &(usize, &u32)| **index as usize / edge == row;
            let (places, chosen): (Vec<usize>, Vec<u32>) = (indices.iter().enumerate())
                .filter(is_here)
                .map(|(place, index)| (place, index % edge as u32))
                .unzip();
            if chosen.is_empty() {
                continue;
            }
            let rows = self.rows_of_block(row, &chosen)?.flatten_all()?.to_vec1::<f64>()?;
            for (place, entries) in places.into_iter().zip(rows.chunks_exact(n)) {
                buffer[place * n..(place + 1) * n].copy_from_slice(entries);
            }
        }
        Ok(())
    }
}

fn concat<T: Copy>(all: &[T], ranges: impl Iterator<Item = Range<usize>>) -> Vec<T> {
    let mut entries = Vec::new();
    ranges.for_each(|range| entries.extend_from_slice(&all[range]));
    entries
}

/// For `DualSgd` of entk-train, which reads the rows of a minibatch at every step.
impl KernelRows for DeviceGram {
    fn n(&self) -> usize {
        self.grid.n()
    }

    fn rows<'a>(
        &'a self,
        indices: &[u32],
        buffer: &'a mut Vec<f64>,
    ) -> std::result::Result<Vec<Entries<'a>>, SpectralError> {
        let n = self.grid.n();
        if let Some(&index) = indices.iter().find(|&&index| index as usize >= n) {
            let index = index as usize;
            return Err(SpectralError::IndexOutOfRange { what: "row", index, len: n });
        }
        buffer.resize(indices.len() * n, 0.0);
        self.read_rows(indices, buffer).map_err(|error| operator_error(&error))?;
        Ok(buffer.chunks_exact(n).map(Entries::F64).collect())
    }
}

impl SymmetricOperator for DeviceGram {
    fn n(&self) -> usize {
        self.grid.n()
    }

    fn entry_type(&self) -> EntryType {
        entry_type(self.dtype)
    }

    fn block(&self) -> usize {
        BLOCK
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> std::result::Result<(), SpectralError> {
        let product = apply(self.grid, &self.device, [columns, images], |sums| {
            self.grid.lower().zip(&self.tiles).try_for_each(|(at, tile)| sums.add(at, tile))
        })?;
        images.copy_from_slice(&product);
        Ok(())
    }

    fn to_gram(&self) -> std::result::Result<Cow<'_, Gram>, SpectralError> {
        self.gram().map(Cow::Owned).map_err(|error| operator_error(&error))
    }
}
