//! Products summed in a fixed order, in the type of the kernel's entries.

use entk_models::Real;
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};
use rayon::prelude::*;

/// Columns that one product sums before the next adds to it. Fixed, so that every entry of K is
/// the same sequence of operations whatever the tile.
const CHUNK: usize = 512;

/// Chunks that are summed before they are added to what other runs gave.
const RUN: usize = 16;
/// Entries of the sums of products that are summed side by side, so that they stay in cache.
const SUMS: usize = 1 << 16;

/// The type in which products of `T` are summed over chunks of columns.
pub(crate) trait Sum<T: Real>: Real {
    /// `tile += a b^T`, tile row-major; `scratch` is memory that is used again.
    fn add_products(tile: &mut [Self], a: MatRef<'_, T>, b: MatRef<'_, T>, scratch: &mut Vec<T>);
}

/// Adds products of one shape to a tile, each summed by itself and then added in their order:
/// a few examples have too few entries to occupy all threads, but many columns.
pub(crate) fn add_in_order<T: Real, A: Sum<T>>(
    tile: &mut [A],
    products: &[[MatRef<'_, T>; 2]],
    sums: &mut Vec<A>,
) {
    let size = tile.len();
    for products in products.chunks((SUMS / size).max(1)) {
        sums.clear();
        sums.resize(size * products.len(), A::zero());
        let each = sums.par_chunks_mut(size).zip(products).with_max_len(1);
        each.for_each_init(Vec::new, |scratch, (sum, [a, b])| {
            A::add_products(sum, *a, *b, scratch);
        });
        for sum in sums.chunks_exact(size) {
            tile.iter_mut().zip(sum).for_each(|(tile, sum)| *tile += *sum);
        }
    }
}

/// `a b^T` as products of runs of columns.
pub(crate) fn runs<'m, T>(a: MatRef<'m, T>, b: MatRef<'m, T>) -> Vec<[MatRef<'m, T>; 2]> {
    let run = |start: usize| [a, b].map(|m| m.subcols(start, (RUN * CHUNK).min(m.ncols() - start)));
    (0..a.ncols()).step_by(RUN * CHUNK).map(run).collect()
}

/// `tile += a b^T`, not cut.
fn add_in_place<T: Real>(tile: &mut [T], a: MatRef<'_, T>, b: MatRef<'_, T>) {
    let c = MatMut::from_row_major_slice_mut(tile, a.nrows(), b.nrows());
    matmul(c, Accum::Add, a, b.transpose(), T::one(), Par::Seq);
}

/// Sums of whole runs of chunks are added to the tile: thousands of chunks, one by one, would
/// lose a digit in f32.
fn add_in_runs<T: Real>(tile: &mut [T], a: MatRef<'_, T>, b: MatRef<'_, T>, sum: &mut Vec<T>) {
    let run = |sum: &mut [T], from: usize| {
        let to = a.ncols().min(from + RUN * CHUNK);
        for start in (from..to).step_by(CHUNK) {
            let width = CHUNK.min(to - start);
            add_in_place(sum, a.subcols(start, width), b.subcols(start, width));
        }
    };
    if a.ncols() <= RUN * CHUNK {
        return run(tile, 0);
    }
    for start in (0..a.ncols()).step_by(RUN * CHUNK) {
        sum.clear();
        sum.resize(tile.len(), T::zero());
        run(sum, start);
        tile.iter_mut().zip(&*sum).for_each(|(tile, sum)| *tile += *sum);
    }
}

impl Sum<f32> for f32 {
    fn add_products(tile: &mut [f32], a: MatRef<'_, f32>, b: MatRef<'_, f32>, sum: &mut Vec<f32>) {
        add_in_runs(tile, a, b, sum);
    }
}

impl Sum<f64> for f64 {
    fn add_products(tile: &mut [f64], a: MatRef<'_, f64>, b: MatRef<'_, f64>, sum: &mut Vec<f64>) {
        add_in_runs(tile, a, b, sum);
    }
}

/// f32 products of one chunk, added up in f64.
impl Sum<f32> for f64 {
    fn add_products(
        tile: &mut [f64],
        a: MatRef<'_, f32>,
        b: MatRef<'_, f32>,
        product: &mut Vec<f32>,
    ) {
        for start in (0..a.ncols()).step_by(CHUNK) {
            let width = CHUNK.min(a.ncols() - start);
            product.clear();
            product.resize(tile.len(), 0.0);
            add_in_place(product, a.subcols(start, width), b.subcols(start, width));
            for (sum, term) in tile.iter_mut().zip(&*product) {
                *sum += f64::from(*term);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2^24, above which f32 has every second integer only.
    const WHOLE: f32 = 16_777_216.0;

    fn add<A: Sum<f32>>(tile: &mut [A], a: &[f32], b: &[f32]) {
        let [a, b] = [a, b].map(|x| MatRef::from_row_major_slice(x, 1, x.len()));
        A::add_products(tile, a, b, &mut Vec::new());
    }

    /// The first run of chunks has a sum of 2^24, the second has 16 chunks with a sum of 1 each.
    #[test]
    fn short_sums_are_added_before_they_meet_a_long_one() {
        let (ones, mut terms) = (vec![1.0; 2 * RUN * CHUNK], vec![0.0; 2 * RUN * CHUNK]);
        terms[0] = WHOLE;
        (RUN..2 * RUN).for_each(|chunk| terms[chunk * CHUNK] = 1.0);
        let (mut single, mut double) = ([0_f32], [0_f64]);
        add(&mut single, &ones, &terms);
        add(&mut double, &ones, &terms);
        assert_eq!(single, [WHOLE + 16.0]);
        assert_eq!(double, [f64::from(WHOLE) + 16.0]);
        // Products that are read as runs are the same sums.
        let [a, b] = [&ones, &terms].map(|x| MatRef::from_row_major_slice(x, 1, x.len()));
        let products = runs(a, b);
        assert_eq!(products.iter().map(|[a, _]| a.ncols()).collect::<Vec<_>>(), [8192, 8192]);
        let mut tile = [0_f32];
        add_in_order(&mut tile, &products, &mut Vec::new());
        assert_eq!(tile, single);
    }

    /// Sums of whole numbers far below 2^24 are exact, in whatever order.
    #[test]
    fn products_of_any_length_are_added_to_what_is_there() {
        for columns in [0, 1, 511, 512, 513, 8191, 8192, 8193, 20_000] {
            let a: Vec<f32> = (0..columns).map(|i| (i % 5) as f32).collect();
            let b: Vec<f32> = (0..columns).map(|i| (i % 3) as f32).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            let (mut single, mut double) = ([7_f32], [7_f64]);
            add(&mut single, &a, &b);
            add(&mut double, &a, &b);
            assert_eq!((single, double), ([7.0 + expected], [7.0 + f64::from(expected)]));
            let [a, b] = [&a, &b].map(|x| MatRef::from_row_major_slice(x, 1, x.len()));
            let mut tile = [7_f32];
            add_in_order(&mut tile, &runs(a, b), &mut Vec::new());
            assert_eq!(tile, [7.0 + expected], "{columns}");
        }
    }
}
