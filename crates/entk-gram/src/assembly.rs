use std::sync::atomic::{AtomicBool, AtomicUsize};

use candle_core::{DType, Tensor};
use entk_models::{Model, Params, Real};
use entk_spectral::{CrossGram, Gram};
use faer::{MatMut, MatRef};

use crate::{
    config::{Accumulate, GramConfig, Strategy},
    cpu::{Engine, Region, kept::Features, sum::Sum},
    device::config::DeviceConfig,
    error::{GramError, Result},
    factors::{
        check_inputs, check_layers,
        per_example::{gradients, inner_products},
        rows_per_example,
    },
    grid::Grid,
    input_gram::InputGram,
    memory::zeros,
    progress::{Observer, Watch},
    store::chunk::Entry,
};

/// The assembly of one kernel: a model at its parameters on its inputs, and how.
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
    pub(crate) model: &'a dyn Model,
    pub(crate) params: &'a Params,
    pub(crate) inputs: &'a Tensor,
    pub(crate) config: GramConfig,
    pub(crate) products: Option<&'a InputGram>,
    pub(crate) observe: &'a Observer<'a>,
    pub(crate) stop: Option<&'a AtomicBool>,
    pub(crate) device: Option<DeviceConfig>,
}

/// Examples on which left-out gradients are computed.
const PROBED: usize = 4;

/// Entries in the dtype of the kernel, row-major.
enum Kernel {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl<'a> Assembly<'a> {
    /// Checks the settings, the inputs (N, C, H, W), and on a few of them that gradients which
    /// the model leaves out as exactly zero are so.
    ///
    /// # Errors
    /// A setting of 0, an empty data set, NaN or infinity in it, a dtype other than f32 and f64,
    /// and those of [`Model::verify_active_parameters`].
    pub fn new(
        model: &'a dyn Model,
        params: &'a Params,
        inputs: &'a Tensor,
        config: &GramConfig,
    ) -> Result<Self> {
        config.check()?;
        check_layers(model, config)?;
        check_inputs(inputs)?;
        if !matches!(params.dtype(), DType::F32 | DType::F64) {
            return Err(GramError::DType(params.dtype()));
        }
        model
            .verify_active_parameters(params, &inputs.narrow(0, 0, PROBED.min(inputs.dim(0)?))?)?;
        let (config, products, stop, device) = (config.clone(), None, None, None);
        Ok(Self { model, params, inputs, config, products, observe: &|_, _| {}, stop, device })
    }

    /// Tells `observe` after every finished tile how many entries are done.
    #[must_use]
    pub fn observed(self, observe: &'a Observer<'a>) -> Self {
        Self { observe, ..self }
    }

    /// Ends with [`GramError::Stopped`] soon after `stop` becomes true.
    #[must_use]
    pub fn stoppable(self, stop: &'a AtomicBool) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Assembles in tensor operations, as is always done where the parameters are not on the CPU;
    /// with them on the CPU it is slower, and for checks.
    #[must_use]
    pub fn on_device(self, config: &DeviceConfig) -> Self {
        Self { device: Some(config.clone()), ..self }
    }

    /// The same assembly for a shorter time.
    pub(crate) fn borrowed(&self) -> Assembly<'_> {
        Assembly { config: self.config.clone(), device: self.device.clone(), ..*self }
    }

    /// The element type of the kernel.
    pub fn dtype(&self) -> DType {
        match self.config.accumulate {
            Accumulate::F64 => DType::F64,
            Accumulate::Native => self.params.dtype(),
        }
    }

    /// Rows of the kernel for these inputs: N, or N C for [`Outputs::Full`](crate::Outputs::Full).
    pub(crate) fn rows_of(&self, inputs: &Tensor) -> Result<usize> {
        Ok(inputs.dim(0)? * rows_per_example(self.model, &self.config))
    }

    /// The Gram matrix in memory.
    ///
    /// # Errors
    /// As [`gram`](crate::gram()), and [`GramError::Stopped`].
    pub fn gram(&self) -> Result<Gram> {
        let n = self.rows_of(self.inputs)?;
        Ok(match self.kernel(None)? {
            Kernel::F32(entries) => Gram::from_lower_f32(n, entries)?,
            Kernel::F64(entries) => Gram::from_lower_f64(n, entries)?,
        })
    }

    /// The kernel between the inputs (rows) and `others` (columns), in memory.
    ///
    /// # Errors
    /// As [`Assembly::gram`].
    pub fn cross(&self, others: &Tensor) -> Result<CrossGram> {
        check_inputs(others)?;
        let (m, n) = (self.rows_of(self.inputs)?, self.rows_of(others)?);
        Ok(match self.kernel(Some(others))? {
            Kernel::F32(entries) => CrossGram::from_f32(m, n, entries)?,
            Kernel::F64(entries) => CrossGram::from_f64(m, n, entries)?,
        })
    }

    fn kernel(&self, others: Option<&Tensor>) -> Result<Kernel> {
        if self.config.strategy == Strategy::PerExample {
            return self.oracle(others, self.dtype());
        }
        if let Some(config) = self.device_config() {
            return Ok(match self.dtype() {
                DType::F64 => Kernel::F64(self.by_device(others, &config)?),
                _ => Kernel::F32(self.by_device(others, &config)?),
            });
        }
        match (self.params.dtype(), self.dtype()) {
            (DType::F32, DType::F32) => self.whole::<f32, f32>(others).map(Kernel::F32),
            (DType::F32, _) => self.whole::<f32, f64>(others).map(Kernel::F64),
            (_, _) => self.whole::<f64, f64>(others).map(Kernel::F64),
        }
    }

    /// One gradient at a time.
    fn oracle(&self, others: Option<&Tensor>, dtype: DType) -> Result<Kernel> {
        let of = |x: &Tensor| gradients(self.model, self.params, x, &self.config);
        let (rows, cols) = (of(self.inputs)?, others.map(of).transpose()?);
        let entries = inner_products(&rows, cols.as_ref().unwrap_or(&rows));
        Ok(match dtype {
            DType::F64 => Kernel::F64(entries),
            _ => Kernel::F32(entries.iter().map(|k| *k as f32).collect()),
        })
    }

    /// The whole kernel with `others`, or its lower triangle with itself, as one block.
    fn whole<T: Real, A: Sum<T> + Entry>(&self, others: Option<&Tensor>) -> Result<Vec<A>> {
        let (m, n) = (self.rows_of(self.inputs)?, self.rows_of(others.unwrap_or(self.inputs))?);
        let left = self.features::<T>(self.inputs)?;
        let right = others.map(|x| self.features::<T>(x)).transpose()?;
        let right = right.as_ref().unwrap_or(&left);
        let mut entries = zeros::<A>(m, n)?;
        let engine = self.engine(&left, right)?;
        let target = MatMut::from_row_major_slice_mut(&mut entries, m, n);
        match self.products.filter(|_| others.is_none()) {
            Some(products) => self.by_tiles(&engine, products, target)?,
            None => {
                let region = Region { rows: 0..m, cols: 0..n, lower: others.is_none() };
                engine.fill(&region, &self.watch(engine.work(&region)), None, target)?;
            }
        }
        Ok(entries)
    }

    /// The lower triangle in the tiles of given products of inputs.
    fn by_tiles<T: Real, A: Sum<T> + Entry>(
        &self,
        engine: &Engine<'_, T>,
        products: &InputGram,
        mut target: MatMut<'_, A>,
    ) -> Result<()> {
        let grid = Grid::new(target.nrows(), products.edge());
        let regions = || grid.lower().map(|tile| (tile, Region::of_tile(grid, tile)));
        let watch = self.watch(regions().map(|(_, region)| engine.work(&region)).sum());
        for (tile, region) in regions() {
            let given = products.tile::<A>(tile)?;
            let given = MatRef::from_row_major_slice(&given, grid.edge(), grid.edge());
            let (rows, cols) = (region.rows.len(), region.cols.len());
            let [row, col] = [region.rows.start, region.cols.start];
            let part = target.as_mut().submatrix_mut(row, col, rows, cols);
            engine.fill(&region, &watch, Some(given), part)?;
        }
        Ok(())
    }

    pub(crate) fn features<T: Real>(&self, inputs: &Tensor) -> Result<Features<T>> {
        Features::collect(self.model, self.params, inputs, &self.config, self.stop)
    }

    pub(crate) fn engine<'f, T: Real>(
        &self,
        left: &'f Features<T>,
        right: &'f Features<T>,
    ) -> Result<Engine<'f, T>> {
        let first = match self.products {
            Some(_) => left.first_of(self.inputs)?,
            None => Vec::new(),
        };
        let GramConfig { tile, expansion, .. } = self.config;
        Ok(Engine { left, right, first, tile, expansion })
    }

    pub(crate) fn watch(&self, total: usize) -> Watch<'a> {
        Watch { stop: self.stop, observe: self.observe, done: AtomicUsize::new(0), total }
    }
}

impl std::fmt::Debug for Assembly<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembly")
            .field("model", &self.model)
            .field("inputs", &self.inputs.dims())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
