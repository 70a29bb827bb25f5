//! Kernels of an experiment and what follows from them, each computed once for all figures: an
//! [`Experiment`] and a [`Run`] come in; the Gram at theta_0, its eigenpairs, energies and the keys
//! of the cache go out. Called by the figures and by the other files of this folder.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use entk::{
    device::{DeviceProperties, memory::ensure},
    gram::{Assembly, DeviceGram, GramConfig, GramError, Outputs, StoreConfig, gram_observed},
    models::{Model, Network, Params},
    spectral::{
        Eigenpairs, EigshConfig, EnergyConcentration, EntryType, Gram, eigsh, energy_concentration,
    },
};

use crate::{
    experiment::{Experiment, labels::LabelTargets},
    run::{Run, cache::Key},
};

/// At least so many eigenpairs are computed and kept, where the kernel has them: enough for what
/// any figure shows by default, so that all figures share one entry of the cache.
const LEADING: usize = 1_000;

/// The kernel at theta_0 of all images, and what its bits depend on.
#[derive(Debug)]
pub struct InitialKernel {
    /// The Gram matrix.
    pub gram: Gram,
    pub(crate) identity: String,
    /// Where the images are.
    device: Device,
}

impl Experiment {
    /// The kernel at theta_0 of all images, as a stage of the run; kept in the cache tile by tile,
    /// so that an interrupted assembly goes on.
    ///
    /// # Errors
    /// When the assembly fails, or its store cannot be written.
    pub fn kernel(&self, run: &Run) -> Result<InitialKernel> {
        InitialKernel::find(run, &self.network, &self.theta0, &self.images, Outputs::Trace)
    }

    /// The kernel at `params` of `images`, in memory only: figures keep the few numbers that they
    /// take from it in the cache.
    ///
    /// # Errors
    /// When the assembly fails.
    pub fn gram_at(
        &self,
        run: &Run,
        params: &Params,
        images: &Tensor,
        outputs: Outputs,
    ) -> Result<Gram> {
        run.stage("kernels on the way", 1, |stage| {
            let observe = |done, total| stage.set_progress(done, total);
            let config = GramConfig { outputs, ..GramConfig::default() };
            Ok(gram_observed(&self.network, params, images, &config, &observe)?)
        })
    }

    /// The share of targets in the `top` leading eigenvectors of the kernel `outputs` at `params`
    /// of the first images, as many as there are targets.
    ///
    /// # Errors
    /// When the assembly or [`eigsh`] fails, or the cache cannot be written.
    pub fn energy(
        &self,
        run: &Run,
        params: &Params,
        targets: &LabelTargets,
        outputs: Outputs,
        top: usize,
    ) -> Result<EnergyConcentration> {
        let images = self.images.narrow(0, 0, targets.values.len() / targets.columns)?;
        let identity = kernel_identity(&self.network, params, &images, outputs)?;
        let key = Key::new("energy").with("kernel", &identity)?;
        let key = key.with("target", &targets.values)?.with("top", &top)?;
        let (ratio, squared) = run.cache().value(&key, || {
            let gram = self.gram_at(run, params, &images, outputs)?;
            run.stage("energies", 1, |_| {
                let pairs = leading(&gram, top, images.device())?;
                let energy = match outputs {
                    Outputs::Full => energy_concentration(&pairs, &targets.values, top)?,
                    _ => targets.energy(&pairs, top)?,
                };
                Ok((energy.ratio, energy.squared))
            })
        })?;
        Ok(EnergyConcentration { ratio, squared })
    }

    /// A key that depends on `params` and `images` as the kernel there does.
    ///
    /// # Errors
    /// As [`gram_at`](Self::gram_at), without an assembly.
    pub fn key(&self, kind: &'static str, params: &Params, images: &Tensor) -> Result<Key> {
        let identity = kernel_identity(&self.network, params, images, Outputs::Trace)?;
        Key::new(kind).with("kernel", &identity)
    }
}

impl InitialKernel {
    /// This kernel of a network at `params` on `inputs`, as a stage of the run; kept in the cache
    /// tile by tile, so that an interrupted assembly goes on.
    ///
    /// # Errors
    /// When the assembly fails, or its store cannot be written.
    pub fn find(
        run: &Run,
        network: &Network,
        params: &Params,
        inputs: &Tensor,
        outputs: Outputs,
    ) -> Result<Self> {
        run.stage("kernel", 1, |stage| {
            let observe = |done, total| stage.set_progress(done, total);
            let config = GramConfig { outputs, ..GramConfig::default() };
            let rows = outputs.rows_per_example(network.outputs()) * inputs.dim(0)?;
            ensure_memory(rows, params.dtype())?;
            let assembly = Assembly::new(network, params, inputs, &config)?.observed(&observe);
            let (key, identity) = kernel_key(&assembly)?;
            let gram = run.cache().folder_value(&key, is_damaged_store, |folder| {
                let stored = assembly.store(folder, &StoreConfig::default())?;
                Ok((stored.store.gram()?, stored.computed == 0))
            })?;
            Ok(Self { gram, identity, device: inputs.device().clone() })
        })
    }

    /// The kernel of the first `n` images.
    ///
    /// # Errors
    /// More images than there are, or none.
    pub fn first(&self, n: usize) -> Result<Self> {
        let gram = self.gram.principal(&(0..n).collect::<Vec<_>>())?;
        Ok(self.derived(gram, &format!("the first {n}")))
    }

    /// The kernel of the gradients without their mean.
    ///
    /// # Errors
    /// As [`Gram::centred`].
    pub fn centred(&self) -> Result<Self> {
        Ok(self.derived(self.gram.centred()?, "centred"))
    }

    fn derived(&self, gram: Gram, how: &str) -> Self {
        Self { gram, identity: format!("{}, {how}", self.identity), device: self.device.clone() }
    }

    /// The leading eigenpairs, at least `k` of them.
    ///
    /// # Errors
    /// When [`eigsh`] fails, or the cache cannot be written.
    pub fn eigenpairs(&self, run: &Run, k: usize) -> Result<Eigenpairs> {
        let k = k.max(LEADING.min(self.gram.n()));
        let key = Key::new("eigenpairs").with("kernel", &self.identity)?.with("k", &k)?;
        run.stage("eigenpairs", 1, |_| {
            let bytes = run
                .cache()
                .bytes(&key, || Ok(encode_pairs(&leading(&self.gram, k, &self.device)?)))?;
            decode_pairs(&bytes, k, self.gram.entry_type())
        })
    }
}

/// The `k` leading eigenpairs, by products on a GPU that the images are on and that has room.
fn leading(gram: &Gram, k: usize, device: &Device) -> Result<Eigenpairs> {
    let config = EigshConfig::default();
    let there = has_room(gram, device)?.then(|| DeviceGram::new(gram, device)).transpose()?;
    Ok(match there {
        Some(there) => eigsh(&there, k, &config)?.pairs,
        None => eigsh(gram, k, &config)?.pairs,
    })
}

/// Whether `device` is a GPU whose memory holds the lower triangle twice: once to stay, and as much
/// for vectors and tiles in f64.
fn has_room(gram: &Gram, device: &Device) -> Result<bool> {
    let bytes = if gram.entry_type() == EntryType::F64 { 8 } else { 4 };
    let both = gram.n().saturating_mul(gram.n()).saturating_mul(bytes);
    Ok(DeviceProperties::of(device)?.is_some_and(|gpu| gpu.free_bytes >= both))
}

pub(crate) fn encode_pairs(pairs: &Eigenpairs) -> Vec<u8> {
    let numbers = pairs.values().iter().chain(pairs.vectors());
    numbers.flat_map(|x| x.to_le_bytes()).collect()
}

pub(crate) fn decode_pairs(bytes: &[u8], k: usize, entry_type: EntryType) -> Result<Eigenpairs> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    let numbers: Vec<f64> = numbers.iter().map(|x| f64::from_le_bytes(*x)).collect();
    ensure!(rest.is_empty() && numbers.len() > k, "{} bytes are no eigenpairs", bytes.len());
    let (values, vectors) = numbers.split_at(k);
    let dim = vectors.len() / k;
    Ok(Eigenpairs::from_parts(values.to_vec(), vectors.to_vec(), dim, entry_type)?)
}

/// Refuses a kernel of so many rows that memory cannot hold with what is made of it, before it is
/// computed.
fn ensure_memory(rows: usize, dtype: DType) -> Result<()> {
    let entries = (rows as u64).saturating_mul(rows as u64);
    let kernel = entries.saturating_mul(dtype.size_in_bytes() as u64);
    let pairs = EigshConfig::default().bytes(rows, LEADING.min(rows));
    let what = format!("a kernel of {rows} rows with its leading eigenpairs");
    let remedy = "use fewer images (--train, --test)";
    Ok(ensure(&what, kernel.saturating_add(pairs), None, remedy)?)
}

/// What the bits of the kernel at `params` of `images` depend on.
pub(crate) fn kernel_identity(
    network: &Network,
    params: &Params,
    images: &Tensor,
    outputs: Outputs,
) -> Result<String> {
    let config = GramConfig { outputs, ..GramConfig::default() };
    Ok(kernel_key(&Assembly::new(network, params, images, &config)?)?.1)
}

fn kernel_key(assembly: &Assembly<'_>) -> Result<(Key, String)> {
    let identity = serde_json::to_string(&assembly.identity(StoreConfig::default().edge)?)?;
    Ok((Key::new("kernel").with("identity", &identity)?, identity))
}

/// The folder's name is the hash of the identity, so that a store of another run is damaged too.
fn is_damaged_store(error: &anyhow::Error) -> bool {
    use GramError::{Damaged, NotAStore, OtherRun};
    matches!(error.downcast_ref(), Some(Damaged { .. } | NotAStore { .. } | OtherRun { .. }))
}
