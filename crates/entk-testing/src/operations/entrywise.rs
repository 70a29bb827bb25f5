//! Entry by entry.

use entk_models::{Activation, AddActivated, Result};

use crate::operations::law::{InputLaw, OperationVisitor};

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    let x = InputLaw::normal(&[3, 4]);
    for activation in Activation::ALL {
        visitor.visit(&format!("{activation:?}"), activation, std::slice::from_ref(&x))?;
    }
    for activation in [None, Some(Activation::Gelu)] {
        let name = if activation.is_some() { "sum, activated" } else { "sum" };
        visitor.visit(name, AddActivated { activation }, &[x.clone(), x.clone().shared()])?;
    }
    Ok(())
}
