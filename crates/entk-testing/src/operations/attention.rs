//! Products of two values, softmaxes and attention: axes that meet, masks, heads in groups.

use candle_core::Tensor;
use entk_models::{Attend, MatMul, Result, Rotate, Softmax};

use crate::{
    device::test_device,
    operations::law::{InputLaw, OperationVisitor},
};

pub(super) fn visit(visitor: &mut impl OperationVisitor) -> Result<()> {
    visit_products(visitor)?;
    let x = [InputLaw::normal(&[3, 5, 4])];
    for axis in 0..3 {
        visitor.visit(&format!("softmax over {axis}"), Softmax::over(axis), &x)?;
        let logarithm = Softmax::over(axis).logarithm();
        visitor.visit(&format!("log-softmax over {axis}"), logarithm, &x)?;
    }
    for (name, x) in [("rotary positions", &[2, 3, 4][..]), ("rotary positions, one head", &[5, 2])]
    {
        visitor.visit(name, Rotate::new(10.0), &[InputLaw::normal(x)])?;
    }
    visit_attention(visitor)
}

fn visit_products(visitor: &mut impl OperationVisitor) -> Result<()> {
    for (name, product, left, right) in [
        ("matrix product", MatMul::new(), &[3, 4][..], &[4, 5][..]),
        ("matrix product, transposed", MatMul::transposed(), &[3, 4], &[5, 4]),
        ("matrix products", MatMul::new(), &[2, 3, 4], &[2, 4, 5]),
        ("matrix products, transposed", MatMul::transposed(), &[2, 3, 4], &[2, 5, 4]),
        ("matrix products with one", MatMul::new(), &[2, 3, 4], &[4, 5]),
        ("matrix products of one", MatMul::new(), &[3, 4], &[2, 4, 5]),
        ("matrix products, axes that meet", MatMul::new(), &[2, 1, 3, 4], &[3, 4, 2]),
        ("axes that meet, transposed", MatMul::transposed(), &[2, 1, 3, 4], &[3, 2, 4]),
        ("row times column", MatMul::new(), &[1, 6], &[6, 1]),
    ] {
        let [left, right] = [left, right].map(InputLaw::normal);
        visitor.visit(name, product, &[left.clone(), right.clone().shared()])?;
        visitor.visit(&format!("{name}, left shared"), product, &[left.shared(), right])?;
    }
    let sides = [&[3, 2][..], &[2, 4]].map(|shape| InputLaw::normal(shape).shared());
    visitor.visit("matrix product of parameters", MatMul::new(), &sides)
}

fn visit_attention(visitor: &mut impl OperationVisitor) -> Result<()> {
    let [hidden, seen] = [f64::NEG_INFINITY, 0.5];
    let rows = [[seen, hidden, -1.0], [hidden, 0.0, hidden], [1.0, 0.0, seen], [0.0, 0.0, hidden]];
    let added = Tensor::new(&rows, test_device())?;
    let chosen = Tensor::new(&[[1u8, 0, 1], [0, 1, 0], [1, 1, 1], [1, 1, 0]], test_device())?;
    let own = [&[2, 4, 5][..], &[2, 3, 5], &[2, 3, 6]].map(InputLaw::normal);
    let grouped = [&[6, 4, 5][..], &[2, 3, 5], &[2, 3, 1]].map(InputLaw::normal);
    let long = [&[1, 3, 2][..], &[1, 6, 2], &[1, 6, 2]].map(InputLaw::normal);
    visitor.visit("attention", Attend::new(), &own)?;
    visitor.visit("attention, scaled", Attend::new().with_scale(0.2), &own)?;
    visitor.visit("attention, causal", Attend::new().causal(), &own)?;
    visitor.visit("attention, causal on more keys", Attend::new().causal(), &long)?;
    visitor.visit("attention, masked", Attend::new().with_mask(&added)?, &own)?;
    visitor.visit("attention, chosen keys", Attend::new().with_mask(&chosen)?, &own)?;
    visitor.visit("attention, heads in groups", Attend::new(), &grouped)?;
    visitor.visit("attention in groups, causal", Attend::new().causal(), &grouped)?;
    visitor.visit("attention in groups, masked", Attend::new().with_mask(&added)?, &grouped)?;
    let packed = [InputLaw::normal(&[4, 3 * 2 * 5])];
    visitor.visit("attention, packed", Attend::new().packed(2), &packed)?;
    let square = Tensor::new(&[[0.0, hidden, 1.0, 1.0]; 4], test_device())?;
    let masked = Attend::new().packed(2).causal().with_mask(&square)?;
    visitor.visit("attention, packed, causal and masked", masked, &packed)?;
    visitor.visit("attention, packed, causal", Attend::new().packed(2).causal(), &packed)
}
