//! Convolutions over one, two and three axes, and transposed ones.

use entk_models::{Convolve, Pad, Padding, Reshape, Select, Stack};

use crate::{
    rules::{
        rule::Rule,
        shape::{part, reshaped},
    },
    trace::{Refusal, Ruled, Traced, Tracer, call::Call},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("conv1d.default", Rule::One(|t, c| convolution(t, c, 1))),
    ("conv1d.padding", Rule::One(|t, c| convolution(t, c, 1))),
    ("conv2d.default", Rule::One(|t, c| convolution(t, c, 2))),
    ("conv2d.padding", Rule::One(|t, c| convolution(t, c, 2))),
    ("conv3d.default", Rule::One(convolution_3d)),
    ("conv_transpose1d.default", Rule::One(|t, c| transposed(t, c, 1))),
    ("conv_transpose2d.input", Rule::One(|t, c| transposed(t, c, 2))),
];

/// A function of one image, of `axes` axes behind that of channels, for each of a batch of them.
pub(crate) fn each_image(
    t: &mut Tracer,
    x: &Traced,
    axes: usize,
    function: impl Fn(&mut Tracer, &Traced) -> Ruled<Traced>,
) -> Ruled<Traced> {
    match x.rank().checked_sub(axes + 1) {
        Some(0) => function(t, x),
        Some(1) if x.shape[0] == 1 => {
            let image = reshaped(t, x, &x.shape[1..])?;
            let y = function(t, &image)?;
            reshaped(t, &y, &[&[1], y.shape.as_slice()].concat())
        }
        Some(1) => {
            let mut images = Vec::with_capacity(x.shape[0]);
            for at in 0..x.shape[0] {
                let image = t.apply(Select::new(0, at), &[x])?;
                images.push(function(t, &image)?);
            }
            t.apply(Stack::new(0), &images.iter().collect::<Vec<_>>())
        }
        _ => Err(Refusal::new(format!("takes (N, C, ..), {axes} axes last, got {:?}", x.shape))),
    }
}

/// The last two numbers, `one` for a missing first.
fn of_image(numbers: &[usize], one: usize) -> [usize; 2] {
    match numbers {
        [columns] => [one, *columns],
        [.., rows, columns] => [*rows, *columns],
        [] => [one; 2],
    }
}

/// Zeros around images: numbers, `same` or `valid`. With `same` PyTorch puts an odd one behind, as
/// [`Padding::Same`] does; it takes no strides there.
fn padding(call: &Call, axes: usize) -> Ruled<Padding> {
    if !call.operation.ends_with(".padding") {
        return Ok(of_image(&call.per_axis("padding", axes, 0)?, 0).into());
    }
    match call.text_or("padding", "valid")?.as_str() {
        "valid" => Ok(Padding::Valid),
        "same" => Ok(Padding::Same),
        other => Err(Refusal::new(format!("padding {other:?} is neither same nor valid"))),
    }
}

fn convolution(t: &mut Tracer, call: &Call, axes: usize) -> Ruled<Traced> {
    let convolve = Convolve {
        stride: of_image(&call.per_axis("stride", axes, 1)?, 1),
        padding: padding(call, axes)?,
        dilation: of_image(&call.per_axis("dilation", axes, 1)?, 1),
        groups: call.count("groups", 1)?,
        transposed: None,
    };
    convolved(t, call, convolve, axes)
}

fn transposed(t: &mut Tracer, call: &Call, axes: usize) -> Ruled<Traced> {
    let convolve = Convolve {
        stride: of_image(&call.per_axis("stride", axes, 1)?, 1),
        padding: of_image(&call.per_axis("padding", axes, 0)?, 0).into(),
        dilation: of_image(&call.per_axis("dilation", axes, 1)?, 1),
        groups: call.count("groups", 1)?,
        transposed: Some(of_image(&call.per_axis("output_padding", axes, 0)?, 0)),
    };
    convolved(t, call, convolve, axes)
}

fn convolved(t: &mut Tracer, call: &Call, convolve: Convolve, axes: usize) -> Ruled<Traced> {
    let (x, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    each_image(t, x, axes, |t, image| {
        let inputs: Vec<&Traced> =
            [Some(image), Some(weight), bias].into_iter().flatten().collect();
        t.apply(convolve, &inputs)
    })
}

/// A convolution over three axes as one over two: the frames that a frame of the result reads are
/// channels side by side.
fn convolution_3d(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let [stride, padding, dilation] = [("stride", 1), ("padding", 0), ("dilation", 1)]
        .map(|(name, default)| call.per_axis(name, 3, default));
    let (stride, padding, dilation) = (stride?, padding?, dilation?);
    if call.int_or("groups", 1)? != 1 {
        return Err(Refusal::new("groups over three axes have no rule"));
    }
    let (x, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let &[filters, channels, depth, rows, columns] = weight.shape.as_slice() else {
        return Err(Refusal::new(format!("a weight of shape {:?}", weight.shape)));
    };
    let flat = t.apply(Reshape::new(&[filters, channels * depth, rows, columns]), &[weight])?;
    let bias = call.optional_tensor("bias")?;
    let convolve = Convolve {
        stride: of_image(&stride, 1),
        padding: of_image(&padding, 0).into(),
        dilation: of_image(&dilation, 1),
        groups: 1,
        transposed: None,
    };
    each_image(t, x, 3, |t, volume| {
        let mut padded = volume.clone();
        if padding[0] > 0 {
            padded = t.apply(Pad::new(1, padding[0], padding[0]), &[volume])?;
        }
        let reach = dilation[0] * depth.saturating_sub(1) + 1;
        if padded.shape[1] < reach || [stride[0], dilation[0], depth].contains(&0) {
            return Err(Refusal::new(format!("a kernel of {depth} frames on {:?}", x.shape)));
        }
        let mut frames = Vec::new();
        for start in (0..=padded.shape[1] - reach).step_by(stride[0]) {
            let read = part(t, &padded, 1, start..start + reach)?;
            let read = match dilation[0] {
                1 => read,
                step => t.apply(entk_models::Slice::new(1, 0..reach).with_step(step), &[&read])?,
            };
            let image = reshaped(t, &read, &[channels * depth, read.shape[2], read.shape[3]])?;
            let inputs = [Some(&image), Some(&flat), bias];
            let inputs: Vec<&Traced> = inputs.into_iter().flatten().collect();
            frames.push(t.apply(convolve, &inputs)?);
        }
        t.apply(Stack::new(1), &frames.iter().collect::<Vec<_>>())
    })
}
