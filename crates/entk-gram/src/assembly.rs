//! The assembly of one kernel as a value: which engine computes it, who is told, when it stops.
//! [`gram`](crate::gram()) and programs use it.

use std::sync::atomic::AtomicBool;

use candle_core::{DType, Tensor};
use entk_models::{Model, Params};
use entk_spectral::{CrossGram, Gram, SpectralError};

use crate::{
    config::{CpuConfig, DeviceConfig, Engine, GramConfig, Strategy},
    cpu::{self, KernelEntry, plan::CpuJob},
    device::{
        self,
        plan::{default_edge, engine_name, precision},
        resident::DeviceGram,
        run::DeviceEngines,
    },
    error::{GramError, Result, name_of},
    estimate::ErrorEstimate,
    factors::per_example::PerExampleEngine,
    input_gram::InputGram,
    ntk::{Ntk, as_read, check_inputs, check_shape},
    plan::{Plan, TILES, Target},
    progress::{Observer, Watch},
    store::identity::{CPU, Identity},
    tiles::{
        TileEngine, Tiles,
        grid::{Grid, TileIndex},
        square::Square,
        touched::TouchedRows,
    },
};

/// How often sums over pairs of pixels cancel more than rows do.
const CANCELLATION: f64 = 4.0;

/// The assembly of one kernel: a model at its parameters on its inputs, and its settings.
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use candle_core::{DType, Device, Tensor};
/// use entk_gram::{Assembly, GramConfig, GramError};
/// use entk_models::{MlpConfig, Model};
///
/// let network = MlpConfig { input: [1, 4, 4], ..MlpConfig::default() }.network()?;
/// let theta = network.init(0, DType::F32, &Device::Cpu)?;
/// let x = Tensor::ones((3, 1, 4, 4), DType::F32, &Device::Cpu)?;
/// let stop = AtomicBool::new(false); // a signal handler may set it
/// let assembly = Assembly::new(&network, &theta, &x, &GramConfig::default())?.stoppable(&stop);
/// assert_eq!(assembly.gram()?.n(), 3);
///
/// stop.store(true, std::sync::atomic::Ordering::Relaxed);
/// assert!(matches!(assembly.gram(), Err(GramError::Stopped)));
/// # Ok::<(), GramError>(())
/// ```
pub struct Assembly<'a> {
    ntk: Ntk<'a>,
    products: Option<&'a InputGram>,
    observe: &'a Observer<'a>,
}

impl<'a> Assembly<'a> {
    /// Checks the settings, the inputs (N, C, H, W), and on a few of them that gradients which
    /// the model leaves out as exactly zero are so.
    ///
    /// # Errors
    /// A setting of 0, an empty data set, NaN or infinity in it, a dtype other than f32 and f64,
    /// and those of [`Model::verify`].
    pub fn new(
        model: &'a dyn Model,
        params: &'a Params,
        inputs: &'a Tensor,
        config: &GramConfig,
    ) -> Result<Self> {
        let ntk = Ntk::new(model, params, inputs, config)?;
        Ok(Self { ntk, products: None, observe: &|_, _| {} })
    }

    /// Tells `observe` after every finished part of a tile how many entries are done.
    #[must_use]
    pub fn observed(self, observe: &'a Observer<'a>) -> Self {
        Self { observe, ..self }
    }

    /// Ends with [`GramError::Stopped`] soon after `stop` becomes true.
    #[must_use]
    pub fn stoppable(mut self, stop: &'a AtomicBool) -> Self {
        self.ntk.stop = Some(stop);
        self
    }

    /// Takes the products of inputs from `products` in place of computing them. The kernel is
    /// then assembled in the tiles of its store, also in memory, and a store has its edge.
    ///
    /// # Errors
    /// [`GramError::OtherRun`], field by field, unless the products are those of these inputs;
    /// [`GramError::InputGram`] for [`Outputs::Full`](crate::Outputs::Full).
    pub fn reusing(self, products: &'a InputGram) -> Result<Self> {
        products.check(&self.ntk)?;
        Ok(Self { products: Some(products), ..self })
    }

    /// The element type of the kernel.
    pub fn dtype(&self) -> DType {
        self.ntk.dtype()
    }

    /// The Gram matrix in memory.
    ///
    /// # Errors
    /// As [`gram`](crate::gram()), and [`GramError::Stopped`].
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(name = "gram", skip_all, fields(rows = self.ntk.rows().ok()))
    )]
    pub fn gram(&self) -> Result<Gram> {
        let n = self.ntk.rows()?;
        let gram = match self.dtype() {
            DType::F64 => Gram::from_lower_f64(n, self.entries(None)?),
            _ => Gram::from_lower_f32(n, self.entries(None)?),
        };
        gram.map_err(overflow)
    }

    /// The kernel between the inputs (rows) and `others` (columns), in memory.
    ///
    /// # Errors
    /// As [`Assembly::gram`].
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(name = "cross_gram", skip_all, fields(rows = self.ntk.rows().ok()))
    )]
    pub fn cross(&self, others: &Tensor) -> Result<CrossGram> {
        check_inputs(others)?;
        let others = as_read(others, self.ntk.model)?;
        check_shape(self.ntk.model, &others)?;
        let (m, n) = (self.ntk.rows()?, self.ntk.rows_of(&others)?);
        let cross = match self.dtype() {
            DType::F64 => CrossGram::from_f64(m, n, self.entries(Some(&others))?),
            _ => CrossGram::from_f32(m, n, self.entries(Some(&others))?),
        };
        cross.map_err(overflow)
    }

    /// The Gram as [`Assembly::gram`] computes it on a device, left there.
    ///
    /// # Errors
    /// As [`Assembly::gram`]; [`GramError::Memory`] where its tiles do not fit beside what
    /// computes them.
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(name = "resident_gram", skip_all, fields(rows = self.ntk.rows().ok()))
    )]
    pub fn resident_gram(&self) -> Result<DeviceGram> {
        let (config, n) = (self.device_config()?.unwrap_or_default(), self.ntk.rows()?);
        let grid = Grid::new(n, config.edge.unwrap_or_else(|| default_edge(n)));
        DeviceGram::assemble(&self.ntk, grid, &config, &self.watch())
    }

    /// Plans the assembly: one sweep of an example shows the layers; on the CPU a micro-batch and
    /// one product show the machine.
    ///
    /// # Errors
    /// Inputs or parameters that do not fit the model; [`GramError::Memory`] for a kernel whose
    /// single tile does not fit the device.
    pub fn plan(&self, target: Target) -> Result<Plan> {
        let n = self.ntk.rows()?;
        let edge = match (target, self.device_config()?) {
            (Target::Store { edge }, _) => edge,
            (Target::Memory, Some(config)) => config.edge.unwrap_or_else(|| default_edge(n)),
            (Target::Memory, None) => n,
        };
        self.plan_of(Tiles::lower(Grid::new(n, edge)), target)
    }

    /// The plan of some tiles.
    pub(crate) fn plan_of(&self, tiles: Tiles<'_>, target: Target) -> Result<Plan> {
        if let Some(config) = self.device_config()? {
            return device::plan::plan(&self.ntk, &tiles, &config, target);
        }
        let waiting = if target == Target::Memory { 0 } else { TILES - 1 };
        cpu::plan::plan(&self.cpu_job(tiles, waiting), target)
    }

    /// Compares `pairs` entries (i, j), j <= i, of a kernel with f64 references. The pairs are a
    /// function of `seed`, spread evenly over the lower triangle, and each has one row of the pair
    /// before.
    ///
    /// Cost: `pairs` + 1 gradients of one example in f64, and 40 P bytes at most; for a trace of C
    /// > 1 outputs 2 C gradients a pair, and not more memory.
    ///
    /// # Errors
    /// [`GramError::TooMuchMemory`] as [`check_estimate`](Self::check_estimate), those of `entry`,
    /// of the model in f64, and of the device.
    #[cfg_attr(
        feature = "tracing",
        tracing::instrument(name = "estimate_error", skip_all, fields(pairs = pairs))
    )]
    pub fn estimate_error(
        &self,
        pairs: usize,
        seed: u64,
        entry: impl FnMut(usize, usize) -> Result<f64>,
    ) -> Result<ErrorEstimate> {
        ErrorEstimate::of(&self.ntk, pairs, seed, entry)
    }

    /// Refuses to [estimate the error](Self::estimate_error) where memory, of which `max` bytes may
    /// be used, cannot hold what that takes: for programs to ask before the assembly.
    ///
    /// # Errors
    /// [`GramError::TooMuchMemory`].
    pub fn check_estimate(&self, max: Option<u64>) -> Result<()> {
        ErrorEstimate::check_memory(&self.ntk, max)
    }

    /// Refuses a kernel with an entry that round-off does not explain: a chip that computes wrong
    /// says nothing. Of rows in f32 the largest error allowed is 1e-3, in f64 1e-6, and for rounded
    /// operands their bound, with pairs of pixels that cancel, on top.
    ///
    /// # Errors
    /// [`GramError::WrongEntry`].
    pub fn ensure_right(&self, estimate: &ErrorEstimate) -> Result<()> {
        let config = self.device_config()?;
        let e = config.map_or(0.0, |config| precision(&self.ntk, &config).input_error());
        let unexplained = if self.ntk.params.dtype() == DType::F64 { 1e-6 } else { 1e-3 };
        let allowed = unexplained + CANCELLATION * (2.0 * e + e * e);
        if estimate.largest <= allowed {
            return Ok(());
        }
        let (device, error) = (name_of(self.ntk.params.device()), estimate.largest);
        Err(GramError::WrongEntry { device, at: estimate.at, error, allowed })
    }

    /// What the bits of a store with tiles of `edge` depend on. Cost: one hash of weights and
    /// inputs.
    ///
    /// # Errors
    /// Those of the device.
    pub fn identity(&self, edge: usize) -> Result<Identity> {
        let config = self.device_config()?;
        let engine = match config {
            Some(config) => engine_name(&self.ntk, &config)?,
            None => CPU.into(),
        };
        Identity::new(&self.ntk, engine, edge)
    }

    /// Products of inputs, if there are any.
    pub(crate) fn products(&self) -> Option<&InputGram> {
        self.products
    }

    /// How the kernel is computed in tensor operations, if it is.
    fn device_config(&self) -> Result<Option<DeviceConfig>> {
        match (&self.ntk.config.engine, self.ntk.params.device().is_cpu()) {
            (Engine::Cpu(_), false) => Err(GramError::NotOnCpu),
            (Engine::Tensors(config), _) => Ok(Some(config.clone())),
            (Engine::Auto, false) => Ok(Some(DeviceConfig::default())),
            (Engine::Auto | Engine::Cpu(_), _) => Ok(None),
        }
    }

    fn cpu_job<'s>(&'s self, tiles: Tiles<'s>, waiting: u64) -> CpuJob<'s> {
        let config = match &self.ntk.config.engine {
            Engine::Cpu(config) => config.clone(),
            Engine::Auto | Engine::Tensors(_) => CpuConfig::default(),
        };
        CpuJob { ntk: &self.ntk, tiles, config, waiting, products: self.products }
    }

    /// The kernel with `others`, or its lower triangle with itself, row-major.
    fn entries<A: KernelEntry>(&self, others: Option<&Tensor>) -> Result<Vec<A>> {
        let (m, n) = (self.ntk.rows()?, self.ntk.rows_of(others.unwrap_or(&self.ntk.inputs))?);
        let edge = match (self.device_config()?, self.products) {
            (Some(config), _) => config.edge.unwrap_or_else(|| default_edge(m.max(n))),
            (None, Some(products)) if others.is_none() => products.edge(),
            (None, _) => m.max(n),
        };
        let rows = Grid::new(m, edge);
        let tiles = match others {
            None => Tiles::lower(rows),
            Some(others) => Tiles::between(rows, others, Grid::new(n, edge)),
        };
        let mut square = Square::zeros(&tiles)?;
        let engine = self.engine::<A>(tiles, 0)?;
        engine.run(&self.watch(), &mut square)?;
        Ok(square.entries)
    }

    /// The kernel in tiles of `edge`.
    pub(crate) fn grid(&self, edge: usize) -> Result<Grid> {
        Ok(Grid::new(self.ntk.rows()?, edge))
    }

    /// The assembly of some rows of tiles alone, whose examples are copied.
    pub(crate) fn narrowed(&self, touched: &TouchedRows) -> Result<Self> {
        self.of_some(touched, || touched.inputs(&self.ntk.inputs, self.ntk.rows_per_example()))
    }

    /// An assembly to be planned of as many rows, of which nothing is copied.
    pub(crate) fn as_large_as(&self, touched: &TouchedRows) -> Result<Self> {
        let count = touched.grid().n() / self.ntk.rows_per_example();
        self.of_some(touched, || Ok(self.ntk.inputs.narrow(0, 0, count)?))
    }

    /// The assembly of some of the inputs, held beside all of them, unless all rows are touched.
    fn of_some(
        &self,
        touched: &TouchedRows,
        inputs: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Self> {
        if touched.is_all() {
            return Ok(Self { ntk: self.ntk.clone(), ..*self });
        }
        let whole = &self.ntk.inputs;
        let mut ntk = self.ntk.moved(self.ntk.params.clone(), inputs()?);
        ntk.held_inputs = whole.elem_count();
        ntk.config.micro_batch = Some(self.ntk.micro_batch(whole.dim(0)?));
        Ok(Self { ntk, ..*self })
    }

    /// The rows of tiles that these tiles need. All of them where given products of inputs have
    /// their places, where a tile ends within an example, and on a device, on which the bits of an
    /// example depend on its micro-batch.
    pub(crate) fn touched(&self, grid: Grid, tiles: &[TileIndex]) -> Result<TouchedRows> {
        let is_cut = !grid.edge().is_multiple_of(self.ntk.rows_per_example());
        let needs_all = tiles.is_empty() || is_cut || self.products.is_some();
        Ok(if needs_all || self.device_config()?.is_some() {
            TouchedRows::all(grid)
        } else {
            TouchedRows::of(grid, tiles)
        })
    }

    /// The engine for some tiles, of which `waiting` are on their way elsewhere while the next is
    /// computed.
    pub(crate) fn engine<'s, A: KernelEntry>(
        &'s self,
        tiles: Tiles<'s>,
        waiting: u64,
    ) -> Result<Box<dyn TileEngine<A> + 's>> {
        if self.ntk.config.strategy == Strategy::PerExample {
            return Ok(Box::new(PerExampleEngine { ntk: &self.ntk, tiles }));
        }
        match (self.device_config()?, self.products) {
            (None, _) => A::cpu_engine(self.cpu_job(tiles, waiting)),
            (Some(config), None) => Ok(Box::new(DeviceEngines::new(&self.ntk, &tiles, &config)?)),
            (Some(_), Some(_)) => {
                let reason = "serve the CPU's engine; a device computes them faster than it could \
                              read them";
                Err(GramError::InputGram { reason })
            }
        }
    }

    pub(crate) fn watch(&self) -> Watch<'a> {
        Watch::new(self.ntk.stop, self.observe)
    }
}

/// Inputs and parameters were found finite, so that an entry that is not has overflowed.
fn overflow(error: SpectralError) -> GramError {
    match error {
        SpectralError::NonFiniteEntry { row, col, value } => {
            GramError::NonFinite { row, col, value }
        }
        other => other.into(),
    }
}

impl std::fmt::Debug for Assembly<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembly")
            .field("model", &self.ntk.model)
            .field("inputs", &self.ntk.inputs.dims())
            .field("config", &self.ntk.config)
            .finish_non_exhaustive()
    }
}
