use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result as CandleResult, Shape, Tensor,
};

use super::real::Real;
use crate::error::Result;

/// A map from contiguous host slices to a new one: what a layer's hot loop is written as.
///
/// Kernels are deterministic: the same input gives the same bits for any number of threads.
pub(crate) trait Kernel: Send + Sync {
    /// Name in error messages.
    const NAME: &'static str;
    /// Shape of the result.
    fn output(&self) -> Shape;
    /// Fills `out`, which starts at zero.
    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]);
}

/// Runs a loop compiled for this machine's vectors: AVX2 where there is. Nothing is contracted or
/// reordered, so the bits are those of the plain loop. What `f` calls has to be inlined into it.
pub(crate) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Runs `kernel` on one to three tensors of the same dtype.
pub(crate) fn apply<K: Kernel>(kernel: K, inputs: &[&Tensor]) -> Result<Tensor> {
    let op = Op(kernel);
    let result = match inputs {
        [a] => a.contiguous()?.apply_op1_no_bwd(&op),
        [a, b] => a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &op),
        [a, b, c] => a.contiguous()?.apply_op3_no_bwd(&b.contiguous()?, &c.contiguous()?, &op),
        _ => Err(candle_core::Error::Msg(format!("{}: takes 1 to 3 tensors", K::NAME))),
    };
    Ok(result?)
}

struct Op<K>(K);

type Argument<'a> = (&'a CpuStorage, &'a Layout);

impl<K: Kernel> Op<K> {
    fn on_host(&self, inputs: &[Argument<'_>]) -> CandleResult<(CpuStorage, Shape)> {
        match inputs.first() {
            Some((CpuStorage::F32(_), _)) => self.typed::<f32>(inputs),
            Some((CpuStorage::F64(_), _)) => self.typed::<f64>(inputs),
            _ => Err(candle_core::Error::Msg(format!("{}: needs f32 or f64", K::NAME))),
        }
    }

    fn typed<T: Real>(&self, inputs: &[Argument<'_>]) -> CandleResult<(CpuStorage, Shape)> {
        let slices = inputs.iter().map(host_slice::<T>).collect::<CandleResult<Vec<_>>>()?;
        let shape = self.0.output();
        let mut out = vec![T::zero(); shape.elem_count()];
        self.0.run(&slices, &mut out);
        Ok((T::to_cpu_storage_owned(out), shape))
    }
}

fn host_slice<'a, T: Real>((storage, layout): &Argument<'a>) -> CandleResult<&'a [T]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::Msg("kernel input is not contiguous".into()))?;
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}

impl<K: Kernel> CustomOp1 for Op<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        self.on_host(&[(s, l)])
    }
}

impl<K: Kernel> CustomOp2 for Op<K> {
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
}

impl<K: Kernel> CustomOp3 for Op<K> {
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
}
