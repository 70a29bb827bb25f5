use entk_models::Real;
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};

/// Columns that one product sums before the next adds to it. Fixed, so that every entry of K is
/// the same sequence of operations whatever the tile.
const CHUNK: usize = 512;

/// The type in which products of `T` are summed over chunks of columns.
pub(crate) trait Sum<T: Real>: Real {
    /// `tile += a b^T` for one chunk; `product` is scratch memory.
    fn add_product(tile: &mut [Self], a: MatRef<'_, T>, b: MatRef<'_, T>, product: &mut Vec<T>);

    /// `tile += a b^T`, tile row-major.
    fn add_products(tile: &mut [Self], a: MatRef<'_, T>, b: MatRef<'_, T>, product: &mut Vec<T>) {
        for start in (0..a.ncols()).step_by(CHUNK) {
            let width = CHUNK.min(a.ncols() - start);
            Self::add_product(tile, a.subcols(start, width), b.subcols(start, width), product);
        }
    }
}

fn add_in_place<T: Real>(tile: &mut [T], a: MatRef<'_, T>, b: MatRef<'_, T>) {
    let c = MatMut::from_row_major_slice_mut(tile, a.nrows(), b.nrows());
    matmul(c, Accum::Add, a, b.transpose(), T::one(), Par::Seq);
}

impl Sum<f32> for f32 {
    fn add_product(tile: &mut [f32], a: MatRef<'_, f32>, b: MatRef<'_, f32>, _: &mut Vec<f32>) {
        add_in_place(tile, a, b);
    }
}

impl Sum<f64> for f64 {
    fn add_product(tile: &mut [f64], a: MatRef<'_, f64>, b: MatRef<'_, f64>, _: &mut Vec<f64>) {
        add_in_place(tile, a, b);
    }
}

/// f32 products of one chunk, added up in f64.
impl Sum<f32> for f64 {
    fn add_product(
        tile: &mut [f64],
        a: MatRef<'_, f32>,
        b: MatRef<'_, f32>,
        product: &mut Vec<f32>,
    ) {
        product.clear();
        product.resize(tile.len(), 0.0);
        add_in_place(product, a, b);
        for (sum, term) in tile.iter_mut().zip(product) {
            *sum += f64::from(*term);
        }
    }
}
