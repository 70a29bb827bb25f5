//! Products of a kernel in tiles with blocks of vectors, in f64 on a device: tiles of the lower
//! triangle go in one by one, the images come out. Called by operators for eigensolvers.

use candle_core::{DType, Device, Tensor};
use entk_device::{Operand, Precision, add_product};
use entk_spectral::{SpectralError, Tile, check_images};

use crate::{
    error::{Result, operator_error},
    tiles::grid::{Grid, TileIndex},
};

/// Columns that a solver should pass at a time: enough for a product to read each tile at the speed
/// of arithmetic.
pub(crate) const BLOCK: usize = 128;

/// The columns' images, one after the other, `(K X)^T` for `X^T` (count, N), as far as tiles were
/// added.
pub(crate) struct Images {
    columns: Vec<Operand>,
    images: Vec<Tensor>,
}

impl Images {
    pub(crate) fn new(grid: Grid, columns: &Tensor) -> Result<Self> {
        let (count, device) = (columns.dim(0)?, columns.device());
        let part = |at: usize| {
            let rows = grid.range(at);
            Ok(Operand::new(&columns.narrow(1, rows.start, rows.len())?, Precision::F64)?)
        };
        let zeros = |at| Tensor::zeros((count, grid.range(at).len()), DType::F64, device);
        Ok(Self {
            columns: (0..grid.side()).map(part).collect::<Result<_>>()?,
            images: (0..grid.side()).map(zeros).collect::<candle_core::Result<_>>()?,
        })
    }

    /// Adds the products with a tile and, off the diagonal, with its transpose; on the diagonal
    /// both triangles are read.
    pub(crate) fn add(&self, TileIndex(row, col): TileIndex, tile: &Tensor) -> Result<()> {
        let tile = Operand::new(tile, Precision::F64)?;
        add_product(&self.images[row], &self.columns[col], &tile.t()?)?;
        if row != col {
            add_product(&self.images[col], &self.columns[row], &tile)?;
        }
        Ok(())
    }

    fn concat(&self) -> Result<Tensor> {
        Ok(Tensor::cat(&self.images, 1)?)
    }
}

/// `images = K columns` on a device, where `add_all` adds every tile.
pub(crate) fn apply(
    grid: Grid,
    device: &Device,
    [columns, images]: [&[f64]; 2],
    add_all: impl FnOnce(&Images) -> Result<()>,
) -> std::result::Result<Vec<f64>, SpectralError> {
    let n = grid.n();
    let count = check_images(columns, n, images, n)?;
    let product = || -> Result<Vec<f64>> {
        let columns = Tensor::from_slice(columns, (count, n), device)?;
        let images = Images::new(grid, &columns)?;
        add_all(&images)?;
        Ok(images.concat()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f64>()?)
    };
    product().map_err(|error| operator_error(&error))
}

/// A tile of so many rows and columns as a tensor of the device.
pub(crate) fn on_device(tile: Tile, shape: (usize, usize), device: &Device) -> Result<Tensor> {
    Ok(match tile {
        Tile::F32(entries) => Tensor::from_vec(entries, shape, device)?,
        Tile::F64(entries) => Tensor::from_vec(entries, shape, device)?,
    })
}

/// A square with its lower triangle also above the diagonal.
pub(crate) fn mirrored(tile: &Tensor) -> Result<Tensor> {
    let (side, dtype) = (tile.dim(0)?, tile.dtype());
    let lower = (tile * Tensor::tril2(side, dtype, tile.device())?)?;
    let strict = (&lower * (1.0 - Tensor::eye(side, dtype, tile.device())?)?)?;
    Ok((lower + strict.t()?)?)
}
