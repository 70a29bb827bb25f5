//! Products added into a matrix that exists, `c += a b`; candle's own make a new one.

pub(crate) mod operand;
pub(crate) mod precision;

use candle_core::{
    CpuStorage, CudaStorage, DType, InplaceOp2, InplaceOp3, Layout, Result as CandleResult, Tensor,
    WithDType, bail,
};

use crate::{
    device,
    error::{DeviceError, Result},
    products::{operand::Operand, precision::Precision},
};

/// `c += a b`, in place, for a (m, k), b (k, n) of one precision and c (m, n) of their
/// [accumulator](Operand::accumulator)'s type.
///
/// Each of the three may be a view of some rows and columns of a larger matrix; a and b may be
/// transposed, and may share their memory (a Gram is `add_product(k, rows, rows.t())`). Cost:
/// `2 m n k` operations, three times that where operands have two parts.
///
/// On the CPU the same rounded numbers are multiplied, with sums in the same type.
///
/// # Errors
/// [`DeviceError::Shape`] and [`DeviceError::DType`] where the three do not fit together, and those
/// of the device: a c that shares memory with a or b, or sizes beyond 2^31.
pub fn add_product(c: &Tensor, a: &Operand, b: &Operand) -> Result<()> {
    check(c, a, b)?;
    if c.elem_count() == 0 || a.dims2()?.1 == 0 {
        return Ok(());
    }
    let ((high, low), (high_b, low_b)) = (a.parts(), b.parts());
    let precision = a.precision();
    if let (Some(low), Some(low_b)) = (low, low_b) {
        add_one(c, low, high_b, precision)?;
        add_one(c, high, low_b, precision)?;
    }
    add_one(c, high, high_b, precision)
}

fn check(c: &Tensor, a: &Operand, b: &Operand) -> Result<()> {
    let what = "sum of matrix products";
    let ((m, k), (rows, n)) = (a.dims2()?, b.dims2()?);
    if rows != k {
        return Err(DeviceError::Shape { what, expected: format!("({k}, n)"), got: vec![rows, n] });
    }
    if c.dims() != [m, n] {
        let got = c.dims().to_vec();
        return Err(DeviceError::Shape { what, expected: format!("({m}, {n})"), got });
    }
    if a.precision() != b.precision() {
        let (expected, got) = ("operands of one precision", b.parts().0.dtype());
        return Err(DeviceError::DType { what, expected, got });
    }
    if c.dtype() != a.accumulator() {
        let expected = if a.accumulator() == DType::F64 { "f64" } else { "f32" };
        return Err(DeviceError::DType { what, expected, got: c.dtype() });
    }
    Ok(())
}

fn add_one(c: &Tensor, a: &Tensor, b: &Tensor, precision: Precision) -> Result<()> {
    if c.device().is_cpu() {
        // bf16 numbers are f32 numbers; TF32 ones are stored as such.
        let widen = |x: &Tensor| x.to_dtype(c.dtype())?.contiguous();
        return Ok(c.inplace_op2(&widen(a)?.matmul(&widen(b)?)?, &AddInto)?);
    }
    Ok(c.inplace_op3(a, b, &AddProduct(precision))?)
}

/// The device's own sum of products.
struct AddProduct(Precision);

impl InplaceOp3 for AddProduct {
    fn name(&self) -> &'static str {
        "add-product"
    }

    fn cpu_fwd(
        &self,
        _: &mut CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> CandleResult<()> {
        bail!("add-product: on the CPU tensors are multiplied, then added")
    }

    fn cuda_fwd(
        &self,
        c: &mut CudaStorage,
        c_layout: &Layout,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> CandleResult<()> {
        device::add_product(self.0, (c, c_layout), (a, a_layout), (b, b_layout))
    }
}

/// `c += p` for a contiguous p, c a view.
struct AddInto;

impl InplaceOp2 for AddInto {
    fn name(&self) -> &'static str {
        "add-into"
    }

    fn cpu_fwd(
        &self,
        c: &mut CpuStorage,
        c_layout: &Layout,
        p: &CpuStorage,
        p_layout: &Layout,
    ) -> CandleResult<()> {
        match (c, p) {
            (CpuStorage::F32(c), CpuStorage::F32(p)) => add_into(c, c_layout, p, p_layout),
            (CpuStorage::F64(c), CpuStorage::F64(p)) => add_into(c, c_layout, p, p_layout),
            _ => bail!("add-into: both must be f32 or both f64"),
        }
    }
}

fn add_into<T: WithDType>(c: &mut [T], to: &Layout, p: &[T], from: &Layout) -> CandleResult<()> {
    let Some((start, end)) = from.contiguous_offsets() else {
        bail!("add-into: the sum must be contiguous")
    };
    let (rows, columns) = to.shape().dims2()?;
    let (row_step, step) = (to.stride()[0], to.stride()[1]);
    let values = &p[start..end];
    for row in 0..rows {
        for column in 0..columns {
            let at = to.start_offset() + row * row_step + column * step;
            c[at] += values[row * columns + column];
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Entries of a matrix of numbers in -1..1, the same at every run.
    fn numbers(rows: usize, columns: usize, seed: u64) -> Result<Tensor> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
        };
        let values: Vec<f64> = (0..rows * columns).map(|_| next()).collect();
        Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
    }

    #[test]
    fn sums_of_products_are_within_the_bound_of_every_precision() -> Result<()> {
        let (m, k, n) = (5, 40, 7);
        for precision in Precision::ALL {
            let dtype = if precision == Precision::F64 { DType::F64 } else { DType::F32 };
            // What the operands hold before rounding: f32 numbers, but for f64.
            let stored = |x: Tensor| Ok::<_, DeviceError>(x.to_dtype(dtype)?);
            let (a, b) = (stored(numbers(m, k, 1)?)?, stored(numbers(n, k, 2)?)?);
            let start = stored(numbers(m, n, 3)?)?;
            let c = start.copy()?;
            let (left, right) = (Operand::new(&a, precision)?, Operand::new(&b, precision)?);
            add_product(&c, &left, &right.t()?)?;

            let wide = |x: &Tensor| x.to_dtype(DType::F64);
            let (a, b) = (wide(&a)?, wide(&b)?);
            let exact = (a.matmul(&b.t()?)? + wide(&start)?)?;
            let size = (a.abs()?.matmul(&b.abs()?.t()?)? + wide(&start)?.abs()?)?;
            let error = ((wide(&c)? - exact)?.abs()? / size)?.max_all()?.to_scalar::<f64>()?;
            // One term more: the entry that was there.
            let bound = precision.product_error(k + 1);
            assert!(error <= bound, "{precision}: {error:e} > {bound:e}");
        }
        Ok(())
    }

    #[test]
    fn a_block_of_a_larger_matrix_is_added_to_and_nothing_else() -> Result<()> {
        let whole = numbers(6, 8, 1)?;
        let before = whole.copy()?;
        let block = whole.narrow(0, 1, 3)?.narrow(1, 2, 4)?;
        let rows = Operand::new(&numbers(9, 5, 2)?, Precision::F64)?;
        let (a, b) = (rows.narrow(0, 0, 3)?, rows.narrow(0, 4, 4)?);
        add_product(&block, &a, &b.t()?)?;
        let change = (whole - before)?;
        let product = a.parts().0.matmul(&b.parts().0.t()?)?;
        let expected = product.pad_with_zeros(0, 1, 2)?.pad_with_zeros(1, 2, 2)?;
        let error = (change - expected)?.abs()?.max_all()?.to_scalar::<f64>()?;
        // Sums of six numbers of size 1.
        assert!(error <= 6.0 * 5.0 * f64::EPSILON, "{error:e}");
        Ok(())
    }

    #[test]
    fn what_does_not_fit_together_is_refused() -> Result<()> {
        let f32s = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu);
        let single = |shape| Operand::new(&f32s(shape)?, Precision::F32);
        let c = f32s((2, 3))?;
        for (a, b) in [((2, 4), (5, 3)), ((3, 4), (4, 3)), ((2, 4), (4, 2))] {
            let refused = add_product(&c, &single(a)?, &single(b)?);
            assert!(matches!(refused, Err(DeviceError::Shape { .. })), "{a:?} {b:?}");
        }
        let tf32 = Operand::new(&f32s((4, 3))?, Precision::Tf32)?;
        let refused = add_product(&c, &single((2, 4))?, &tf32);
        assert!(matches!(refused, Err(DeviceError::DType { .. })));
        let wide = c.to_dtype(DType::F64)?;
        let refused = add_product(&wide, &single((2, 4))?, &single((4, 3))?);
        assert!(matches!(refused, Err(DeviceError::DType { got: DType::F64, .. })));
        let integers = Operand::new(&c.to_dtype(DType::U8)?, Precision::F32);
        assert!(matches!(integers, Err(DeviceError::DType { got: DType::U8, .. })));
        Ok(())
    }
}
