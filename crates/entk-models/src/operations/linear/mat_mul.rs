//! Products of two values, matrix by matrix.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::{
        batched::{batched_matmul, broadcast_axes},
        entrywise::{add, unbroadcast::unbroadcast},
    },
    operation::{MixedCotangents, NormMode, Operation, add_tangents, pairs},
    operations::{
        axes::reshaped_examples,
        examples::{examples_of, for_all, one_of_equal},
    },
};

/// `a b`, matrix by matrix: a (.., M, K), b (.., K, L), or (.., L, K) if it is stored transposed.
/// Leading axes are equal, or 1 or absent on one side, which then meets all of the other.
///
/// Either side may be a parameter; one that is exactly zero blocks the gradients of the other. For
/// a weight beside tokens, [`Affine`](crate::Affine) is the one whose gradients stay factors.
///
/// Cost: the products on faer, in tasks of fixed size, forward once and backward twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MatMul {
    transposed: bool,
}

impl MatMul {
    /// `a b`.
    pub fn new() -> Self {
        Self::default()
    }

    /// `a b^T`.
    pub fn transposed() -> Self {
        Self { transposed: true }
    }

    /// Shapes of one example's sides and result for the loops, and the result's own shape: equally
    /// many axes, or two where a single right side meets all rows of the left one.
    fn shapes(&self, a: &[usize], b: &[usize]) -> Result<Shapes> {
        let misfit = || ModelError::shape(format!("{self:?}"), format!("partners of {a:?}"), b);
        let ([axes_a @ .., m, k], [axes_b @ .., rows, columns]) = (a, b) else {
            return Err(misfit());
        };
        let (inner, l) = if self.transposed { (columns, rows) } else { (rows, columns) };
        let most = axes_a.len().max(axes_b.len());
        let padded = |axes: &[usize]| [&vec![1; most - axes.len()][..], axes].concat();
        let (axes_a, axes_b) = (padded(axes_a), padded(axes_b));
        let axes = broadcast_axes(&axes_a, &axes_b).ok_or_else(misfit)?;
        if k != inner || [m, k, l].contains(&&0) {
            return Err(misfit());
        }
        let result = [&axes[..], &[*m, *l]].concat();
        if axes_b.iter().all(|axis| *axis == 1) {
            let all = axes.iter().product::<usize>() * m;
            let inner = [vec![all, *k], vec![*rows, *columns], vec![all, *l]];
            return Ok(Shapes { inner, result });
        }
        let inner = [
            [&axes_a[..], &[*m, *k]].concat(),
            [&axes_b[..], &[*rows, *columns]].concat(),
            result.clone(),
        ];
        Ok(Shapes { inner, result })
    }
}

struct Shapes {
    /// Of a, b and the result, as the loops take them.
    inner: [Vec<usize>; 3],
    result: Vec<usize>,
}

/// What derivatives of a [`MatMul`] need.
#[derive(Debug)]
pub struct MatMulCache {
    transposed: bool,
    examples: usize,
    /// Shapes of one example's sides and result, as they come and as the loops take them.
    outer: [Vec<usize>; 3],
    inner: [Vec<usize>; 3],
    a: Tensor,
    b: Tensor,
}

impl MatMulCache {
    /// Number `which` of a, b and the result, or a tangent of its shape, as the loops take it.
    fn inside(&self, which: usize, x: &Tensor) -> Result<Tensor> {
        reshaped_examples(x, &self.inner[which])
    }

    fn product(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let product = batched_matmul(a, b, [false, self.transposed])?;
        for_all(&reshaped_examples(&product, &self.outer[2])?, self.examples)
    }

    /// The cotangent of a, `dy b^T`.
    fn of_left(&self, dy: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.summed(0, &batched_matmul(dy, b, [false, !self.transposed])?)
    }

    /// The cotangent of b, `a^T dy`, or its transpose.
    fn of_right(&self, dy: &Tensor, a: &Tensor) -> Result<Tensor> {
        let (left, right) = if self.transposed { (dy, a) } else { (a, dy) };
        self.summed(1, &batched_matmul(left, right, [true, false])?)
    }

    /// The sum over the axes along which a side meets all of the other.
    fn summed(&self, which: usize, cotangent: &Tensor) -> Result<Tensor> {
        let own = [&[1], &self.inner[which][..]].concat();
        reshaped_examples(&unbroadcast(cotangent, &own, 1.0)?, &self.outer[which])
    }
}

impl Operation for MatMul {
    type Cache = MatMulCache;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [a, b] = inputs else { return Err(ModelError::arity(self, inputs.len())) };
        Ok(self.shapes(a, b)?.result)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, MatMulCache)> {
        let [a, b] = [0, 1].map(|side| inputs[side].dims()[1..].to_vec());
        let Shapes { inner, result } = self.shapes(&a, &b)?;
        let cache = MatMulCache {
            transposed: self.transposed,
            examples: examples_of(inputs),
            a: reshaped_examples(&one_of_equal(inputs[0])?, &inner[0])?,
            b: reshaped_examples(&one_of_equal(inputs[1])?, &inner[1])?,
            outer: [a, b, result],
            inner,
        };
        Ok((cache.product(&cache.a, &cache.b)?, cache))
    }

    fn jvp(&self, cache: &MatMulCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let by_a = tangents[0].map(|da| cache.product(&cache.inside(0, da)?, &cache.b));
        let by_b = tangents[1].map(|db| cache.product(&cache.a, &cache.inside(1, db)?));
        let sum = add_tangents(by_a.transpose()?, by_b.transpose()?)?;
        sum.ok_or(ModelError::Cache { what: "tangent" })
    }

    fn vjp(
        &self,
        cache: &MatMulCache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dy = cache.inside(2, dy)?;
        let left = wanted[0].then(|| cache.of_left(&dy, &cache.b)).transpose()?;
        let right = wanted[1].then(|| cache.of_right(&dy, &cache.a)).transpose()?;
        Ok(vec![left, right])
    }

    /// `dy b^T` moves by `dy' b^T + dy b'^T`, and so for the other side.
    fn mixed_vjp(
        &self,
        cache: &MatMulCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let fixed = self.vjp(cache, dy, wanted)?;
        let mut moved = self.vjp(cache, ddy, wanted)?;
        let dy = cache.inside(2, dy)?;
        if let (Some(moved), Some(db)) = (&mut moved[0], tangents[1]) {
            *moved = add(moved, &cache.of_left(&dy, &cache.inside(1, db)?)?)?;
        }
        if let (Some(moved), Some(da)) = (&mut moved[1], tangents[0]) {
            *moved = add(moved, &cache.of_right(&dy, &cache.inside(0, da)?)?)?;
        }
        Ok(pairs(fixed, moved))
    }

    fn operations(&self, inputs: &[&[usize]]) -> f64 {
        let [a, b] = inputs else { return 0.0 };
        let entries = self.shapes(a, b).map_or(0, |shapes| shapes.result.iter().product());
        2.0 * (entries * a.last().copied().unwrap_or(0)) as f64
    }

    fn takes_shared(&self, _: usize) -> bool {
        true
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        zero.iter().rev().copied().collect()
    }
}
