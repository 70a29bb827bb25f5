//! Rows of tables by their numbers, and their transpose, which adds rows at these numbers. Called
//! by embeddings, and by whatever takes largest entries, whose rows hold one entry.

use candle_core::{CpuStorage, CustomOp2, Layout, Result as CandleResult, Shape, Tensor};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        axis::strided::contiguous,
        host_op::{host_slice, on_host, vectorised},
        real::Real,
    },
};

/// Entries that one task moves, about.
const TASK: usize = 1 << 13;

/// Sizes of a look-up: `planes` times `to` rows of `width` entries by their numbers, out of `from`
/// rows a plane, or of one table of all planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LookUp {
    /// Planes, each with numbers of its own.
    pub(crate) planes: usize,
    /// Rows of a table; numbers are smaller.
    pub(crate) from: usize,
    /// Numbers of a plane.
    pub(crate) to: usize,
    /// Entries of a row.
    pub(crate) width: usize,
    /// Whether all planes read one table.
    pub(crate) shared: bool,
}

impl LookUp {
    fn table(&self) -> usize {
        self.from * self.width
    }

    fn taken(&self) -> Shape {
        (self.planes, self.to, self.width).into()
    }

    fn added(&self) -> Shape {
        let tables = if self.shared { 1 } else { self.planes };
        (tables, self.from, self.width).into()
    }

    fn take<T: Real>(&self, tables: &[T], ids: &[u32], out: &mut [T]) {
        let width = self.width;
        let rows = TASK.div_ceil(width);
        (out.par_chunks_mut(rows * width).zip(ids.par_chunks(rows)).enumerate()).for_each(
            |(task, (out, ids))| {
                let numbered = ids.iter().zip(task * rows..);
                for (out, (id, at)) in out.chunks_exact_mut(width).zip(numbered) {
                    let table = if self.shared { 0 } else { at / self.to * self.table() };
                    let from = table + *id as usize * width;
                    out.copy_from_slice(&tables[from..from + width]);
                }
            },
        );
    }

    fn add<T: Real>(&self, rows: &[T], ids: &[u32], out: &mut [T]) {
        let to = if self.shared { self.planes * self.to } else { self.to };
        (out.par_chunks_mut(self.table()).zip(ids.par_chunks(to)))
            .zip(rows.par_chunks(to * self.width))
            .with_min_len((TASK / self.table()).max(1))
            .for_each(|((out, ids), rows)| {
                vectorised(
                    #[inline(always)]
                    || add_rows(rows, ids, self.width, out),
                );
            });
    }

    /// Numbers of a plane for every entry of a row, as the tensor library's look-ups want them.
    fn ids_of_entries(&self, ids: &Tensor) -> Result<Tensor> {
        let ids = ids.reshape((self.planes, self.to, 1))?;
        Ok(ids.broadcast_as(self.taken())?.contiguous()?)
    }

    fn composed_take(&self, tables: &Tensor, ids: &Tensor) -> Result<Tensor> {
        if self.shared {
            let table = tables.reshape((self.from, self.width))?;
            return Ok(table.index_select(&ids.flatten_all()?, 0)?.reshape(self.taken())?);
        }
        Ok(tables.reshape(self.added())?.gather(&self.ids_of_entries(ids)?, 1)?)
    }

    fn composed_add(&self, rows: &Tensor, ids: &Tensor) -> Result<Tensor> {
        let zeros = Tensor::zeros(self.added(), rows.dtype(), rows.device())?;
        if self.shared {
            let rows = rows.reshape((self.planes * self.to, self.width))?;
            let sum = zeros.squeeze(0)?.index_add(&ids.flatten_all()?, &rows, 0)?;
            return Ok(sum.unsqueeze(0)?);
        }
        Ok(zeros.scatter_add(&self.ids_of_entries(ids)?, &rows.reshape(self.taken())?, 1)?)
    }
}

#[inline(always)]
fn add_rows<T: Real>(rows: &[T], ids: &[u32], width: usize, out: &mut [T]) {
    if width == 1 {
        rows.iter().zip(ids).for_each(|(row, id)| out[*id as usize] += *row);
        return;
    }
    for (row, id) in rows.chunks_exact(width).zip(ids) {
        let from = *id as usize * width;
        out[from..from + width].iter_mut().zip(row).for_each(|(out, x)| *out += *x);
    }
}

struct Rows {
    sizes: LookUp,
    transposed: bool,
}

impl Rows {
    fn output(&self) -> Shape {
        if self.transposed { self.sizes.added() } else { self.sizes.taken() }
    }

    fn run<T: Real>(&self, x: &[T], ids: &[u32]) -> CpuStorage {
        let mut out = vec![T::zero(); self.output().elem_count()];
        match self.transposed {
            true => self.sizes.add(x, ids, &mut out),
            false => self.sizes.take(x, ids, &mut out),
        }
        T::to_cpu_storage_owned(out)
    }

    fn apply(self, x: &Tensor, ids: &Tensor) -> Result<Tensor> {
        if self.output().elem_count() == 0 || x.elem_count() == 0 {
            return Ok(Tensor::zeros(self.output(), x.dtype(), x.device())?);
        }
        let (x, ids) = (contiguous(x)?, contiguous(ids)?);
        match (on_host(&x), self.transposed) {
            (true, _) => Ok(x.apply_op2_no_bwd(&ids, &self)?),
            (false, true) => self.sizes.composed_add(&x, &ids),
            (false, false) => self.sizes.composed_take(&x, &ids),
        }
    }
}

impl CustomOp2 for Rows {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        ids: &CpuStorage,
        ids_layout: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let ids: &[u32] = host_slice(&(ids, ids_layout))?;
        let out = match x {
            CpuStorage::F32(_) => self.run::<f32>(host_slice(&(x, layout))?, ids),
            CpuStorage::F64(_) => self.run::<f64>(host_slice(&(x, layout))?, ids),
            _ => return Err(candle_core::Error::Msg("rows: needs f32 or f64".into())),
        };
        Ok((out, self.output()))
    }
}

/// The rows of these numbers, (planes, to, width): `out[p, j, :] = tables[p, ids[p, j], :]`. All
/// numbers have to be smaller than `from`. Cost: one pass over the result.
///
/// # Errors
/// Those of the device.
pub(crate) fn take_rows(tables: &Tensor, ids: &Tensor, sizes: LookUp) -> Result<Tensor> {
    Rows { sizes, transposed: false }.apply(tables, ids)
}

/// The transpose of [`take_rows`], (planes or 1, from, width): zeros, to which row j of plane p is
/// added at row `ids[p, j]`, in the order of j. Cost: one pass over tables and rows.
///
/// # Errors
/// Those of the device.
pub(crate) fn add_at_rows(rows: &Tensor, ids: &Tensor, sizes: LookUp) -> Result<Tensor> {
    Rows { sizes, transposed: true }.apply(rows, ids)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::loops::host_op::testing::numbers;

    const SIZES: [LookUp; 5] = [
        LookUp { planes: 1, from: 1, to: 1, width: 1, shared: false },
        LookUp { planes: 30, from: 12, to: 5, width: 1, shared: false },
        LookUp { planes: 4, from: 9, to: 700, width: 3, shared: false },
        LookUp { planes: 6, from: 7, to: 50, width: 8, shared: true },
        LookUp { planes: 3, from: 40, to: 2, width: 1, shared: true },
    ];

    fn ids(sizes: LookUp) -> Vec<u32> {
        (0..sizes.planes * sizes.to).map(|at| (at * at % sizes.from) as u32).collect()
    }

    /// Calls `visit(entry of a table, entry of a row)` for all that are taken.
    fn for_each(sizes: LookUp, mut visit: impl FnMut(usize, usize)) {
        for (at, id) in ids(sizes).into_iter().enumerate() {
            let table = if sizes.shared { 0 } else { at / sizes.to };
            let from = (table * sizes.from + id as usize) * sizes.width;
            (0..sizes.width).for_each(|entry| visit(from + entry, at * sizes.width + entry));
        }
    }

    #[test]
    fn rows_are_those_of_plain_loops_on_host_and_device() -> Result<()> {
        for sizes in SIZES {
            let rows = Rows { sizes, transposed: false };
            let [tables, taken] = [sizes.added(), sizes.taken()].map(|s| s.elem_count());
            let (x, dy) = (numbers(tables, 1), numbers(taken, 2));
            let (mut out, mut dx) = (vec![0.0; taken], vec![0.0; tables]);
            for_each(sizes, |from, to| out[to] = x[from]);
            for_each(sizes, |from, to| dx[from] += dy[to]);
            let ids = Tensor::from_vec(ids(sizes), (sizes.planes, sizes.to), &Device::Cpu)?;
            for (dtype, unit) in [(DType::F64, f64::EPSILON), (DType::F32, 1.2e-7)] {
                let x = Tensor::from_slice(&x, sizes.added(), &Device::Cpu)?.to_dtype(dtype)?;
                let dy = Tensor::from_slice(&dy, sizes.taken(), &Device::Cpu)?.to_dtype(dtype)?;
                let close = |result: Tensor, expected: &[f64]| -> Result<()> {
                    let result = result.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
                    assert_eq!(result.len(), expected.len());
                    // Sums of at most all rows, of size 2, one rounding each.
                    let tolerance = 2.0 * (taken * taken) as f64 * unit;
                    for (result, expected) in result.iter().zip(expected) {
                        assert!((result - expected).abs() <= tolerance, "{sizes:?}");
                    }
                    Ok(())
                };
                assert_eq!(rows.output(), sizes.taken());
                close(take_rows(&x, &ids, sizes)?, &out)?;
                close(sizes.composed_take(&x, &ids)?, &out)?;
                close(add_at_rows(&dy, &ids, sizes)?, &dx)?;
                close(sizes.composed_add(&dy, &ids)?, &dx)?;
            }
        }
        Ok(())
    }
}
