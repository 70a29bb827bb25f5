//! Average pooling as a layer; LeNet5 has two.

use candle_core::Tensor;
use entk_device::Windows;

use crate::{
    cache::Cache,
    error::{ModelError, Result},
    layer::{FactorSink, Layer, NormMode, bilinear_mixed_vjp},
    loops::pool::{average, average_vjp},
    mixed::{MixedPoint, MixedSink},
    params::Params,
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
}

impl Layer for AvgPool2d {
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let windows = self.windows(input, 1)?;
        Ok(vec![windows.planes[1], windows.output[0], windows.output[1]])
    }

    fn forward(&self, _: &Params, x: &Tensor, _: NormMode) -> Result<(Tensor, Cache)> {
        let windows = self.windows(&x.dims()[1..], x.dim(0)?)?;
        Ok((average(x, windows)?, Cache::default()))
    }

    fn jvp(
        &self,
        _: &Params,
        _: &Params,
        _: &Cache,
        dx: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        dx.map(|dx| average(dx, self.windows(&dx.dims()[1..], dx.dim(0)?)?)).transpose()
    }

    fn vjp(
        &self,
        _: &Params,
        _: &Cache,
        dy: &Tensor,
        needs_dx: bool,
        _: &mut FactorSink<'_>,
    ) -> Result<Option<Tensor>> {
        let (batch, channels, height, width) = dy.dims4()?;
        let windows = Windows {
            planes: [batch, channels],
            output: [height, width],
            window: [self.window; 2],
        };
        needs_dx.then(|| average_vjp(dy, windows)).transpose()
    }

    fn mixed_vjp(
        &self,
        at: &MixedPoint<'_>,
        dy: &Tensor,
        ddy: &Tensor,
        needs_dx: bool,
        sink: &mut MixedSink<'_>,
    ) -> Result<Option<(Tensor, Tensor)>> {
        bilinear_mixed_vjp(self, at, dy, ddy, needs_dx, sink)
    }
}
