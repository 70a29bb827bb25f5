//! Normalisations.

use entk_models::{Activation, NormalizeBatch, Result};

use crate::operations::law::{InputLaw, Numbers, OperationVisitor};

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    let of_channels = || InputLaw::normal(&[3]).shared();
    let variance = InputLaw { numbers: Numbers::Positive, ..of_channels() };
    let inputs =
        [InputLaw::normal(&[3, 4, 2]), of_channels(), of_channels(), of_channels(), variance];
    for activation in [None, Some(Activation::Gelu)] {
        let name = if activation.is_some() { "batch norm, activated" } else { "batch norm" };
        visitor.visit(name, NormalizeBatch { activation }, &inputs)?;
    }
    Ok(())
}
