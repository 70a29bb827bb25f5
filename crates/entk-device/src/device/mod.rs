//! A GPU through candle and cudarc: the only calls that the compiler cannot check.

mod blas;
mod pinned;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

pub(crate) use blas::add_product;
use candle_core::{
    CudaDevice, CudaStorage, DType, Device, Layout, Result as CandleResult, WithDType,
    backend::BackendStorage,
    cuda_backend::{
        CudaDType, WrapErr,
        cudarc::{
            driver::{
                CudaView, DeviceRepr, LaunchConfig, PushKernelArg, ValidAsZeroBits, result, sys,
            },
            nvrtc,
        },
    },
};
pub(crate) use pinned::Pinned;

use crate::{
    error::{DeviceError, Result},
    launch::{
        Launch, MOST_INPUTS,
        sizes::{Divisor, LaunchSizes},
        sources::Source,
    },
    properties::{DeviceProperties, PoolUse},
};

/// Threads of a block.
const BLOCK: u32 = 256;

/// Element types of kernels and of copies to the host: f32 and f64.
pub trait Entry: WithDType + CudaDType + DeviceRepr + ValidAsZeroBits {}
impl Entry for f32 {}
impl Entry for f64 {}

// SAFETY: three 32-bit integers in C layout, copied by value.
unsafe impl DeviceRepr for Divisor {}
// SAFETY: an array of the above in C layout, as the kernels' prelude declares it.
unsafe impl DeviceRepr for LaunchSizes {}

/// GPUs that this program can open: 0 where there is no driver, and without the feature `cuda`.
pub fn device_count() -> usize {
    let counted = result::init().and_then(|()| result::device::get_count());
    counted.ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

/// The GPU of this number, opened once a program: tensors of one GPU can be used together, however
/// often it is asked for. It stays open until the program ends: after a failure of the GPU closing
/// it would fail too, and cudarc panics then.
///
/// One stream for all threads, and a memory pool that keeps what is freed: returning it to the
/// driver would cost a new allocation after every wait for the stream.
///
/// On the only GPU of a machine no events follow each tensor: with one stream they are some twelve
/// calls a launch that wait for nothing. What leaves the stream waits by itself: `Pinned` and
/// [`to_device`](crate::to_device). With several GPUs they stay: their waits make the tensor's GPU
/// the current one of the thread, which candle's calls of cuBLAS rely on.
pub(crate) fn open(ordinal: usize) -> Result<Device> {
    static OPENED: Mutex<BTreeMap<usize, Device>> = Mutex::new(BTreeMap::new());
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = opened.get(&ordinal) {
        return Ok(device.clone());
    }
    let device = open_anew(ordinal)?;
    opened.insert(ordinal, device.clone());
    Ok(device)
}

fn open_anew(ordinal: usize) -> Result<Device> {
    let absent = |reason: String| DeviceError::Absent { ordinal, reason };
    if ordinal >= device_count() {
        return Err(absent(format!("the driver knows {} GPUs", device_count())));
    }
    let device = Device::new_cuda_with_stream(ordinal).map_err(|e| absent(e.to_string()))?;
    keep_freed_memory(ordinal).map_err(|e| absent(e.to_string()))?;
    if device_count() == 1 {
        // SAFETY: tensors of the device are used on its one stream. Copies to the host run on
        // another: each waits for this one, and keeps its tensor until it is done.
        unsafe { device.as_cuda_device()?.disable_event_tracking() };
    }
    Ok(device)
}

fn keep_freed_memory(ordinal: usize) -> CandleResult<()> {
    let device = result::device::get(ordinal as i32).w()?;
    let mut pool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: `device` comes from the driver, `pool` is written before it is read, and the
    // attribute is a 64-bit integer that the driver copies during the call.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&mut pool, device).result().w()?;
        sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast()).result().w()
    }
}

/// Bytes that the memory pool keeps and no tensor uses.
fn kept_bytes(device: sys::CUdevice) -> CandleResult<usize> {
    use sys::CUmemPool_attribute::{
        CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT as RESERVED, CU_MEMPOOL_ATTR_USED_MEM_CURRENT as USED,
    };
    let (mut pool, mut reserved, mut used) = (std::ptr::null_mut(), 0u64, 0u64);
    // SAFETY: `device` is that of a context, `pool` is written before it is read, and both
    // attributes are 64-bit integers that the driver writes during the call.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&mut pool, device).result().w()?;
        sys::cuMemPoolGetAttribute(pool, RESERVED, (&raw mut reserved).cast()).result().w()?;
        sys::cuMemPoolGetAttribute(pool, USED, (&raw mut used).cast()).result().w()?;
    }
    Ok(reserved.saturating_sub(used) as usize)
}

impl DeviceProperties {
    /// What the driver says of a GPU; none for the CPU.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn of(device: &Device) -> Result<Option<Self>> {
        let Device::Cuda(device) = device else { return Ok(None) };
        let stream = device.cuda_stream();
        let context = stream.context();
        let (major, minor) = context.compute_capability().w()?;
        let processors = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let (free_bytes, total_bytes) = context.mem_get_info().w()?;
        let free_bytes = free_bytes + kept_bytes(context.cu_device())?;
        Ok(Some(Self {
            name: context.name().w()?,
            compute_capability: (major as u32, minor as u32),
            multiprocessors: context.attribute(processors).w()? as usize,
            total_bytes,
            free_bytes,
        }))
    }
}

impl PoolUse {
    /// What tensors hold of a GPU's memory when all its work is done; counts the highest use anew
    /// from now on. None for the CPU.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn take(device: &Device) -> Result<Option<Self>> {
        use sys::CUmemPool_attribute::{
            CU_MEMPOOL_ATTR_USED_MEM_CURRENT as USED, CU_MEMPOOL_ATTR_USED_MEM_HIGH as HIGHEST,
        };
        let Device::Cuda(cuda) = device else { return Ok(None) };
        device.synchronize()?;
        let (mut pool, mut zero) = (std::ptr::null_mut(), 0u64);
        let (mut now, mut highest) = (0u64, 0u64);
        // SAFETY: the device is that of a context, `pool` is written before it is read, and all
        // attributes are 64-bit integers; the highest use may be set to 0, for the present one.
        unsafe {
            let device = cuda.cuda_stream().context().cu_device();
            sys::cuDeviceGetDefaultMemPool(&mut pool, device).result().w()?;
            sys::cuMemPoolGetAttribute(pool, USED, (&raw mut now).cast()).result().w()?;
            sys::cuMemPoolGetAttribute(pool, HIGHEST, (&raw mut highest).cast()).result().w()?;
            sys::cuMemPoolSetAttribute(pool, HIGHEST, (&raw mut zero).cast()).result().w()?;
        }
        Ok(Some(Self { now, highest }))
    }
}

/// The kernels of a file as PTX for a device and element type, compiled once a program.
fn ptx(device: &CudaDevice, source: Source, double: bool) -> CandleResult<(String, Arc<str>)> {
    type Cache = Mutex<Option<HashMap<String, Arc<str>>>>;
    static COMPILED: Cache = Mutex::new(None);
    let (major, minor) = device.cuda_stream().context().compute_capability().w()?;
    let name = format!("entk_{}_{}_{major}{minor}", source.name(), if double { 64 } else { 32 });
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compiled = compiled.get_or_insert_default();
    if let Some(ptx) = compiled.get(&name) {
        return Ok((name, ptx.clone()));
    }
    let options = nvrtc::CompileOptions {
        name: Some(format!("{}.cu", source.name())),
        options: vec![format!("--gpu-architecture=compute_{major}{minor}")],
        ..nvrtc::CompileOptions::default()
    };
    let ptx: Arc<str> =
        nvrtc::compile_ptx_with_opts(source.text(double), options).w()?.to_src().into();
    compiled.insert(name.clone(), ptx.clone());
    Ok((name, ptx))
}

impl Launch {
    /// Runs the kernel on contiguous inputs of f32 or of f64 and returns the output.
    ///
    /// # Errors
    /// Inputs of other lengths or types, sizes beyond 2^31, and those of the device.
    pub fn run(&self, inputs: &[(&CudaStorage, &Layout)]) -> CandleResult<CudaStorage> {
        let lengths: Vec<_> = inputs.iter().map(|(_, l)| l.shape().elem_count()).collect();
        self.check(&lengths)?;
        match inputs.first().map(|(storage, _)| storage.dtype()) {
            Some(DType::F32) => run_typed::<f32>(self, inputs),
            Some(DType::F64) => run_typed::<f64>(self, inputs),
            _ => candle_core::bail!("{}: needs f32 or f64", self.name()),
        }
    }
}

/// All inputs have the type of the first, and so has the result.
fn run_typed<T: Entry>(
    launch: &Launch,
    inputs: &[(&CudaStorage, &Layout)],
) -> CandleResult<CudaStorage> {
    let device = inputs[0].0.device().clone();
    let views = inputs.iter().map(view::<T>).collect::<CandleResult<Vec<_>>>()?;
    // SAFETY: the kernel writes every entry of its output before anything reads one; the self-test
    // checks that on memory full of NaN.
    let mut out = unsafe { device.alloc::<T>(launch.output())? };
    start(launch, &device, &views, &mut out)?;
    Ok(CudaStorage::wrap_cuda_slice(out, device))
}

/// The output of a launch on memory full of NaN.
pub(crate) fn answer<T: Entry>(
    device: &Device,
    launch: &Launch,
    inputs: &[Vec<T>],
) -> Result<Vec<T>> {
    let lengths: Vec<_> = inputs.iter().map(Vec::len).collect();
    launch.check(&lengths)?;
    let device = device.as_cuda_device()?;
    let inputs =
        inputs.iter().map(|input| device.clone_htod(input)).collect::<CandleResult<Vec<_>>>()?;
    let views: Vec<_> = inputs.iter().map(|input| input.slice(..)).collect();
    let mut out = device.clone_htod(&vec![T::from_f64(f64::NAN); launch.output()])?;
    start(launch, device, &views, &mut out)?;
    Ok(device.clone_dtoh(&out)?)
}

fn view<'a, T: Entry>(input: &(&'a CudaStorage, &Layout)) -> CandleResult<CudaView<'a, T>> {
    let (storage, layout) = input;
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("kernel inputs must be contiguous")
    };
    Ok(storage.as_cuda_slice::<T>()?.slice(start..end))
}

fn start<T: Entry>(
    launch: &Launch,
    device: &CudaDevice,
    views: &[CudaView<'_, T>],
    out: &mut candle_core::cuda_backend::cudarc::driver::CudaSlice<T>,
) -> CandleResult<()> {
    if launch.output() == 0 {
        return Ok(());
    }
    let (module, ptx) = ptx(device, launch.source(), T::DTYPE == DType::F64)?;
    let function = device.get_or_load_custom_func(launch.name(), &module, &ptx)?;
    let (count, sizes) = (launch.output() as u32, LaunchSizes::of(launch.sizes()));
    let mut builder = function.builder();
    builder.arg(&count).arg(&sizes);
    views.iter().for_each(|view| {
        builder.arg(view);
    });
    // A kernel does not read what it has no length for.
    let absent = 0u64;
    (views.len()..MOST_INPUTS).for_each(|_| {
        builder.arg(&absent);
    });
    builder.arg(out);
    let grid = LaunchConfig {
        grid_dim: (count.div_ceil(BLOCK), 1, 1),
        block_dim: (BLOCK, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: arguments are those of the prelude's KERNEL in number, order and type. `Launch` is
    // only made by this crate, with the lengths that its function reads and writes; the inputs
    // have been checked against them and `out` was allocated with its length.
    unsafe { builder.launch(grid) }.w()?;
    Ok(())
}
