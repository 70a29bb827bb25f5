//! Products of inputs that no weights change, in a store of their own, for many assemblies.

use std::path::Path;

use candle_core::Tensor;
use entk_models::{Dense, Flatten, Model, Network, Params, Sequential};

use crate::{
    config::{GramConfig, Outputs},
    error::{GramError, Result},
    ntk::Ntk,
    store::{
        Store,
        chunk::Entry,
        identity::{CPU, Identity},
        journal::Hashes,
    },
    tiles::grid::TileIndex,
};

/// The products `X X^T` of all pairs of inputs, in a store.
///
/// A dense first layer contributes `(X X^T + 1) * (D D^T)` to a kernel, and X X^T is the same for
/// all weights: seven eighths of the operations of the paper's MLP. Computed once for a data set,
/// it serves every seed and every checkpoint ([`Assembly::reusing`](crate::Assembly::reusing)), and
/// changes no bit.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use entk_gram::{Assembly, GramConfig, InputGram, StoreConfig};
/// use entk_models::{MlpConfig, Model};
///
/// let folder = tempfile::tempdir()?;
/// let x = Tensor::ones((3, 1, 4, 4), DType::F32, &Device::Cpu)?;
/// let config = GramConfig::default();
/// let (linear, zero) = InputGram::model(&x)?;
/// Assembly::new(&linear, &zero, &x, &config)?.store(folder.path(), &StoreConfig::default())?;
///
/// let products = InputGram::open(folder.path())?;
/// let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
/// for seed in 0..2 {
///     let theta = network.init(seed, DType::F32, &Device::Cpu)?;
///     let alone = Assembly::new(&network, &theta, &x, &config)?.gram()?;
///     let reusing = Assembly::new(&network, &theta, &x, &config)?.reusing(&products)?.gram()?;
///     assert!(reusing == alone);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct InputGram {
    store: Store,
    hashes: Hashes,
}

impl InputGram {
    /// The model whose kernel is X X^T, f(x) = w . x without bias, at w = 0.
    ///
    /// # Errors
    /// Inputs without a first axis, or of a dtype that no model takes.
    pub fn model(inputs: &Tensor) -> Result<(Network, Params)> {
        let shape = &inputs.dims()[1.min(inputs.rank())..];
        let size = shape.iter().product();
        let layers =
            Sequential::new().then(Flatten).then(Dense::new("inputs", size, 1).without_bias());
        let network = Network::new(shape, layers)?;
        let theta = network.init(0, inputs.dtype(), inputs.device())?.zeros_like()?;
        Ok((network, theta))
    }

    /// Opens the finished store of [`InputGram::model`]'s kernel.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let store = Store::open(folder)?;
        let hashes = store.hashes()?;
        Ok(Self { store, hashes })
    }

    /// Edge of the tiles.
    pub fn edge(&self) -> usize {
        self.store.grid().edge()
    }

    /// Refuses other inputs, another element type, and the kernel of another model.
    pub(crate) fn check(&self, ntk: &Ntk<'_>) -> Result<()> {
        if ntk.config.outputs == Outputs::Full {
            let reason = "serve one row of the kernel an example, not Outputs::Full";
            return Err(GramError::InputGram { reason });
        }
        let found = self.store.identity();
        let (linear, zero) = Self::model(&ntk.inputs)?;
        let config = GramConfig {
            micro_batch: Some(found.micro_batch),
            accumulate: ntk.config.accumulate,
            ..GramConfig::default()
        };
        let expected = Ntk::new(&linear, &zero, &ntk.inputs, &config)?;
        let expected = Identity::new(&expected, CPU.into(), found.edge)?;
        if *found == expected {
            return Ok(());
        }
        let differences = found.differences(&expected);
        Err(GramError::OtherRun { folder: self.store.folder().to_owned(), differences })
    }

    /// The entries of a tile, edge x edge.
    pub(crate) fn tile<A: Entry>(&self, tile: TileIndex) -> Result<Vec<A>> {
        self.store.tile(tile, &self.hashes)
    }
}
