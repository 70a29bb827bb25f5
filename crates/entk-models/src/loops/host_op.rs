//! How a hot loop meets its tensors: the trait that every loop implements, and the one place that
//! chooses between the host's function, a kernel of a GPU, and other operations of tensors.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result as CandleResult,
    Shape, Storage, Tensor, WithDType, op::BackpropOp,
};
use entk_device::Launch;

use crate::{
    error::Result,
    loops::{axis::strided::contiguous, real::Real},
};

/// A hot loop, from contiguous slices to a new one: a function on the host, and on a GPU the launch
/// of a kernel or other operations of tensors.
///
/// Loops are deterministic: the same input gives the same bits for any number of threads.
pub trait HostOp: Sized + Send + Sync {
    /// Name in error messages.
    const NAME: &'static str;

    /// Shape of the result.
    fn output(&self) -> Shape;

    /// Fills `out`, which starts at zero.
    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]);

    /// The kernel that gives these numbers on a GPU; none where [`composed`](Self::composed) does.
    fn launch(&self) -> Option<Launch> {
        None
    }

    /// These numbers from other operations of tensors, for a GPU without a kernel for them.
    ///
    /// # Errors
    /// By default, that the loop runs on the host only; otherwise those of the operations.
    fn composed(&self, _inputs: &[&Tensor]) -> Result<Tensor> {
        Err(candle_core::Error::Msg(format!("{}: runs on the host only", Self::NAME)).into())
    }

    /// The result for tensors of one element type, f32 or f64, on one device: any number on the
    /// host, one to four for a [`launch`](Self::launch).
    ///
    /// # Errors
    /// Other tensors, and those of the device.
    fn apply(self, inputs: &[&Tensor]) -> Result<Tensor> {
        if !inputs.iter().all(|input| on_host(input)) && self.launch().is_none() {
            return self.composed(inputs);
        }
        let op = Op(self);
        let inputs = inputs.iter().map(|x| contiguous(x)).collect::<Result<Vec<_>>>()?;
        let result = match &inputs[..] {
            [a] => a.apply_op1_no_bwd(&op),
            [a, b] => a.apply_op2_no_bwd(b, &op),
            [a, b, c] => a.apply_op3_no_bwd(b, c, &op),
            many => op.of_many(many),
        };
        Ok(result?)
    }
}

/// Whether a tensor takes the host's own path.
pub(crate) fn on_host(tensor: &Tensor) -> bool {
    tensor.device().is_cpu()
}

/// Runs a loop compiled for this machine's vectors: AVX2 where there is. Nothing is contracted or
/// reordered, so the bits are those of the plain loop. `f` and what it calls have to be inlined, or
/// they stay compiled for the plain machine: mark closures `#[inline(always)]` too.
pub(crate) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

struct Op<K>(K);

/// A tensor on the host: storage and layout.
pub(crate) type Argument<'a> = (&'a CpuStorage, &'a Layout);

impl<K: HostOp> Op<K> {
    fn on_device(&self, inputs: &[(&CudaStorage, &Layout)]) -> CandleResult<(CudaStorage, Shape)> {
        let launch = self.0.launch().ok_or_else(|| {
            candle_core::Error::Msg(format!("{}: has no kernel for a GPU", K::NAME))
        })?;
        Ok((launch.run(inputs)?, self.0.output()))
    }

    fn on_host(&self, inputs: &[Argument<'_>]) -> CandleResult<(CpuStorage, Shape)> {
        match inputs.first() {
            Some((CpuStorage::F32(_), _)) => self.typed::<f32>(inputs),
            Some((CpuStorage::F64(_), _)) => self.typed::<f64>(inputs),
            _ => Err(candle_core::Error::Msg(format!("{}: needs f32 or f64", K::NAME))),
        }
    }

    /// The result for any number of tensors; candle's own interface takes three.
    fn of_many(&self, inputs: &[Tensor]) -> CandleResult<Tensor> {
        let guards: Vec<_> = inputs.iter().map(Tensor::storage_and_layout).collect();
        let (mut host, mut device) = (Vec::new(), Vec::new());
        for (storage, layout) in &guards {
            match &**storage {
                Storage::Cpu(storage) => host.push((storage, *layout)),
                Storage::Cuda(storage) => device.push((storage, *layout)),
                _ => {}
            }
        }
        let (storage, shape) = if host.len() == inputs.len() {
            let (storage, shape) = self.on_host(&host)?;
            (Storage::Cpu(storage), shape)
        } else if device.len() == inputs.len() {
            let (storage, shape) = self.on_device(&device)?;
            (Storage::Cuda(storage), shape)
        } else {
            let message = format!("{}: its tensors are on different devices", K::NAME);
            return Err(candle_core::Error::Msg(message));
        };
        Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
    }

    fn typed<T: Real>(&self, inputs: &[Argument<'_>]) -> CandleResult<(CpuStorage, Shape)> {
        let slices = inputs.iter().map(host_slice::<T>).collect::<CandleResult<Vec<_>>>()?;
        let shape = self.0.output();
        let mut out = vec![T::zero(); shape.elem_count()];
        self.0.run(&slices, &mut out);
        Ok((T::to_cpu_storage_owned(out), shape))
    }
}

/// The entries of a contiguous tensor of this type on the host.
pub(crate) fn host_slice<'a, T: WithDType>(
    (storage, layout): &Argument<'a>,
) -> CandleResult<&'a [T]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::Msg("kernel input is not contiguous".into()))?;
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}

impl<K: HostOp> CustomOp1 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        self.on_host(&[(s, l)])
    }
    fn cuda_fwd(&self, s: &CudaStorage, l: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        self.on_device(&[(s, l)])
    }
}

impl<K: HostOp> CustomOp2 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        self.on_host(&[(s1, l1), (s2, l2)])
    }
    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        self.on_device(&[(s1, l1), (s2, l2)])
    }
}

impl<K: HostOp> CustomOp3 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        self.on_host(&[(s1, l1), (s2, l2), (s3, l3)])
    }
    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
        s3: &CudaStorage,
        l3: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        self.on_device(&[(s1, l1), (s2, l2), (s3, l3)])
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::LazyLock;

    use entk_device::{HostCompiler, HostEntry};

    use super::*;

    /// The host's C compiler in place of a GPU.
    static COMPILER: LazyLock<Option<HostCompiler>> = LazyLock::new(HostCompiler::find);

    /// Numbers in -2..2, the same at every run.
    pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / f64::from(1u32 << 29) - 2.0
        };
        (0..count + 8).map(|_| next()).skip(8).collect()
    }

    /// Asserts that a kernel and its launch, compiled for the host, give the same numbers, up to
    /// `tolerance` times the unit round-off of the type and the largest entry.
    pub(crate) fn assert_device_agrees<K: HostOp>(kernel: &K, inputs: &[Vec<f64>], tolerance: f64) {
        assert_agrees::<f64, K>(kernel, inputs, tolerance * 0.5f64.powi(53));
        assert_agrees::<f32, K>(kernel, inputs, tolerance * 0.5f64.powi(24));
    }

    fn assert_agrees<T: Real + HostEntry, K: HostOp>(
        kernel: &K,
        inputs: &[Vec<f64>],
        tolerance: f64,
    ) {
        let Some(compiler) = COMPILER.as_ref() else {
            eprintln!("skipped: no C compiler `cc`");
            return;
        };
        let typed: Vec<Vec<T>> =
            inputs.iter().map(|i| i.iter().map(|x| T::from_f64(*x)).collect()).collect();
        let slices: Vec<&[T]> = typed.iter().map(Vec::as_slice).collect();
        let mut host = vec![T::zero(); kernel.output().elem_count()];
        kernel.run(&slices, &mut host);
        let launch = kernel.launch().expect("a kernel of a device");
        let device = compiler.run(&launch, &slices).expect("no address outside");
        assert_eq!(host.len(), device.len(), "{}", K::NAME);
        let largest = host.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max);
        for (at, (host, device)) in host.iter().zip(&device).enumerate() {
            let error = (host.to_f64() - device.to_f64()).abs();
            assert!(error <= tolerance * largest, "{} at {at}: {host} {device}", K::NAME);
        }
    }
}
