//! The launches of all kernels: which sizes each reads, and how long its inputs and output are.

use crate::{
    activation::Activation,
    function::Function,
    geometry::{Geometry, Windows},
    launch::{Launch, sources::Source},
};

/// Rows of the maps of a normalisation.
const NORM_ROWS: usize = 7;

/// The function that gives each entry of the result from those at the same place of one to three
/// tensors a, b, c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrywise {
    /// f(a).
    Value,
    /// f'(a) b.
    Derivative,
    /// f''(a) b c.
    Curvature,
    /// f(a + b).
    Sum,
    /// f'(a + b) c.
    SumDerivative,
}

/// Sizes of a batch of images (N, C, pixels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSizes {
    /// Images N.
    pub batch: usize,
    /// Channels C.
    pub channels: usize,
    /// Pixels of a channel.
    pub pixels: usize,
}

impl ImageSizes {
    /// Channels of all images.
    pub fn planes(self) -> usize {
        self.batch * self.channels
    }

    /// Entries.
    pub fn len(self) -> usize {
        self.planes() * self.pixels
    }

    /// Whether there are no entries.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Where the derivative of the activation multiplies in [`Launch::norm_combine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskPlace {
    /// Nowhere.
    Nowhere,
    /// The tangent or cotangent that comes in.
    Input,
    /// The result.
    Output,
}

impl Launch {
    /// A function, the identity unless given, of the entries of one to three tensors of `count`
    /// entries each.
    pub fn entrywise(rule: Entrywise, function: Option<Function>, count: usize) -> Self {
        let (name, inputs) = match rule {
            Entrywise::Value => ("function_value", 1),
            Entrywise::Derivative => ("function_derivative", 2),
            Entrywise::Curvature => ("function_curvature", 3),
            Entrywise::Sum => ("sum", 2),
            Entrywise::SumDerivative => ("sum_derivative", 3),
        };
        let (code, parameters) = function.map_or((0, [0.0; 2]), Function::code);
        let sizes: Vec<usize> =
            std::iter::once(code).chain(parameters.into_iter().flat_map(in_sizes)).collect();
        Self::new(Source::Entrywise, name, &sizes, &[count; 3][..inputs], count)
    }

    /// Means over windows: (planes, H, W) to (planes, H', W').
    pub fn average(pool: Windows) -> Self {
        let ([oh, ow], [wh, ww]) = (pool.output, pool.window);
        let output = pool.planes[0] * pool.planes[1] * oh * ow;
        Self::new(Source::Pool, "average", &[oh, ow, wh, ww], &[output * wh * ww], output)
    }

    /// The transpose of [`average`](Self::average).
    pub fn spread(pool: Windows) -> Self {
        let ([oh, ow], [wh, ww]) = (pool.output, pool.window);
        let input = pool.planes[0] * pool.planes[1] * oh * ow;
        let sizes = [oh, ow, wh, ww, oh * wh, ow * ww];
        Self::new(Source::Pool, "spread", &sizes, &[input], input * wh * ww)
    }

    /// Sums over planes, (planes, lanes): lane l sums every lanes-th pixel from l on.
    pub fn plane_sum(planes: usize, pixels: usize, lanes: usize) -> Self {
        let sizes = [pixels, lanes];
        Self::new(Source::Pool, "plane_sum", &sizes, &[planes * pixels], planes * lanes)
    }

    /// Squared deviations from the planes' means, summed in lanes. Inputs: x and the planes' sums.
    pub fn norm_squares(planes: usize, pixels: usize, lanes: usize) -> Self {
        let inputs = [planes * pixels, planes];
        Self::new(Source::Norm, "norm_squares", &[pixels, lanes], &inputs, planes * lanes)
    }

    /// Mean and biased variance of every channel, (2, C). Inputs: the planes' sums and
    /// [squares](Self::norm_squares).
    pub fn norm_moments(x: ImageSizes) -> Self {
        let sizes = [x.channels, x.batch, x.pixels];
        Self::new(Source::Norm, "norm_moments", &sizes, &[x.planes(); 2], 2 * x.channels)
    }

    /// The maps of a normalisation, (7, C), rows mean, slope, bias and 1 / sqrt(variance + 1e-5),
    /// then the factors of a cotangent where statistics are frozen: slope, 0 and 0. Inputs: mean,
    /// variance, weight and bias, (C) each.
    pub fn norm_maps(channels: usize) -> Self {
        let (inputs, output) = ([channels; 4], NORM_ROWS * channels);
        Self::new(Source::Norm, "norm_maps", &[channels], &inputs, output)
    }

    /// act((x - mean) slope + bias). Inputs: x and the [maps](Self::norm_maps).
    pub fn normalize(x: ImageSizes, activation: Option<Activation>) -> Self {
        let sizes = [x.pixels, x.channels, Activation::code(activation)];
        Self::new(Source::Norm, "normalize", &sizes, &[x.len(), NORM_ROWS * x.channels], x.len())
    }

    /// Gradients of bias and scale of every image, (2, N, C, lanes). Inputs: dy, x and the maps.
    pub fn norm_gradients(x: ImageSizes, activation: Option<Activation>, lanes: usize) -> Self {
        let sizes = [x.pixels, x.channels, Activation::code(activation), lanes, x.planes()];
        let (inputs, output) = ([x.len(), x.len(), NORM_ROWS * x.channels], 2 * x.planes() * lanes);
        Self::new(Source::Norm, "norm_gradients", &sizes, &inputs, output)
    }

    /// The maps with other factors of u, x - mean and 1 in a tangent or cotangent; that of u is 0
    /// without u. Inputs: the maps, the means of u and u x_hat, (2, C), and where the layer moves
    /// the tangents of weight and bias, (C) each.
    pub fn norm_factors(channels: usize, with_u: bool, moves: bool) -> Self {
        let inputs = [NORM_ROWS * channels, 2 * channels, channels, channels];
        let inputs = if moves { &inputs[..] } else { &inputs[..2] };
        let sizes = [channels, usize::from(with_u), usize::from(moves)];
        Self::new(Source::Norm, "norm_factors", &sizes, inputs, NORM_ROWS * channels)
    }

    /// `first u + second (x - mean) + third`. Inputs: u, x, and the maps with these
    /// [factors](Self::norm_factors).
    pub fn norm_combine(x: ImageSizes, activation: Option<Activation>, place: MaskPlace) -> Self {
        let sizes = [x.pixels, x.channels, Activation::code(activation), place as usize];
        let inputs = [x.len(), x.len(), NORM_ROWS * x.channels];
        Self::new(Source::Norm, "norm_combine", &sizes, &inputs, x.len())
    }

    /// The patches of images as rows, (N, H' W', C k k).
    pub fn patches(g: &Geometry, batch: usize) -> Self {
        let (from, to) = (batch * g.input_len(), batch * g.output_pixels() * g.patch());
        Self::new(Source::Conv, "patches", &patch_sizes(g), &[from], to)
    }

    /// The transpose of [`patches`](Self::patches).
    pub fn patches_transposed(g: &Geometry, batch: usize) -> Self {
        let (from, to) = (batch * g.output_pixels() * g.patch(), batch * g.input_len());
        Self::new(Source::Conv, "patches_transposed", &patch_sizes(g), &[from], to)
    }

    /// The transposes of a batch of matrices.
    pub fn transpose(batch: usize, rows: usize, columns: usize) -> Self {
        let count = batch * rows * columns;
        Self::new(Source::Conv, "transpose", &[rows, columns], &[count], count)
    }

    /// x + bias, channel by channel.
    pub fn add_bias(x: ImageSizes) -> Self {
        let sizes = [x.pixels, x.channels];
        Self::new(Source::Conv, "add_bias", &sizes, &[x.len(), x.channels], x.len())
    }

    /// A dense layer's share added to a tile of a Gram, `tile + (a + bias) b`, of the products a of
    /// inputs, b of cotangents, and the tile, of `count` entries each.
    pub fn dense_tile(count: usize, bias: bool) -> Self {
        Self::new(Source::Gram, "dense_tile", &[usize::from(bias)], &[count; 3], count)
    }

    /// A convolution's share of a tile of a Gram between n and m examples, (n, m), of the products
    /// of all pairs of input pixels, (H W n, H W m), and of output pixels, (H' W' n, H' W' m),
    /// pixels outermost. Channels are summed in the products.
    pub fn pixel_tile(g: &Geometry, [n, m]: [usize; 2]) -> Self {
        let [_, sizes @ ..] = patch_sizes(g);
        let all = [&[n, m][..], &sizes].concat();
        let inputs = [g.input_pixels().pow(2) * n * m, g.output_pixels().pow(2) * n * m];
        Self::new(Source::Gram, "pixel_tile", &all, &inputs, n * m)
    }

    /// The f32 numbers nearest to `count` ones with this many explicit mantissa bits, 1 to 22.
    pub fn round(count: usize, mantissa_bits: u32) -> Self {
        let dropped = 23 - mantissa_bits.clamp(1, 22) as usize;
        Self::new(Source::Precision, "round_to_bits", &[dropped], &[count], count)
    }
}

/// The bits of a number in three sizes, of 22 bits each.
fn in_sizes(number: f64) -> [usize; 3] {
    [0, 22, 44].map(|shift| (number.to_bits() >> shift & ((1 << 22) - 1)) as usize)
}

/// Sizes in the order of the kernels: input channels, then pairs for both axes.
fn patch_sizes(g: &Geometry) -> [usize; 13] {
    let ([h, w], [oh, ow], [kh, kw]) = (g.input, g.output, g.kernel);
    let ([sh, sw], [top, left], [down, right]) = (g.stride, g.before, g.dilation);
    [g.channels, h, w, oh, ow, kh, kw, sh, sw, top, left, down, right]
}
