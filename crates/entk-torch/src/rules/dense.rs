//! Dense maps and products of matrices. A weight that follows from parameters alone keeps its
//! factor; one that depends on the input is a product like others.

use entk_models::{Affine, AffineTransposed, MatMul, Permute, Reshape};

use crate::{
    rules::{pointwise, rule::Rule},
    trace::{Refusal, Ruled, Traced, Tracer, call::Call},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("linear.default", Rule::One(linear)),
    ("addmm.default", Rule::One(addmm)),
    ("mm.default", Rule::One(matmul)),
    ("bmm.default", Rule::One(matmul)),
    ("matmul.default", Rule::One(matmul)),
    ("mv.default", Rule::One(matmul)),
    ("dot.default", Rule::One(matmul)),
    ("vdot.default", Rule::One(matmul)),
    ("baddbmm.default", Rule::One(addmm)),
];

fn linear(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, weight) = (call.tensor("input")?, call.tensor("weight")?);
    dense(t, x, weight, call.optional_tensor("bias")?)
}

/// `x W^T + b` over the last axis.
pub(crate) fn dense(
    t: &mut Tracer,
    x: &Traced,
    weight: &Traced,
    bias: Option<&Traced>,
) -> Ruled<Traced> {
    if t.is_shared(weight) && bias.is_none_or(|bias| t.is_shared(bias)) && !x.is_constant() {
        let inputs: Vec<&Traced> = [Some(x), Some(weight), bias].into_iter().flatten().collect();
        return t.apply(Affine, &inputs);
    }
    let row = (x.rank() == 1).then_some([1, x.count()]);
    let x = match row {
        Some(row) => &t.apply(Reshape::new(&row), &[x])?,
        None => x,
    };
    let mut y = t.apply(MatMul::transposed(), &[x, weight])?;
    if row.is_some() {
        y = t.apply(Reshape::new(&y.shape[1..]), &[&y])?;
    }
    match bias {
        Some(bias) => pointwise::add(t, &y, bias),
        None => Ok(y),
    }
}

/// `beta self + alpha a b`.
fn addmm(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (a, b) = match call.base() {
        "addmm" => (call.tensor("mat1")?, call.tensor("mat2")?),
        _ => (call.tensor("batch1")?, call.tensor("batch2")?),
    };
    let added = call.tensor("self")?;
    let (beta, alpha) = (call.float_or("beta", 1.0)?, call.float_or("alpha", 1.0)?);
    let plain = beta == 1.0 && alpha == 1.0 && b.rank() == 2 && added.rank() == 1;
    if plain && t.is_shared(b) && t.is_shared(added) && !a.is_constant() {
        return t.apply(AffineTransposed, &[a, b, added]);
    }
    let product = product(t, a, b)?;
    let (product, added) =
        (pointwise::scaled(t, &product, alpha)?, pointwise::scaled(t, added, beta)?);
    pointwise::add(t, &product, &added)
}

fn matmul(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let a = call.tensor("self")?;
    let second = match call.base() {
        "mv" => "vec",
        "dot" => "tensor",
        "mm" | "bmm" => "mat2",
        _ => "other",
    };
    product(t, a, call.tensor(second)?)
}

/// `a b` as `torch.matmul` has it: vectors are rows on the left and columns on the right.
pub(crate) fn product(t: &mut Tracer, a: &Traced, b: &Traced) -> Ruled<Traced> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err(Refusal::new("a product of matrices with a tensor without axes"));
    }
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let left = match row {
        true => &t.apply(Reshape::new(&[1, a.count()]), &[a])?,
        false => a,
    };
    let right = match column {
        true => &t.apply(Reshape::new(&[b.count(), 1]), &[b])?,
        false => b,
    };
    let y = matrices(t, left, right)?;
    let mut shape = y.shape.clone();
    if column {
        shape.pop();
    }
    if row {
        shape.remove(shape.len() - 1 - usize::from(!column));
    }
    if shape == y.shape { Ok(y) } else { t.apply(Reshape::new(&shape), &[&y]) }
}

/// `a b`, matrix by matrix. A single right side that follows from parameters keeps its factor.
fn matrices(t: &mut Tracer, a: &Traced, b: &Traced) -> Ruled<Traced> {
    if b.rank() == 2 && t.is_shared(b) && !t.is_shared(a) {
        return t.apply(AffineTransposed, &[a, b]);
    }
    if a.rank() == 2 && b.rank() == 2 && t.is_shared(a) && !t.is_shared(b) && !a.is_constant() {
        let turned = t.apply(Permute::new(&[1, 0]), &[b])?;
        let y = t.apply(Affine, &[&turned, a])?;
        return t.apply(Permute::new(&[1, 0]), &[&y]);
    }
    t.apply(MatMul::new(), &[a, b])
}
