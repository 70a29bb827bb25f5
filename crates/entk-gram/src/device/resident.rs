//! A Gram that stays on its device, as an operator for eigensolvers.

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};
use entk_device::Operand;
use entk_spectral::{EntryType, Gram, SpectralError, SymmetricOperator};

use crate::{
    config::DeviceConfig,
    device::{engine::Block, run::engine},
    error::{GramError, Result},
    memory::zeros,
    ntk::Ntk,
    progress::Watch,
    tiles::{
        Tiles,
        grid::{Grid, TileIndex},
    },
};

/// Columns that a solver should pass at a time: enough for a product to read each tile at the speed
/// of arithmetic.
const BLOCK: usize = 128;

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

/// A square with its lower triangle also above the diagonal.
fn mirrored(tile: &Tensor) -> Result<Tensor> {
    let (side, dtype) = (tile.dim(0)?, tile.dtype());
    let lower = (tile * Tensor::tril2(side, dtype, tile.device())?)?;
    let strict = (&lower * (1.0 - Tensor::eye(side, dtype, tile.device())?)?)?;
    Ok((lower + strict.t()?)?)
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

    /// The columns' images, one after the other: (K X)^T for X^T (count, N).
    fn images(&self, columns: &Tensor) -> Result<Tensor> {
        let part = |at: usize| {
            let rows = self.grid.range(at);
            Operand::new(&columns.narrow(1, rows.start, rows.len())?, entk_device::Precision::F64)
        };
        let parts = (0..self.grid.side()).map(part).collect::<std::result::Result<Vec<_>, _>>()?;
        let count = columns.dim(0)?;
        let zeros =
            |at| Tensor::zeros((count, self.grid.range(at).len()), DType::F64, &self.device);
        let images = (0..self.grid.side()).map(zeros).collect::<candle_core::Result<Vec<_>>>()?;
        for (TileIndex(row, col), tile) in self.grid.lower().zip(&self.tiles) {
            let tile = Operand::new(tile, entk_device::Precision::F64)?;
            entk_device::add_product(&images[row], &parts[col], &tile.t()?)?;
            if row != col {
                entk_device::add_product(&images[col], &parts[row], &tile)?;
            }
        }
        Ok(Tensor::cat(&images, 1)?)
    }
}

impl SymmetricOperator for DeviceGram {
    fn n(&self) -> usize {
        self.grid.n()
    }

    fn entry_type(&self) -> EntryType {
        if self.dtype == DType::F64 { EntryType::F64 } else { EntryType::F32 }
    }

    fn block(&self) -> usize {
        BLOCK
    }

    fn apply(&self, columns: &[f64], images: &mut [f64]) -> std::result::Result<(), SpectralError> {
        let (n, failed) = (self.n(), |error: GramError| operator_error(&error));
        if columns.len() != images.len() || columns.is_empty() || !columns.len().is_multiple_of(n) {
            let (expected, found) = (columns.len(), images.len());
            let what = "images of the columns";
            return Err(SpectralError::BufferLength { what, expected, found });
        }
        let columns = Tensor::from_slice(columns, (columns.len() / n, n), &self.device);
        let result = columns.map_err(GramError::from).and_then(|x| self.images(&x));
        let result = result.and_then(|y| Ok(y.to_device(&Device::Cpu)?.flatten_all()?));
        let values = result.and_then(|y| Ok(y.to_vec1::<f64>()?)).map_err(failed)?;
        images.copy_from_slice(&values);
        Ok(())
    }

    fn to_gram(&self) -> std::result::Result<Cow<'_, Gram>, SpectralError> {
        self.gram().map(Cow::Owned).map_err(|error| operator_error(&error))
    }
}

fn operator_error(error: &GramError) -> SpectralError {
    SpectralError::Operator { reason: error.to_string() }
}
