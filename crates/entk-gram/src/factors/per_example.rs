//! The slow, obvious oracle: every gradient by a backward pass of its own, then inner products in
//! f64. An engine like the others, and the reference of error estimates.

use candle_core::{DType, Tensor};
use entk_models::{Params, Real};

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
pub(crate) fn gradients(ntk: &Ntk<'_>, params: &Params, inputs: &Tensor) -> Result<Vec<Vec<f64>>> {
    let (outputs, mut rows) = (ntk.model.outputs(), Vec::new());
    for example in 0..inputs.dim(0)? {
        ntk.check_stop()?;
        let sweep = ntk.model.sweep(params, &inputs.narrow(0, example, 1)?)?;
        let one_hot = |c| (0..outputs).map(|o| f32::from(u8::from(o == c))).collect::<Vec<_>>();
        let gradient = |u: Vec<f32>| {
            let u = Tensor::from_vec(u, (1, outputs), params.device())?;
            flat(&sweep.vjp(&u.to_dtype(params.dtype())?)?, ntk)
        };
        let each = (0..outputs).map(|c| gradient(one_hot(c)));
        match ntk.config.outputs {
            Outputs::SumOfLogits => rows.push(gradient(vec![1.0; outputs])?),
            Outputs::One(output) => rows.push(gradient(one_hot(output))?),
            Outputs::Trace => rows.push(each.collect::<Result<Vec<_>>>()?.concat()),
            Outputs::Full => rows.extend(each.collect::<Result<Vec<_>>>()?),
        }
    }
    Ok(rows)
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
