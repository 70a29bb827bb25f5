//! Normalisations with and without weight and bias, centred or not.

use entk_models::{Activation, Normalize, NormalizeBatch, Result};

use crate::operations::law::{InputLaw, Numbers, OperationVisitor};

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    let of_channels = || InputLaw::normal(&[3]).shared();
    let variance = InputLaw { numbers: Numbers::Positive, ..of_channels() }.constant();
    let mean = of_channels().constant();
    let inputs = |x: &[usize]| {
        let (mean, variance) = (mean.clone(), variance.clone());
        [InputLaw::normal(x), of_channels(), of_channels(), mean, variance]
    };
    for activation in [None, Some(Activation::Gelu)] {
        let name = if activation.is_some() { "batch norm, activated" } else { "batch norm" };
        visitor.visit(name, NormalizeBatch { activation }, &inputs(&[3, 4, 2]))?;
    }
    let norm = NormalizeBatch::default();
    visitor.visit("batch norm, 1-D", norm, &inputs(&[3, 5]))?;
    visitor.visit("batch norm without pixels", norm, &inputs(&[3]))?;
    visit_examples(visitor)
}

fn visit_examples(visitor: &mut impl OperationVisitor) -> Result<()> {
    let tokens = &[5, 2, 6][..];
    let images = &[6, 3, 5][..];
    for (name, normalize, x, weight) in [
        ("layer norm", Normalize::layer(1), tokens, &[6][..]),
        ("layer norm over two axes", Normalize::layer(2).with_eps(0.1), tokens, &[2, 6]),
        ("rms norm", Normalize::rms(), tokens, &[6]),
        ("group norm", Normalize::groups(2), images, &[6]),
        ("instance norm", Normalize::instance(), images, &[6]),
    ] {
        let (x, weight) = (InputLaw::normal(x), InputLaw::normal(weight).shared());
        let inputs = [x, weight.clone(), weight];
        visitor.visit(name, normalize, &inputs)?;
        visitor.visit(&format!("{name}, no bias"), normalize, &inputs[..2])?;
        visitor.visit(&format!("{name}, no weight"), normalize, &inputs[..1])?;
    }
    let weight = |shape: &[usize]| InputLaw::normal(shape).shared();
    let sequences = [InputLaw::normal(&[4, 7]), weight(&[4]), weight(&[4])];
    visitor.visit("group norm, 1-D", Normalize::groups(2), &sequences)?;
    let channels = [InputLaw::normal(&[6]), weight(&[6]), weight(&[6])];
    let normalize = Normalize::groups(2).with_eps(0.1);
    visitor.visit("group norm without pixels", normalize, &channels)?;
    let filters = [weight(&[4, 3, 2]), weight(&[4, 1, 1])];
    visitor.visit("weight norm", Normalize::weight(), &filters)
}
