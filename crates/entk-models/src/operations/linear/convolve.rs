//! Convolution: images or signals, a weight and maybe a bias go in. The factor of an ungrouped one
//! is the images and the cotangents at its output, unexpanded.

use std::ops::Range;

use candle_core::Tensor;
use entk_device::Geometry;

use crate::{
    error::{ModelError, Result},
    factor::Factor,
    loops::{
        channel::pixel_sum,
        conv::{grouped::GroupedConv, patches::add_bias},
        entrywise::add,
        padding::Padding,
    },
    operation::{MixedCotangents, NormMode, Operation, add_tangents, pairs},
    operations::examples::one_of_equal,
};

/// Cross-correlation over one or two axes, and its transpose, with the numbers of PyTorch.
///
/// Inputs are images (C, H, W), a weight (C', C/G, k, k), and a bias (C') if it is given; or
/// signals (C, L) and a weight (C', C/G, k), of which the second number of every pair counts. Group
/// g of G reads the g-th part of the channels and gives the g-th part of the C' results; G = C is a
/// depthwise convolution.
///
/// The transpose has a weight (C, C'/G, k, k), and maps as the cotangents of the convolution with
/// this weight: `(H - 1) stride + dilation (k - 1) + 1` rows less the padding, or
/// `H stride` with [`Padding::Same`], and the output padding.
///
/// The weight of an ungrouped convolution has to follow from parameters alone, so that gradients
/// stay factors; that of a grouped one may be a value of any kind. Cost: `2 C'/G C k k H' W'`
/// operations, twice as many backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolve {
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zeros around the images; of a transpose the rows and columns that its result is short of.
    pub padding: Padding,
    /// Rows and columns from one tap of the kernel to the next.
    pub dilation: [usize; 2],
    /// Groups of channels G.
    pub groups: usize,
    /// For a transpose its output padding, rows below and columns to the right; fewer than the
    /// stride or the dilation.
    pub transposed: Option<[usize; 2]>,
}

impl Default for Convolve {
    fn default() -> Self {
        let (stride, dilation) = ([1; 2], [1; 2]);
        Self { stride, padding: Padding::Same, dilation, groups: 1, transposed: None }
    }
}

/// What derivatives of a [`Convolve`] need.
#[derive(Debug)]
pub struct ConvolveCache {
    map: ImageMap,
    /// (N, C, H, W).
    x: Tensor,
    /// (1 or N, C', C/G, kh, kw).
    weight: Tensor,
}

/// The bilinear map of images and weights.
#[derive(Debug, Clone, Copy)]
struct ImageMap {
    /// The convolution, or that whose transpose it is.
    conv: GroupedConv,
    transposed: bool,
    /// Whether images are signals, with an axis of one row that nobody outside sees.
    signals: bool,
}

impl Convolve {
    /// For signals as images of one row.
    fn of_signals(self) -> Self {
        let padding = match self.padding {
            Padding::Explicit { left, right, .. } => {
                Padding::Explicit { top: 0, bottom: 0, left, right }
            }
            other => other,
        };
        let transposed = self.transposed.map(|[_, right]| [0, right]);
        let ([_, stride], [_, dilation]) = (self.stride, self.dilation);
        let (stride, dilation) = ([1, stride], [1, dilation]);
        Self { stride, padding, dilation, transposed, ..self }
    }

    fn map(&self, x: &[usize], weight: &[usize]) -> Result<ImageMap> {
        let (image, kernel, signals) = match (x, weight) {
            ([_, h, w], [_, _, kh, kw]) => ([*h, *w], [*kh, *kw], false),
            ([_, length], [_, _, k]) => ([1, *length], [1, *k], true),
            ([_, _] | [_, _, _], _) => {
                let expected = "(C', C/G, k, ..), one k for each axis of the images";
                return Err(ModelError::shape("convolution weight", expected, weight));
            }
            _ => {
                return Err(ModelError::shape(
                    "convolution input",
                    "(C, [H,] W) of an example, N left out",
                    x,
                ));
            }
        };
        let sizes = [self.stride, self.dilation, [self.groups, 1]].concat();
        if [&sizes, weight, &image].concat().contains(&0) {
            return Err(ModelError::zero(
                "convolution: image, kernel, stride, dilation and groups",
            ));
        }
        let own = if signals { self.of_signals() } else { *self };
        let geometry = own.geometry(x[0], image, [weight[0], weight[1]], kernel)?;
        let conv = GroupedConv { geometry, groups: self.groups };
        Ok(ImageMap { conv, transposed: self.transposed.is_some(), signals })
    }

    /// The sizes of one group, for a weight of these first two sizes.
    fn geometry(
        &self,
        channels: usize,
        image: [usize; 2],
        [rows, columns]: [usize; 2],
        kernel: [usize; 2],
    ) -> Result<Geometry> {
        let (what, groups) = ("convolution", self.groups);
        if rows % groups > 0 {
            let expected = format!("a multiple of {groups} groups first");
            return Err(ModelError::shape("convolution weight", expected, &[rows, columns]));
        }
        let expected = if self.transposed.is_some() { rows } else { columns * groups };
        if channels != expected {
            let expected = format!("{expected} channels");
            return Err(ModelError::shape("convolution input", expected, &[channels]));
        }
        let (stride, dilation) = (self.stride, self.dilation);
        let planes = [columns, rows / groups];
        match self.transposed {
            None => self.padding.geometry(what, planes, image, kernel, stride, dilation),
            Some(extra) => {
                let window = [kernel, stride, dilation];
                self.padding.transposed_geometry(what, planes, image, window, extra)
            }
        }
    }

    fn is_structured(&self, input: usize) -> bool {
        self.structured().contains(&input)
    }
}

impl ImageMap {
    /// Signals as images of one row, weights with them.
    fn lifted(&self, t: &Tensor) -> Result<Tensor> {
        Ok(if self.signals { t.unsqueeze(t.rank() - 1)? } else { t.clone() })
    }

    fn lowered(&self, t: Tensor) -> Result<Tensor> {
        Ok(if self.signals { t.squeeze(t.rank() - 2)? } else { t })
    }

    /// The convolution of images or, `backward`, the adjoint map, with one weight for all or one
    /// for each: the weights of N examples are those of N times as many groups of one.
    fn conv(&self, backward: bool, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor> {
        let ((count, _, height, width), weights) = (x.dims4()?, w.dim(0)?);
        let conv = GroupedConv { groups: self.conv.groups * weights, ..self.conv };
        let one = weights == 1;
        let images = if one { x.clone() } else { x.reshape((count / weights, (), height, width))? };
        let with = b.filter(|b| !backward && b.dims()[0] == weights);
        let y = if backward { conv.input_vjp(&images, w)? } else { conv.value(&images, w, with)? };
        let (_, _, height, width) = y.dims4()?;
        let y = y.reshape((count, (), height, width))?;
        match b.filter(|_| with.is_none()) {
            Some(b) => add_bias(&y, b),
            None => Ok(y),
        }
    }

    fn value(&self, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        self.conv(self.transposed, x, w, bias)
    }

    fn input_vjp(&self, dy: &Tensor, w: &Tensor) -> Result<Tensor> {
        self.conv(!self.transposed, dy, w, None)
    }

    /// What of a pair is convolved, and what arrives at the result of that: in a transpose the two
    /// change places.
    fn pair<'a>(&self, x: &'a Tensor, dy: &'a Tensor) -> [&'a Tensor; 2] {
        if self.transposed { [dy, x] } else { [x, dy] }
    }

    fn weight_vjp(&self, x: &Tensor, dy: &Tensor, like: &Tensor) -> Result<Tensor> {
        let [inputs, cotangents] = self.pair(x, dy);
        let rows = self.conv.weight_rows(inputs, cotangents)?;
        Ok(rows.reshape([&[x.dim(0)?], &like.dims()[1..]].concat())?)
    }

    fn factor(&self, names: &[&str], x: &Tensor, dy: &Tensor, bias: bool) -> Factor {
        let [inputs, cotangents] = self.pair(x, dy).map(Tensor::clone);
        Factor::Conv {
            weight: names[1].to_owned(),
            bias: names.get(2).filter(|_| bias && !self.transposed).map(|b| (*b).to_owned()),
            inputs,
            cotangents,
            geometry: self.conv.geometry,
        }
    }

    /// Planes, height and width of the result.
    fn output(&self) -> [usize; 3] {
        let GroupedConv { geometry: g, groups } = &self.conv;
        let (planes, size) =
            if self.transposed { (g.channels, g.input) } else { (g.filters, g.output) };
        [planes * groups, size[0], size[1]]
    }
}

impl Operation for Convolve {
    type Cache = ConvolveCache;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let (x, weight, bias) = match inputs {
            [x, weight] => (x, weight, None),
            [x, weight, bias] => (x, weight, Some(bias)),
            _ => return Err(ModelError::arity(self, inputs.len())),
        };
        let map = self.map(x, weight)?;
        let [planes, height, width] = map.output();
        if let Some(bias) = bias.filter(|bias| ***bias != [planes]) {
            return Err(ModelError::shape("convolution bias", format!("({planes})"), bias));
        }
        Ok(if map.signals { vec![planes, width] } else { vec![planes, height, width] })
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, ConvolveCache)> {
        let map = self.map(&inputs[0].dims()[1..], &inputs[1].dims()[1..])?;
        let (x, weight) = (map.lifted(inputs[0])?, map.lifted(&one_of_equal(inputs[1])?)?);
        let y = map.value(&x, &weight, inputs.get(2).copied())?;
        Ok((map.lowered(y)?, ConvolveCache { map, x, weight }))
    }

    fn jvp(&self, cache: &ConvolveCache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let ConvolveCache { map, x, weight } = cache;
        let bias = tangents.get(2).copied().flatten();
        let through =
            tangents[0].map(|dx| map.value(&map.lifted(dx)?, weight, None)).transpose()?;
        let moved = match (tangents[1], bias) {
            (Some(dw), bias) => Some(map.value(x, &map.lifted(dw)?, bias)?),
            (None, Some(bias)) => {
                let [planes, height, width] = map.output();
                let shape = (x.dim(0)?, planes, height, width);
                Some(add_bias(&Tensor::zeros(shape, x.dtype(), x.device())?, bias)?)
            }
            (None, None) => None,
        };
        let sum = add_tangents(moved, through)?.ok_or(ModelError::Cache { what: "tangent" })?;
        map.lowered(sum)
    }

    fn vjp(
        &self,
        cache: &ConvolveCache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let ConvolveCache { map, x, weight } = cache;
        let dy = map.lifted(dy)?;
        let cotangent = |(input, wanted): (usize, &bool)| {
            let cotangent = || match input {
                0 => map.lowered(map.input_vjp(&dy, weight)?),
                1 => map.lowered(map.weight_vjp(x, &dy, weight)?),
                _ => pixel_sum(&dy),
            };
            (*wanted && !self.is_structured(input)).then(cotangent).transpose()
        };
        wanted.iter().enumerate().map(cotangent).collect()
    }

    /// The cotangents of images and weight are linear in each other and in that of the result.
    fn mixed_vjp(
        &self,
        cache: &ConvolveCache,
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> Result<MixedCotangents> {
        let ConvolveCache { map, weight, .. } = cache;
        let (fixed, mut moved) = (self.vjp(cache, dy, wanted)?, self.vjp(cache, ddy, wanted)?);
        let dy = map.lifted(dy)?;
        if let (Some(moved), Some(dw)) = (&mut moved[0], tangents[1]) {
            *moved = add(moved, &map.lowered(map.input_vjp(&dy, &map.lifted(dw)?)?)?)?;
        }
        if let (Some(moved), Some(dx)) = (&mut moved[1], tangents[0]) {
            let through = map.weight_vjp(&map.lifted(dx)?, &dy, weight)?;
            *moved = add(moved, &map.lowered(through)?)?;
        }
        Ok(pairs(fixed, moved))
    }

    fn operations(&self, inputs: &[&[usize]]) -> f64 {
        let of = |map: ImageMap| map.conv.geometry.operations() * map.conv.groups as f64;
        self.map(inputs[0], inputs[1]).map_or(0.0, of)
    }

    fn takes_shared(&self, input: usize) -> bool {
        input > 0
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        (0..zero.len()).map(|input| input < 2 && zero[1 - input]).collect()
    }

    /// None in groups: their rows are short. The bias of a transpose is no part of its factor.
    fn structured(&self) -> Range<usize> {
        match (self.groups, self.transposed) {
            (1, None) => 1..3,
            (1, Some(_)) => 1..2,
            _ => 0..0,
        }
    }

    fn factor(&self, cache: &ConvolveCache, names: &[&str], dy: &Tensor) -> Result<Option<Factor>> {
        let ConvolveCache { map, x, .. } = cache;
        let dy = map.lifted(dy)?;
        Ok((self.groups == 1).then(|| map.factor(names, x, &dy, true)))
    }

    fn moved_factor(
        &self,
        cache: &ConvolveCache,
        names: &[&str],
        tangents: &[Option<&Tensor>],
        dy: &Tensor,
    ) -> Result<Option<Factor>> {
        let map = cache.map;
        let moved = |dx| Ok(map.factor(names, &map.lifted(dx)?, &map.lifted(dy)?, false));
        tangents[0].filter(|_| self.groups == 1).map(moved).transpose()
    }
}
