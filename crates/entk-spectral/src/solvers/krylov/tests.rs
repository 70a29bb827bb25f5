//! The invariants of a Krylov basis, multiplied out.

use super::*;
use crate::{
    kernel::gram::Gram,
    ranks::{communicator::OneRank, operator::Whole},
};

const N: usize = 60;
/// Round-off of sums of 60 products, and of as many columns, relative to ||K||.
const ROUND_OFF: f64 = 1e-13;

/// A kernel of length 7 with five noise levels.
fn gram() -> Gram {
    let entry = |i: usize, j: usize| {
        let near = (-(i.abs_diff(j) as f64 / 7.0).powi(2)).exp();
        near + if i == j { (i % 5) as f64 } else { 0.0 }
    };
    let entries = (0..N * N).map(|at| entry(at / N, at % N)).collect();
    Gram::from_lower_f64(N, entries).expect("a square")
}

fn times(krylov: &Krylov<'_, Whole<'_, Gram>>, x: &[f64]) -> Vec<f64> {
    let mut image = vec![0.0; N];
    krylov.operator.apply_own(x, &mut image).expect("a product");
    image
}

/// ||K V - V T - Q C|| over the columns that are not locked, and how far V and Q together are
/// from orthonormal.
fn errors(krylov: &Krylov<'_, Whole<'_, Gram>>) -> [f64; 2] {
    let (from, dim) = (krylov.locked.len(), krylov.dim);
    let column = |j: usize| &krylov.vectors[N * j..N * (j + 1)];
    let mut equation: f64 = 0.0;
    for j in from..dim {
        let mut rest = times(krylov, column(j));
        rest.iter_mut().for_each(|x| *x = krylov.scale().down(*x));
        let mut take = |scale: f64, v: &[f64]| {
            rest.iter_mut().zip(v).for_each(|(x, v)| *x -= scale * v);
        };
        (from..dim).for_each(|i| take(krylov.projected[(i, j)], column(i)));
        if j >= krylov.last_from {
            let next = krylov.next.chunks_exact(N).enumerate();
            next.for_each(|(i, q)| take(krylov.coupling[(i, j - krylov.last_from)], q));
        }
        equation = equation.max(norm(&rest));
    }
    let all: Vec<&[f64]> = (0..dim).map(column).chain(krylov.next.chunks_exact(N)).collect();
    let mut orthonormal: f64 = 0.0;
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate() {
            let product: f64 = a.iter().zip(*b).map(|(a, b)| a * b).sum();
            orthonormal = orthonormal.max((product - f64::from(u8::from(i == j))).abs());
        }
    }
    [equation, orthonormal]
}

fn assert_holds(krylov: &Krylov<'_, Whole<'_, Gram>>, at: &str) {
    let [equation, orthonormal] = errors(krylov);
    assert!(equation <= ROUND_OFF * krylov.norm.max(1.0), "{at}: {equation:e}");
    assert!(orthonormal <= ROUND_OFF, "{at}: {orthonormal:e}");
}

#[test]
fn the_basis_is_coupled_to_the_next_block_alone() {
    let (gram, ranks) = (gram(), Ranks::new(&OneRank));
    let whole = Whole::new(&gram, &ranks).expect("one rank");
    let mut krylov = Krylov::new(&whole, 3, 24, 1).expect("a basis");
    assert_eq!((krylov.waiting(), krylov.drawn(), krylov.products()), (3, 0, 0));
    for step in 1..=4 {
        krylov.step().expect("a step");
        assert_eq!((krylov.dim(), krylov.products(), krylov.drawn()), (3 * step, 3 * step, 3));
        assert_holds(&krylov, "after a step");
    }
    // Random columns are not coupled to anything.
    krylov.widen().expect("more columns");
    assert_eq!((krylov.waiting(), krylov.coupling.nrows(), krylov.coupling.ncols()), (6, 6, 3));
    assert_holds(&krylov, "widened");
    assert_estimates(&krylov);
    krylov.step().expect("a step");
    assert_eq!((krylov.dim(), krylov.drawn(), krylov.waiting()), (18, 6, 6));
    assert_holds(&krylov, "after a wider step");
    let ritz = krylov.ritz().expect("Ritz pairs");
    krylov.restart(&ritz, 10, 0);
    assert_eq!(krylov.dim(), 10);
    assert_holds(&krylov, "restarted");
    krylov.step().expect("a step");
    assert_eq!((krylov.dim(), krylov.products()), (16, 24));
    assert_holds(&krylov, "after a step from a restart");
    assert_estimates(&krylov);
    let ritz = krylov.ritz().expect("Ritz pairs");
    krylov.restart(&ritz, 9, 2);
    assert_eq!((krylov.dim(), krylov.locked()), (9, &ritz.values()[..2]));
    assert_estimates(&krylov);
}

/// Estimates of residuals are their norms, of Ritz pairs that are multiplied out.
fn assert_estimates(krylov: &Krylov<'_, Whole<'_, Gram>>) {
    let ritz = krylov.ritz().expect("Ritz pairs");
    let (from, y) = (krylov.locked.len(), ritz.leading(5));
    for (j, estimate) in krylov.estimates(&ritz, 5).into_iter().enumerate() {
        let mut v = vec![0.0; N];
        for i in from..krylov.dim {
            let column = &krylov.vectors[N * i..N * (i + 1)];
            v.iter_mut().zip(column).for_each(|(v, x)| *v += y[(i - from, j)] * x);
        }
        let image = times(krylov, &v);
        let residual: Vec<f64> = (image.iter().zip(&v))
            .map(|(k, v)| krylov.scale().down(*k) - ritz.values()[j] * v)
            .collect();
        let error = (norm(&residual) - estimate).abs();
        assert!(error <= ROUND_OFF * krylov.norm, "{j}: {error:e}");
    }
}
