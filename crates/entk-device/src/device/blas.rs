//! Sums of matrix products on a GPU: in come a precision and three matrices of the device, which
//! the caller has checked to fit; cuBLAS adds to the first. Called by `products`.

use candle_core::{
    CudaStorage, Layout, Result as CandleResult,
    backend::BackendStorage,
    bail,
    cuda_backend::{
        CudaDType, WrapErr,
        cudarc::{
            cublas::{result::gemm_ex, sys},
            driver::{DevicePtr, DevicePtrMut, DeviceRepr},
        },
    },
};
use half::bf16;

use crate::products::precision::Precision;

type View<'a, S> = (S, &'a Layout);

/// `c += a b` by cuBLAS; the shapes fit together.
pub(crate) fn add_product(
    precision: Precision,
    c: View<'_, &mut CudaStorage>,
    a: View<'_, &CudaStorage>,
    b: View<'_, &CudaStorage>,
) -> CandleResult<()> {
    use sys::{cublasComputeType_t as Compute, cudaDataType_t as Type};
    let (single, double) = (Type::CUDA_R_32F, Type::CUDA_R_64F);
    match precision {
        Precision::F64 => add::<f64, f64>([double; 2], Compute::CUBLAS_COMPUTE_64F, 1f64, c, a, b),
        Precision::F32 => add::<f32, f32>([single; 2], Compute::CUBLAS_COMPUTE_32F, 1f32, c, a, b),
        Precision::Tf32 | Precision::Tf32x3 => {
            add::<f32, f32>([single; 2], Compute::CUBLAS_COMPUTE_32F_FAST_TF32, 1f32, c, a, b)
        }
        Precision::Bf16 | Precision::Bf16x3 => {
            let types = [Type::CUDA_R_16BF, single];
            add::<bf16, f32>(types, Compute::CUBLAS_COMPUTE_32F, 1f32, c, a, b)
        }
    }
}

/// A row-major matrix as cuBLAS, which is column-major, sees its transpose.
struct Transposed {
    operation: sys::cublasOperation_t,
    leading: i32,
}

impl Transposed {
    fn of(layout: &Layout) -> CandleResult<Self> {
        let (rows, columns) = layout.shape().dims2()?;
        let (row_step, step) = (layout.stride()[0], layout.stride()[1]);
        let (operation, leading) =
            if (step == 1 || columns == 1) && (row_step >= columns || rows == 1) {
                (sys::cublasOperation_t::CUBLAS_OP_N, row_step.max(columns))
            } else if (row_step == 1 || rows == 1) && (step >= rows || columns == 1) {
                (sys::cublasOperation_t::CUBLAS_OP_T, step.max(rows))
            } else {
                bail!("add-product: a matrix has strides {:?}", layout.stride())
            };
        Ok(Self { operation, leading: int(leading)? })
    }
}

fn int(size: usize) -> CandleResult<i32> {
    i32::try_from(size).map_err(candle_core::Error::wrap)
}

fn add<In: CudaDType + DeviceRepr, Out: CudaDType + DeviceRepr>(
    [input, output]: [sys::cudaDataType_t; 2],
    compute: sys::cublasComputeType_t,
    one: Out,
    (c, c_layout): View<'_, &mut CudaStorage>,
    (a, a_layout): View<'_, &CudaStorage>,
    (b, b_layout): View<'_, &CudaStorage>,
) -> CandleResult<()> {
    let device = c.device().clone();
    let (stream, handle) = (device.cuda_stream(), device.cublas_handle());
    stream.context().bind_to_thread().w()?;
    let ((m, n), k) = (c_layout.shape().dims2()?, a_layout.shape().dims2()?.1);
    let (m, n, k) = (int(m)?, int(n)?, int(k)?);
    let (left, right) = (Transposed::of(a_layout)?, Transposed::of(b_layout)?);
    let into = Transposed::of(c_layout)?;
    if into.operation != sys::cublasOperation_t::CUBLAS_OP_N {
        bail!("add-product: the sum must be row-major")
    }
    let a = a.as_cuda_slice::<In>()?.slice(a_layout.start_offset()..);
    let b = b.as_cuda_slice::<In>()?.slice(b_layout.start_offset()..);
    let mut c = c.as_cuda_slice_mut::<Out>()?.slice_mut(c_layout.start_offset()..);
    let ((a, _reads_a), (b, _reads_b)) = (a.device_ptr(&stream), b.device_ptr(&stream));
    let (c, _writes_c) = c.device_ptr_mut(&stream);
    let one: *const Out = &one;
    // SAFETY: the pointers are those of live allocations of this stream, whose context is current.
    // candle's layouts stay within them, and the leading dimensions are these layouts' row steps;
    // m, n and k are the layouts' sizes, checked to fit. `In` and `Out` are the declared types,
    // and cuBLAS reads the factors, of the type `Out`, during the call. Row-major c = a b is
    // column-major c^T = b^T a^T, hence the order.
    unsafe {
        gemm_ex(
            *handle.handle(),
            right.operation,
            left.operation,
            n,
            m,
            k,
            one.cast(),
            b as *const _,
            input,
            right.leading,
            a as *const _,
            input,
            left.leading,
            one.cast(),
            c as *mut _,
            output,
            into.leading,
            compute,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .w()
}
