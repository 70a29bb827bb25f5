//! Shapes, orders, choices and look-ups.

use entk_models::{
    Concat, Embed, Expand, Flatten, FlattenAxes, IndexSelect, Pad, PadWith, Permute, Reshape,
    Result, Roll, Select, Slice, Stack, TableRows,
};

use crate::operations::law::{InputLaw, OperationVisitor};

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    let images = [InputLaw::normal(&[3, 4, 5])];
    visitor.visit("reshape", Reshape::new(&[10, 1, 6]), &images)?;
    visitor.visit("flatten", Flatten, &images)?;
    visitor.visit("flatten the last axes", FlattenAxes::new(1..3), &images)?;
    visitor.visit("permute", Permute::new(&[2, 0, 1]), &images)?;
    visitor.visit("transpose", Permute::new(&[0, 2, 1]), &images)?;
    visitor.visit("slice", Slice::new(1, 1..4), &images)?;
    visitor.visit("slice with a step", Slice::new(2, 1..5).with_step(2), &images)?;
    visitor.visit("select", Select::new(1, 3), &images)?;
    visitor.visit("select the last", Select::new(2, 4), &images)?;
    visitor.visit("roll", Roll::new(1, -3), &images)?;
    visitor.visit("index select", IndexSelect::new(1, vec![3, 0, 0, 2, 3]), &images)?;
    visitor.visit("expand", Expand::new(&[2, 3, 4, 5]), &images)?;
    let ones = [InputLaw::normal(&[1, 4, 1])];
    visitor.visit("expand ones", Expand::new(&[2, 3, 4, 2]), &ones)?;
    visitor.visit("expand a number", Expand::new(&[2, 3]), &[InputLaw::normal(&[])])?;
    visit_pads(visitor)?;
    visit_several(visitor)
}

fn visit_pads(visitor: &mut impl OperationVisitor) -> Result<()> {
    let images = [InputLaw::normal(&[3, 4, 5])];
    visitor.visit("pad", Pad::new(1, 1, 2), &images)?;
    for (name, with) in [
        ("with ones", PadWith::Constant(1.0)),
        ("reflected", PadWith::Reflect),
        ("replicated", PadWith::Replicate),
        ("circular", PadWith::Circular),
    ] {
        visitor.visit(&format!("pad, {name}"), Pad::new(2, 3, 1).with(with), &images)?;
    }
    Ok(())
}

fn visit_several(visitor: &mut impl OperationVisitor) -> Result<()> {
    let parts = [[3, 2, 5], [3, 1, 5], [3, 4, 5]].map(|shape| InputLaw::normal(&shape));
    visitor.visit("concat", Concat::new(1), &parts)?;
    visitor.visit("concat of one", Concat::new(0), &parts[..1])?;
    let equal = [[3, 2], [3, 2], [3, 2]].map(|shape| InputLaw::normal(&shape));
    visitor.visit("concat along the last axis", Concat::new(1), &equal)?;
    visitor.visit("stack", Stack::new(1), &equal)?;
    visitor.visit("stack behind", Stack::new(2), &equal)?;
    let ids = |shape: &[usize]| InputLaw::ids(7, shape);
    let table = InputLaw::normal(&[7, 4]).shared();
    visitor.visit("embedding", Embed::default(), &[ids(&[5]), table.clone()])?;
    visitor.visit("embedding of a grid", Embed::default(), &[ids(&[2, 3]), table.clone()])?;
    visitor.visit("embedding of one", Embed::default(), &[ids(&[]), table.clone()])?;
    // No token is padding: values move with its row, of which derivatives know nothing.
    let longer = InputLaw::normal(&[8, 4]).shared();
    visitor.visit("embedding with padding", Embed::with_padding(7), &[ids(&[5]), longer])?;
    visitor.visit("rows of a table", TableRows::new(vec![3, 0, 5, 3]), &[table])
}
