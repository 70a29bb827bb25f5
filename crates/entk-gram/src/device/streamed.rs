//! A Gram whose tiles lie on disk or in the host's memory, as an operator for eigensolvers whose
//! products are those of a device.

use candle_core::{Device, Tensor};
use entk_spectral::{EntryType, LowerTiles, SpectralError, SymmetricOperator, Tile, for_each_tile};

use crate::{
    device::images::{BLOCK, apply, on_device},
    error::Result,
    tiles::grid::{Grid, TileIndex},
};

/// A Gram in tiles, such as a [`Store`](crate::Store), whose products with blocks of vectors are
/// computed on a device, in f64: for [`eigsh`](entk_spectral::eigsh) of a Gram that the device does
/// not hold. Each product reads every tile once, ahead of the arithmetic
/// ([`for_each_tile`]).
///
/// Memory of the device: a tile, in its type and in f64, and the vectors twice.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_gram::{Assembly, GramConfig, StoreConfig, StreamedGram};
/// use entk_models::{MlpConfig, Model};
/// use entk_spectral::{EigshConfig, eigsh};
///
/// let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
/// let theta = network.init(0, DType::F32, &Device::Cpu)?;
/// let x = Tensor::randn(0f32, 1.0, (40, 1, 4, 4), &Device::Cpu)?;
/// let folder = tempfile::tempdir()?;
/// let config = StoreConfig { edge: 16, ..StoreConfig::default() };
/// let assembly = Assembly::new(&network, &theta, &x, &GramConfig::default())?;
/// let store = assembly.store(folder.path(), &config)?.store;
/// let gram = StreamedGram::new(&store, &Device::Cpu);
/// assert_eq!(eigsh(&gram, 3, &EigshConfig::default())?.pairs.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StreamedGram<T> {
    tiles: T,
    device: Device,
}

impl<T: LowerTiles> StreamedGram<T> {
    /// The products of these tiles on this device.
    pub fn new(tiles: T, device: &Device) -> Self {
        Self { tiles, device: device.clone() }
    }

    fn grid(&self) -> Grid {
        Grid::new(self.tiles.n(), self.tiles.edge())
    }

    /// A tile on the device.
    fn moved(&self, TileIndex(row, col): TileIndex, tile: Tile) -> Result<Tensor> {
        let grid = self.grid();
        let shape = (grid.range(row).len(), grid.range(col).len());
        on_device(tile, shape, &self.device)
    }
}

impl<T: LowerTiles> SymmetricOperator for StreamedGram<T> {
    fn n(&self) -> usize {
        self.tiles.n()
    }

    fn entry_type(&self) -> EntryType {
        self.tiles.entry_type()
    }

    fn block(&self) -> usize {
        BLOCK
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> std::result::Result<(), SpectralError> {
        let grid = self.grid();
        let product = apply(grid, &self.device, [columns, images], |sums| {
            for_each_tile(&self.tiles, |row, col, tile| {
                let at = TileIndex(row, col);
                sums.add(at, &self.moved(at, tile)?)
            })
        })?;
        images.copy_from_slice(&product);
        Ok(())
    }
}
