//! Means over windows of images and their transpose. Called by the pooling layers.

use std::ops::Range;

use candle_core::{Shape, Tensor};
use entk_device::{Launch, Windows};
use rayon::prelude::*;

use crate::{
    error::Result,
    loops::{
        host_op::{HostOp, vectorised},
        real::Real,
    },
};

fn scale<T: Real>(w: &Windows) -> T {
    T::from_f64(1.0 / (w.window[0] * w.window[1]) as f64)
}

/// Calls `visit(input row, output row)` for every row of one plane.
#[inline(always)]
fn for_each_row(w: &Windows, mut visit: impl FnMut(Range<usize>, Range<usize>)) {
    let [height, width] = w.input();
    for y in 0..height {
        let out = y / w.window[0] * w.output[1];
        visit(y * width..(y + 1) * width, out..out + w.output[1]);
    }
}

fn shape(w: &Windows, [height, width]: [usize; 2]) -> Shape {
    (w.planes[0], w.planes[1], height, width).into()
}

/// Adds the windows of a row, of a width known to the compiler, which then uses vectors.
#[inline(always)]
fn add_windows<const W: usize, T: Real>(row: &[T], out: &mut [T]) {
    for (o, window) in out.iter_mut().zip(row.as_chunks::<W>().0) {
        window.iter().for_each(|v| *o += *v);
    }
}

/// Fills the windows of a row with the scaled entries of `dy`.
#[inline(always)]
fn fill_windows<const W: usize, T: Real>(dy: &[T], scale: T, row: &mut [T]) {
    for (window, d) in row.as_chunks_mut::<W>().0.iter_mut().zip(dy) {
        *window = [*d * scale; W];
    }
}

struct Average(Windows);

impl HostOp for Average {
    const NAME: &'static str = "avg_pool2d";

    fn output(&self) -> Shape {
        shape(&self.0, self.0.output)
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (w, scale) = (self.0, scale::<T>(&self.0));
        (out.par_chunks_mut(w.output[0] * w.output[1]))
            .zip(inputs[0].par_chunks(w.input()[0] * w.input()[1]))
            .for_each(|(out, plane)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for_each_row(&w, |from, to| match w.window[1] {
                            2 => add_windows::<2, T>(&plane[from], &mut out[to]),
                            width => {
                                for (o, window) in out[to].iter_mut().zip(plane[from].chunks(width))
                                {
                                    window.iter().for_each(|v| *o += *v);
                                }
                            }
                        });
                        out.iter_mut().for_each(|o| *o *= scale);
                    },
                );
            });
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::average(self.0))
    }
}

struct Spread(Windows);

impl HostOp for Spread {
    const NAME: &'static str = "avg_pool2d_vjp";

    fn output(&self) -> Shape {
        shape(&self.0, self.0.input())
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (w, scale) = (self.0, scale::<T>(&self.0));
        (out.par_chunks_mut(w.input()[0] * w.input()[1]))
            .zip(inputs[0].par_chunks(w.output[0] * w.output[1]))
            .for_each(|(plane, dy)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for_each_row(&w, |to, from| match w.window[1] {
                            2 => fill_windows::<2, T>(&dy[from], scale, &mut plane[to]),
                            width => {
                                for (d, window) in dy[from].iter().zip(plane[to].chunks_mut(width))
                                {
                                    window.fill(*d * scale);
                                }
                            }
                        });
                    },
                );
            });
    }

    fn launch(&self) -> Option<Launch> {
        Some(Launch::spread(self.0))
    }
}

/// Mean over each window.
pub(crate) fn average(x: &Tensor, windows: Windows) -> Result<Tensor> {
    Average(windows).apply(&[x])
}

/// The transpose of [`average`].
pub(crate) fn average_vjp(dy: &Tensor, windows: Windows) -> Result<Tensor> {
    Spread(windows).apply(&[dy])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loops::host_op::testing::{assert_device_agrees, numbers};

    #[test]
    fn kernels_of_the_device_agree() {
        for (output, window) in [([3, 2], [2, 3]), ([1, 1], [5, 4]), ([4, 4], [1, 1])] {
            let w = Windows { planes: [2, 3], output, window };
            // Sums of a window's entries and one product.
            let tolerance = 2.0 * (window[0] * window[1] + 2) as f64;
            let input = vec![numbers(6 * w.input()[0] * w.input()[1], 1)];
            assert_device_agrees(&Average(w), &input, tolerance);
            let output = vec![numbers(6 * output[0] * output[1], 2)];
            assert_device_agrees(&Spread(w), &output, tolerance);
        }
    }
}
