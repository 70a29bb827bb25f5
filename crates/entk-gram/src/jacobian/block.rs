//! The gradients of one layer for some examples, in f64, and their products with columns of
//! parameters: in come factors of micro-batches, out go sums over parameters or over examples. The
//! operator of the Jacobian calls it.

use candle_core::{DType, Device, Tensor};
use entk_models::Factor;
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};

use crate::error::Result;

/// The gradients of one layer. Rows are those of the kernel: of an example as many as it has
/// outputs there, side by side.
#[derive(Debug)]
pub(crate) enum LayerBlock {
    /// A dense layer, contracted without its rows being formed: inputs of every example, cotangents
    /// of every row.
    Dense { inputs: Vec<f64>, cotangents: Vec<f64>, sizes: [usize; 2], bias: bool },
    /// Look-ups: ids of every example, cotangents of every row.
    Embedding { ids: Vec<u32>, cotangents: Vec<f64>, tokens: usize, width: usize },
    /// The rows of the Jacobian.
    Rows { rows: Vec<f64>, width: usize },
}

impl LayerBlock {
    /// The factors of one layer for consecutive outputs, one each.
    pub(crate) fn of_outputs(factors: &[Factor]) -> Result<Self> {
        let one_input = Factor::have_one_input(factors);
        Ok(match factors.first() {
            Some(Factor::Dense { inputs, bias, .. }) if one_input && inputs.rank() == 2 => {
                let cotangents = stacked(factors)?;
                let sizes = [inputs.dim(1)?, cotangents.dim(2)?];
                let (inputs, cotangents) = (wide(inputs)?, wide(&cotangents)?);
                Self::Dense { inputs, cotangents, sizes, bias: bias.is_some() }
            }
            Some(Factor::Embedding { ids, .. }) if one_input => {
                let cotangents = stacked(factors)?;
                let (_, _, tokens, width) = cotangents.dims4()?;
                let ids = ids.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
                Self::Embedding { ids, cotangents: wide(&cotangents)?, tokens, width }
            }
            _ => {
                let rows = match factors {
                    [factor] => factor.rows()?,
                    factors => Factor::rows_of_outputs(factors)?,
                };
                let width = rows.dim(rows.rank() - 1)?;
                Self::Rows { rows: wide(&rows)?, width }
            }
        })
    }

    /// Appends the examples of another micro-batch of this layer.
    pub(crate) fn extend(&mut self, other: &Self) {
        match (self, other) {
            (
                Self::Dense { inputs, cotangents, .. },
                Self::Dense { inputs: i, cotangents: c, .. },
            ) => {
                inputs.extend_from_slice(i);
                cotangents.extend_from_slice(c);
            }
            (
                Self::Embedding { ids, cotangents, .. },
                Self::Embedding { ids: i, cotangents: c, .. },
            ) => {
                ids.extend_from_slice(i);
                cotangents.extend_from_slice(c);
            }
            (Self::Rows { rows, .. }, Self::Rows { rows: r, .. }) => rows.extend_from_slice(r),
            // The form of a layer is a function of the layer.
            _ => {}
        }
    }

    /// The squared norm of every row.
    pub(crate) fn squared_norms(&self) -> Vec<f64> {
        match self {
            Self::Rows { rows, width } => rows.chunks_exact(*width).map(|r| dot(r, r)).collect(),
            Self::Dense { inputs, cotangents, sizes: [from, to], bias } => {
                let per = cotangents.len() / to * from / inputs.len();
                let of_input = |a: &[f64]| dot(a, a) + f64::from(u8::from(*bias));
                let inputs = inputs.chunks_exact(*from).map(of_input);
                let examples = inputs.zip(cotangents.chunks_exact(per * to));
                let rows = examples.flat_map(|(a, d)| d.chunks_exact(*to).map(move |d| (a, d)));
                rows.map(|(a, d)| a * dot(d, d)).collect()
            }
            Self::Embedding { ids, cotangents, tokens, width } => {
                let per = cotangents.len() / width / ids.len();
                let rows = cotangents.chunks_exact(tokens * width).enumerate();
                rows.map(|(row, d)| table_norm(&ids[row / per * tokens..][..*tokens], d, *width))
                    .collect()
            }
        }
    }

    /// `y += J_l v` for some columns: y has a row for each row of the kernel, v the weights and
    /// biases of each column.
    pub(crate) fn add_forward(&self, [v, v_bias]: &[Vec<f64>; 2], y: &mut [f64], count: usize) {
        match self {
            Self::Rows { rows, width } => {
                let sum = MatMut::from_row_major_slice_mut(y, rows.len() / width, count);
                let v = row_major(v, *width).transpose();
                matmul(sum, Accum::Add, row_major(rows, *width), v, 1.0, Par::Seq);
            }
            Self::Dense { inputs, cotangents, sizes: [from, to], bias } => {
                let examples = inputs.len() / from;
                // W a (+ b) of every column, side by side.
                let mut images = vec![0.0; examples * count * to];
                if *bias {
                    images.chunks_exact_mut(v_bias.len()).for_each(|i| i.copy_from_slice(v_bias));
                }
                let sum = MatMut::from_row_major_slice_mut(&mut images, examples, count * to);
                let v = row_major(v, *from).transpose();
                matmul(sum, Accum::Add, row_major(inputs, *from), v, 1.0, Par::Seq);
                let per = cotangents.len() / to / examples;
                let rows = y.chunks_exact_mut(count).zip(cotangents.chunks_exact(*to));
                for (row, (y, d)) in rows.enumerate() {
                    let images = &images[row / per * count * to..][..count * to];
                    y.iter_mut().zip(images.chunks_exact(*to)).for_each(|(y, i)| *y += dot(d, i));
                }
            }
            Self::Embedding { ids, cotangents, tokens, width } => {
                let per = cotangents.len() / width / ids.len();
                let table = v.len() / count;
                let rows = y.chunks_exact_mut(count).zip(cotangents.chunks_exact(tokens * width));
                for (row, (y, d)) in rows.enumerate() {
                    let ids = &ids[row / per * tokens..][..*tokens];
                    for (id, d) in ids.iter().zip(d.chunks_exact(*width)) {
                        let tables = v.chunks_exact(table).map(|v| &v[*id as usize * width..]);
                        y.iter_mut().zip(tables).for_each(|(y, v)| *y += dot(d, &v[..*width]));
                    }
                }
            }
        }
    }

    /// `g += J_l^T u` for some columns, with sizes as in [`add_forward`](Self::add_forward).
    pub(crate) fn add_adjoint(&self, u: &[f64], [g, g_bias]: &mut [Vec<f64>; 2], count: usize) {
        match self {
            Self::Rows { rows, width } => {
                let u = row_major(u, count).transpose();
                let sum = MatMut::from_row_major_slice_mut(g, count, *width);
                matmul(sum, Accum::Add, u, row_major(rows, *width), 1.0, Par::Seq);
            }
            Self::Dense { inputs, cotangents, sizes: [from, to], bias } => {
                let examples = inputs.len() / from;
                let per = cotangents.len() / to / examples;
                // The cotangents of every column, side by side, summed over the outputs.
                let mut weighted = vec![0.0; examples * count * to];
                let rows = u.chunks_exact(count).zip(cotangents.chunks_exact(*to));
                for (row, (u, d)) in rows.enumerate() {
                    let weighted = &mut weighted[row / per * count * to..][..count * to];
                    for (u, w) in u.iter().zip(weighted.chunks_exact_mut(*to)) {
                        w.iter_mut().zip(d).for_each(|(w, d)| *w += u * d);
                    }
                }
                if *bias {
                    for weighted in weighted.chunks_exact(count * to) {
                        g_bias.iter_mut().zip(weighted).for_each(|(g, w)| *g += w);
                    }
                }
                let weighted = row_major(&weighted, count * to).transpose();
                let sum = MatMut::from_row_major_slice_mut(g, count * to, *from);
                matmul(sum, Accum::Add, weighted, row_major(inputs, *from), 1.0, Par::Seq);
            }
            Self::Embedding { ids, cotangents, tokens, width } => {
                let per = cotangents.len() / width / ids.len();
                let table = g.len() / count;
                let rows = u.chunks_exact(count).zip(cotangents.chunks_exact(tokens * width));
                for (row, (u, d)) in rows.enumerate() {
                    let ids = &ids[row / per * tokens..][..*tokens];
                    for (id, d) in ids.iter().zip(d.chunks_exact(*width)) {
                        let at = *id as usize * width;
                        for (u, g) in u.iter().zip(g.chunks_exact_mut(table)) {
                            let g = &mut g[at..at + width];
                            g.iter_mut().zip(d).for_each(|(g, d)| *g += u * d);
                        }
                    }
                }
            }
        }
    }
}

/// Cotangents of consecutive outputs, (N, outputs, ..).
fn stacked(factors: &[Factor]) -> Result<Tensor> {
    let cotangents = factors.iter().filter_map(|factor| factor.tensors().get(1).copied().cloned());
    Ok(Tensor::stack(&cotangents.collect::<Vec<_>>(), 1)?)
}

/// The entries on the host, in f64.
fn wide(tensor: &Tensor) -> Result<Vec<f64>> {
    let host = tensor.to_device(&Device::Cpu)?.flatten_all()?;
    Ok(host.to_dtype(DType::F64)?.to_vec1()?)
}

/// The squared norm of a table to whose rows `ids` the cotangents are added: one token with all of
/// its id.
fn table_norm(ids: &[u32], cotangents: &[f64], width: usize) -> f64 {
    let of = |token: usize| &cotangents[token * width..][..width];
    let pairs = |a: usize| {
        let equal = (0..ids.len()).filter(move |b| ids[*b] == ids[a]);
        equal.map(move |b| dot(of(a), of(b))).sum::<f64>()
    };
    (0..ids.len()).map(pairs).sum()
}

fn row_major(values: &[f64], width: usize) -> MatRef<'_, f64> {
    MatRef::from_row_major_slice(values, values.len() / width, width)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two examples of three tokens, two rows each, of a table of 3 x 2: as its rows of the
    /// Jacobian.
    #[test]
    fn several_rows_of_an_example_look_up_its_own_ids() {
        let (tokens, width, rows, count) = (3, 2, 4, 5);
        let ids = vec![0, 2, 2, 1, 1, 0];
        let number = |at: usize| (at as f64 * 0.7).sin();
        let cotangents: Vec<f64> = (0..rows * tokens * width).map(number).collect();
        let mut jacobian = vec![0.0; rows * 6];
        for (at, d) in cotangents.iter().enumerate() {
            let (row, token, entry) = (at / 6, at / width % tokens, at % width);
            jacobian[row * 6 + ids[row / 2 * tokens + token] as usize * width + entry] += d;
        }
        let found = LayerBlock::Embedding { ids, cotangents, tokens, width };
        let expected = LayerBlock::Rows { rows: jacobian, width: 6 };
        let close = |a: &[f64], b: &[f64]| {
            assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-14));
        };
        close(&found.squared_norms(), &expected.squared_norms());
        let v = [(0..6 * count).map(number).collect(), Vec::new()];
        let u: Vec<f64> = (0..rows * count).map(number).collect();
        let products = |block: &LayerBlock| {
            let (mut y, mut g) = (vec![0.0; rows * count], [vec![0.0; 6 * count], Vec::new()]);
            block.add_forward(&v, &mut y, count);
            block.add_adjoint(&u, &mut g, count);
            [y, g[0].clone()].concat()
        };
        close(&products(&found), &products(&expected));
    }
}
