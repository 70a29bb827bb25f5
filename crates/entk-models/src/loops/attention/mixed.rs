//! How the cotangents of attention move along tangents, in products and softmaxes over all scores
//! at once. Called by `Attend` for mixed derivatives.

use candle_core::Tensor;

use crate::{
    error::{ModelError, Result},
    loops::{
        attention::{
            heads::{Heads, by_group, composed_probabilities, packed, unpacked},
            softmax::{softmax_derivative, softmax_derivative_tangent},
        },
        batched::batched_matmul,
        entrywise::add,
    },
};

fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    batched_matmul(a, b, [false, false])
}

fn product_bt(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    batched_matmul(a, b, [false, true])
}

fn product_at(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    batched_matmul(a, b, [true, false])
}

/// Queries, keys and values, or tangents of them, by group.
struct ByGroup {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl ByGroup {
    fn new(heads: &Heads, [q, k, v]: [&Tensor; 3]) -> Result<Self> {
        Ok(Self { q: by_group(heads, q)?, k: k.clone(), v: v.clone() })
    }
}

/// The cotangents of q, k and v and their tangents, for tangents of q, k and v and a cotangent dy
/// of the result with its tangent ddy.
///
/// With `s = scale q k^T + mask`, p its softmax, `b = dy v^T` and `a = scale p (b - <p, b>)`, the
/// cotangents are `a k`, `a^T q` and `p^T dy`; each factor moves in turn.
fn attention_mixed(
    heads: Heads,
    qkv: [&Tensor; 3],
    mask: Option<&Tensor>,
    tangents: [&Tensor; 3],
    [dy, ddy]: [&Tensor; 2],
) -> Result<[(Tensor, Tensor); 3]> {
    let p = composed_probabilities(&heads, [qkv[0], qkv[1]], mask)?;
    let (at, t) = (ByGroup::new(&heads, qkv)?, ByGroup::new(&heads, tangents)?);
    let (dy, ddy) = (by_group(&heads, dy)?, by_group(&heads, ddy)?);
    let moved_s = add(&product_bt(&t.q, &at.k)?, &product_bt(&at.q, &t.k)?)?;
    let moved_s = (moved_s * heads.scale)?;
    let moved_p = softmax_derivative(&p, &moved_s)?;
    let b = product_bt(&dy, &at.v)?;
    let moved_b = add(&product_bt(&ddy, &at.v)?, &product_bt(&dy, &t.v)?)?;
    let a = (softmax_derivative(&p, &b)? * heads.scale)?;
    let through_s = softmax_derivative_tangent(&p, &b, &moved_s)?;
    let moved_a = (add(&softmax_derivative(&p, &moved_b)?, &through_s)? * heads.scale)?;
    let pair = |which: usize, fixed: Tensor, first: Tensor, second: Tensor| {
        let shape = qkv[which].shape();
        Ok::<_, ModelError>((fixed.reshape(shape)?, add(&first, &second)?.reshape(shape)?))
    };
    Ok([
        pair(0, product(&a, &at.k)?, product(&moved_a, &at.k)?, product(&a, &t.k)?)?,
        pair(1, product_at(&a, &at.q)?, product_at(&moved_a, &at.q)?, product_at(&a, &t.q)?)?,
        pair(2, product_at(&p, &dy)?, product_at(&moved_p, &dy)?, product_at(&p, &ddy)?)?,
    ])
}

/// As [`attention_mixed`], for q, k and v, or for one tensor of all.
pub(crate) fn attention_mixed_vjp(
    heads: Heads,
    qkv: &[&Tensor],
    mask: Option<&Tensor>,
    tangents: &[&Tensor],
    [dy, ddy]: [&Tensor; 2],
) -> Result<Vec<(Tensor, Tensor)>> {
    if let (&[q, k, v], &[dq, dk, dv]) = (qkv, tangents) {
        return Ok(attention_mixed(heads, [q, k, v], mask, [dq, dk, dv], [dy, ddy])?.into());
    }
    let (apart, along) = (unpacked(&heads, qkv[0])?, unpacked(&heads, tangents[0])?);
    let (dy, ddy) = (dy.transpose(1, 2)?, ddy.transpose(1, 2)?);
    let heads = Heads { packed: false, ..heads };
    let all = attention_mixed(heads, apart.each_ref(), mask, along.each_ref(), [&dy, &ddy])?;
    let [(dq, moved_q), (dk, moved_k), (dv, moved_v)] = &all;
    let like = |all: Tensor| all.reshape(qkv[0].shape());
    Ok(vec![(like(packed([dq, dk, dv])?)?, like(packed([moved_q, moved_k, moved_v])?)?)])
}
