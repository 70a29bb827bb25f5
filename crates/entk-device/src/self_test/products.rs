//! Known answers of rounding and of sums of products in every precision, with the copy to the host
//! that brings them back.

use candle_core::{DType, Device, Tensor};

use crate::{
    error::{DeviceError, Result},
    launch::Launch,
    products::{
        add_product,
        operand::Operand,
        precision::{Precision, round_to_bits},
    },
    self_test::known_answers::{Answer, KnownAnswer, Question, largest, numbers},
    transfer::host_copies::HostCopies,
};

/// Rounding to the bits of TF32, over many binades and with ties.
pub(super) fn rounding() -> Question {
    let spread = |(at, x): (usize, &f64)| f64::from(*x as f32 * 2f32.powi(at as i32 % 60 - 30));
    let mut values: Vec<f64> = numbers(500, 60).iter().enumerate().map(spread).collect();
    // Halfway between two numbers of ten bits; the nearest even one is below or above in turn.
    let tie = |at: usize| 1.0 + (at as f64 + 0.5) / 1024.0;
    values.iter_mut().enumerate().take(40).for_each(|(at, value)| *value = tie(at));
    Question::new(Launch::round(500, 10), vec![values], 0, |i, inputs| {
        Answer::of(f64::from(round_to_bits(inputs[0][i] as f32, 10)))
    })
}

/// Sums of products in every precision, into a block of a larger matrix, read back by a copy.
pub(super) fn checks(device: &Device) -> Result<Vec<KnownAnswer>> {
    Precision::ALL.into_iter().map(|precision| check(device, precision)).collect()
}

fn check(device: &Device, precision: Precision) -> Result<KnownAnswer> {
    let (m, k, n) = (37, 129, 53);
    let dtype = if precision == Precision::F64 { DType::F64 } else { DType::F32 };
    let matrix = |rows: usize, columns: usize, seed| -> Result<Tensor> {
        Ok(Tensor::from_vec(numbers(rows * columns, seed), (rows, columns), &Device::Cpu)?)
    };
    let (a, b, start) = (matrix(m, k, 61)?, matrix(n, k, 62)?, matrix(m + 3, n + 5, 63)?);
    let there = |x: &Tensor| x.to_dtype(dtype)?.to_device(device);
    let whole = there(&start)?.copy()?;
    let left = Operand::new(&there(&a)?, precision)?;
    let right = Operand::new(&there(&b)?, precision)?;
    add_product(&whole.narrow(0, 2, m)?.narrow(1, 4, n)?, &left, &right.t()?)?;

    let placed = |x: Tensor| x.pad_with_zeros(0, 2, 1)?.pad_with_zeros(1, 4, 1);
    let exact = (placed(a.matmul(&b.t()?)?)? + &start)?;
    let size = (placed(a.abs()?.matmul(&b.abs()?.t()?)?)? + start.abs()?)?;
    let error = ((on_host(&whole, dtype)? - exact)?.abs()? / size)?;
    let worst = largest(error.flatten_all()?.to_vec1()?);
    let kernel = format!("add_product {precision}");
    // One term more: the entry that was there.
    Ok(KnownAnswer { kernel, dtype, worst, tolerance: precision.product_error(k + 1) })
}

/// Through page-locked memory, which is tested with it.
fn on_host(tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    let (device, count) = (tensor.device(), tensor.elem_count());
    let values = if dtype == DType::F64 {
        let mut copies = HostCopies::<f64>::new(device, count, 1)?;
        copies.start(tensor.clone())?;
        copies.take(<[f64]>::to_vec)?
    } else {
        let mut copies = HostCopies::<f32>::new(device, count, 1)?;
        copies.start(tensor.clone())?;
        copies.take(|values| values.iter().map(|x| f64::from(*x)).collect())?
    };
    let got = tensor.dims().to_vec();
    let lost = DeviceError::Shape { what: "copy to the host", expected: "one copy".into(), got };
    Ok(Tensor::from_vec(values.ok_or(lost)?, tensor.dims(), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_on_the_cpu_pass_their_own_check() -> Result<()> {
        for check in checks(&Device::Cpu)? {
            assert!(check.passed(), "{check:?}");
            assert!(check.dtype == DType::F64 || check.worst > 0.0, "{check:?}");
        }
        Ok(())
    }
}
