//! The slow, obvious oracle: every gradient by a backward pass of its own, then inner products in
//! f64. An engine like the others, and the reference of error estimates.

use candle_core::{DType, Tensor};
use entk_models::{Params, Real, Sweep};

use crate::{
    config::Outputs,
    error::Result,
    ntk::Ntk,
    progress::Watch,
    tiles::{TileEngine, TileSink, Tiles, grid::TileIndex},
};

/// Computes tiles for [`Strategy::PerExample`](crate::Strategy::PerExample).
pub(crate) struct PerExampleEngine<'a> {
    pub(crate) ntk: &'a Ntk<'a>,
    pub(crate) tiles: Tiles<'a>,
}

impl<A: Real> TileEngine<A> for PerExampleEngine<'_> {
    fn run(&self, watch: &Watch<'_>, sink: &mut dyn TileSink<A>) -> Result<()> {
        let entries = |tile: &TileIndex| self.tiles.range(*tile).entries();
        watch.expect(self.tiles.wanted.iter().map(entries).sum());
        let of = |inputs: &Tensor| gradients(self.ntk, &self.ntk.params, inputs);
        let rows = of(&self.ntk.inputs)?;
        let cols = self.tiles.others.map(|(others, _)| of(others)).transpose()?;
        let cols = cols.as_ref().unwrap_or(&rows);
        self.tiles.wanted.iter().try_for_each(|&tile| {
            watch.check()?;
            let range = self.tiles.range(tile);
            let (rows, cols) = (&rows[range.rows], &cols[range.cols]);
            sink.tile(tile, &mut |mut target| {
                for (i, a) in rows.iter().enumerate() {
                    for (j, b) in cols.iter().enumerate() {
                        target[(i, j)] = A::from_f64(inner_product(a, b));
                    }
                }
                Ok(())
            })?;
            watch.advance(rows.len() * cols.len());
            Ok(())
        })
    }
}

/// The gradient behind every row of the kernel as one flat f64 vector, by backward passes of its
/// own: N sweeps of one example, N P numbers (for the trace and for full blocks C times as many).
fn gradients(ntk: &Ntk<'_>, params: &Params, inputs: &Tensor) -> Result<Vec<Vec<f64>>> {
    let mut rows = Vec::new();
    for example in 0..inputs.dim(0)? {
        ntk.check_stop()?;
        let sweep = ntk.model.sweep(params, &inputs.narrow(0, example, 1)?)?;
        for cotangents in row_cotangents(ntk) {
            let parts = cotangents.iter().map(|u| gradient(ntk, &sweep, u));
            rows.push(parts.collect::<Result<Vec<_>>>()?.concat());
        }
    }
    Ok(rows)
}

/// For every row of the kernel that an example has, the cotangents of the outputs whose gradients
/// it is made of.
pub(crate) fn row_cotangents(ntk: &Ntk<'_>) -> Vec<Vec<Vec<f64>>> {
    let outputs = ntk.model.outputs();
    let one_hot = |c| (0..outputs).map(|o| f64::from(u8::from(o == c))).collect::<Vec<_>>();
    match ntk.config.outputs {
        Outputs::SumOfLogits => vec![vec![vec![1.0; outputs]]],
        Outputs::One(output) => vec![vec![one_hot(output)]],
        Outputs::Trace => vec![(0..outputs).map(one_hot).collect()],
        Outputs::Full => (0..outputs).map(|c| vec![one_hot(c)]).collect(),
    }
}

/// The gradient of `u . f` of one example.
pub(crate) fn gradient(ntk: &Ntk<'_>, sweep: &Sweep<'_>, u: &[f64]) -> Result<Vec<f64>> {
    let outputs = sweep.outputs();
    let u = Tensor::from_slice(u, (1, u.len()), outputs.device())?.to_dtype(outputs.dtype())?;
    flat(&sweep.vjp(&u)?, ntk)
}

/// The chosen tensors of a gradient, one after the other.
fn flat(gradient: &Params, ntk: &Ntk<'_>) -> Result<Vec<f64>> {
    let mut flat = Vec::new();
    for (_, tensor) in gradient.iter().filter(|(name, _)| ntk.config.includes(name)) {
        flat.extend(tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?);
    }
    Ok(flat)
}

pub(crate) fn inner_product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
