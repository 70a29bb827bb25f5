//! Average pooling over windows that tile the image; LeNet5 has two.

use candle_core::Tensor;
use entk_device::Windows;

use crate::{
    error::{ModelError, Result},
    loops::pool::{average, average_vjp},
    operation::{MixedCotangents, NormMode, Operation, linear_mixed_vjp, only_tangent},
};

/// Mean over windows that tile the image: the stride equals the window. Cost: one pass over memory.
#[derive(Debug, Clone, Copy)]
pub struct AvgPool2d {
    window: usize,
}

impl AvgPool2d {
    /// Square windows of this edge.
    pub fn new(window: usize) -> Self {
        Self { window }
    }

    fn windows(&self, input: &[usize], batch: usize) -> Result<Windows> {
        let w = self.window;
        match *input {
            [channels, height, width]
                if w > 0 && height >= w && width >= w && height % w == 0 && width % w == 0 =>
            {
                let output = [height / w, width / w];
                Ok(Windows { planes: [batch, channels], output, window: [w; 2] })
            }
            _ => {
                let expected = format!("(N, C, H, W) with H and W multiples of {w}");
                Err(ModelError::shape("average pooling", expected, input))
            }
        }
    }

    fn average(&self, x: &Tensor) -> Result<Tensor> {
        average(x, self.windows(&x.dims()[1..], x.dim(0)?)?)
    }
}

impl Operation for AvgPool2d {
    type Cache = ();

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let windows = self.windows(&inputs.concat(), 1)?;
        Ok(vec![windows.planes[1], windows.output[0], windows.output[1]])
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, ())> {
        Ok((self.average(inputs[0])?, ()))
    }

    fn jvp(&self, (): &(), tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        self.average(only_tangent(tangents)?)
    }

    fn vjp(&self, (): &(), dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let (batch, channels, height, width) = dy.dims4()?;
        let windows = Windows {
            planes: [batch, channels],
            output: [height, width],
            window: [self.window; 2],
        };
        Ok(vec![Some(average_vjp(dy, windows)?)])
    }

    fn mixed_vjp(
        &self,
        (): &(),
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        linear_mixed_vjp(self, &(), dy, ddy, wanted)
    }
}
