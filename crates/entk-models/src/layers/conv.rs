//! Convolutions as layers: they name a weight and a bias, and write a
//! [`Convolve`](crate::Convolve).

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Value},
    layer::Layer,
    layers::dense::scale,
    loops::padding::Padding,
    operations::{linear::Convolve, pooling::PerAxis},
    params::{init::InitialLaw, spec::ParamSpec},
};

/// Cross-correlation over the last `A` axes, or its transpose, with parameters `NAME.weight`, of
/// the shapes of PyTorch: (out, in / groups, k, ..), or (in, out / groups, k, ..) of a transpose;
/// and `NAME.bias` (out).
///
/// The initial law counts inputs and outputs as PyTorch does: the taps of the kernel times the
/// second and the first size of the weight.
#[derive(Debug, Clone)]
pub struct Conv<const A: usize, const TRANSPOSED: bool = false> {
    name: String,
    bias: bool,
    channels: usize,
    filters: usize,
    kernel: [usize; A],
    convolve: Convolve,
    law: InitialLaw,
}

/// A [`Conv`] of signals (C, L).
pub type Conv1d = Conv<1>;
/// A [`Conv`] of images (C, H, W).
pub type Conv2d = Conv<2>;
/// A transposed [`Conv`] of images (C, H, W).
pub type ConvTranspose2d = Conv<2, true>;

impl<const A: usize, const TRANSPOSED: bool> Conv<A, TRANSPOSED> {
    /// Stride 1, `Padding::Same`, one group, with a bias. The sizes of a kernel are rows, then
    /// columns; one number is for both.
    pub fn new(
        name: &str,
        channels: usize,
        filters: usize,
        kernel: impl Into<PerAxis<usize, A>>,
    ) -> Self {
        let transposed = TRANSPOSED.then_some([0; 2]);
        Self {
            name: name.to_owned(),
            bias: true,
            channels,
            filters,
            kernel: kernel.into().0,
            convolve: Convolve { transposed, ..Convolve::default() },
            law: InitialLaw::default(),
        }
    }

    /// Leaves out the bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Sets the initial law.
    #[must_use]
    pub fn with_law(self, law: InitialLaw) -> Self {
        Self { law, ..self }
    }

    /// Sets the stride.
    #[must_use]
    pub fn with_stride(self, stride: impl Into<PerAxis<usize, A>>) -> Self {
        Self { convolve: Convolve { stride: of_image(stride.into(), 1), ..self.convolve }, ..self }
    }

    /// Sets the padding: [`Padding`], or PyTorch's number of zeros on every side, one or one an
    /// axis.
    #[must_use]
    pub fn with_padding(self, padding: impl Into<Padding>) -> Self {
        Self { convolve: Convolve { padding: padding.into(), ..self.convolve }, ..self }
    }

    /// Sets how far neighbouring taps of the kernel are from each other.
    #[must_use]
    pub fn with_dilation(self, dilation: impl Into<PerAxis<usize, A>>) -> Self {
        let dilation = of_image(dilation.into(), 1);
        Self { convolve: Convolve { dilation, ..self.convolve }, ..self }
    }

    /// Cuts channels and filters into so many groups, each convolved by itself; as many as channels
    /// for a depthwise convolution.
    #[must_use]
    pub fn with_groups(self, groups: usize) -> Self {
        Self { convolve: Convolve { groups, ..self.convolve }, ..self }
    }
}

impl<const A: usize> Conv<A, true> {
    /// Sets by how many rows and columns the result is longer than it has to be.
    #[must_use]
    pub fn with_output_padding(self, padding: impl Into<PerAxis<usize, A>>) -> Self {
        let transposed = Some(of_image(padding.into(), 0));
        Self { convolve: Convolve { transposed, ..self.convolve }, ..self }
    }
}

/// The numbers of the last axes for two axes, `one` for a missing first.
fn of_image<const A: usize>(PerAxis(numbers): PerAxis<usize, A>, one: usize) -> [usize; 2] {
    let last = |back: usize| A.checked_sub(back).map_or(one, |at| numbers[at]);
    [last(2), last(1)]
}

impl<const A: usize, const TRANSPOSED: bool> Layer for Conv<A, TRANSPOSED> {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let Self { name, channels, filters, kernel, convolve, law, .. } = self;
        let (rows, columns) = if TRANSPOSED { (channels, filters) } else { (filters, channels) };
        let groups = convolve.groups.max(1);
        if [channels, filters].iter().any(|planes| *planes % groups > 0) {
            let expected = format!("multiples of {groups} groups");
            return Err(ModelError::shape(format!("{name}: planes"), expected, &[*rows, *columns]));
        }
        let (columns, taps) = (columns / groups, kernel.iter().product::<usize>());
        // Sizes that overflow are refused with the weight.
        let fans = [columns, *rows].map(|planes| planes.saturating_mul(taps));
        let init = law.weight(fans[0], fans[1]);
        let shape = [&[*rows, columns], &kernel[..]].concat();
        let weight = ParamSpec::trainable(format!("{name}.weight"), &shape, init);
        let mut values = vec![x, graph.parameter(weight)?];
        if self.bias {
            let init = law.bias(fans[0]);
            let bias = ParamSpec::trainable(format!("{name}.bias"), &[*filters], init);
            values.push(graph.parameter(bias)?);
        }
        scale(graph, &mut values, law.scales(fans[0]))?;
        graph.apply(*convolve, &values)
    }
}
