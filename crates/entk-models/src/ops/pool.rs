use candle_core::{Shape, Tensor};
use rayon::prelude::*;

use super::{
    kernel::{Kernel, apply},
    real::Real,
};
use crate::error::Result;

/// Sizes of an average pooling whose window equals its stride.
#[derive(Clone, Copy)]
pub(crate) struct Windows {
    /// Channels times batch.
    pub(crate) planes: [usize; 2],
    /// Output height and width.
    pub(crate) output: [usize; 2],
    /// Window height and width.
    pub(crate) window: [usize; 2],
}

impl Windows {
    fn input(&self) -> [usize; 2] {
        [self.output[0] * self.window[0], self.output[1] * self.window[1]]
    }

    fn scale<T: Real>(&self) -> T {
        T::from_f64(1.0 / (self.window[0] * self.window[1]) as f64)
    }

    /// Calls `visit(input row, output row)` for every row of one plane.
    fn for_each_row(&self, mut visit: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>)) {
        let width = self.input()[1];
        for y in 0..self.input()[0] {
            let out = y / self.window[0] * self.output[1];
            visit(y * width..(y + 1) * width, out..out + self.output[1]);
        }
    }

    fn shape(&self, [height, width]: [usize; 2]) -> Shape {
        (self.planes[0], self.planes[1], height, width).into()
    }
}

struct Average(Windows);

impl Kernel for Average {
    const NAME: &'static str = "avg_pool2d";

    fn output(&self) -> Shape {
        self.0.shape(self.0.output)
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (w, scale) = (self.0, self.0.scale::<T>());
        (out.par_chunks_mut(w.output[0] * w.output[1]))
            .zip(inputs[0].par_chunks(w.input()[0] * w.input()[1]))
            .for_each(|(out, plane)| {
                w.for_each_row(|from, to| {
                    let windows = plane[from].chunks_exact(w.window[1]);
                    for (o, window) in out[to].iter_mut().zip(windows) {
                        window.iter().for_each(|v| *o += *v);
                    }
                });
                out.iter_mut().for_each(|o| *o *= scale);
            });
    }
}

struct Spread(Windows);

impl Kernel for Spread {
    const NAME: &'static str = "avg_pool2d_vjp";

    fn output(&self) -> Shape {
        self.0.shape(self.0.input())
    }

    fn run<T: Real>(&self, inputs: &[&[T]], out: &mut [T]) {
        let (w, scale) = (self.0, self.0.scale::<T>());
        (out.par_chunks_mut(w.input()[0] * w.input()[1]))
            .zip(inputs[0].par_chunks(w.output[0] * w.output[1]))
            .for_each(|(plane, dy)| {
                w.for_each_row(|to, from| {
                    let windows = plane[to].chunks_exact_mut(w.window[1]);
                    for (d, window) in dy[from].iter().zip(windows) {
                        window.fill(*d * scale);
                    }
                });
            });
    }
}

/// Mean over each window.
pub(crate) fn average(x: &Tensor, windows: Windows) -> Result<Tensor> {
    apply(Average(windows), &[x])
}

/// The transpose of [`average`].
pub(crate) fn average_vjp(dy: &Tensor, windows: Windows) -> Result<Tensor> {
    apply(Spread(windows), &[dy])
}
