//! Dense maps, products of matrices, and attention.

use super::{Arguments, Numbers, refused, same, same_for, same_known};
use crate::trace::call::Bound::{self, Bool, Float};

/// `a b` of matrices, those of a batch one by one; a missing batch is one for all.
fn product(a: &Numbers, b: &Numbers) -> Numbers {
    let (rows, inner) = (a.shape[a.shape.len() - 2], a.shape[a.shape.len() - 1]);
    let columns = b.shape[b.shape.len() - 1];
    let longer = if a.shape.len() >= b.shape.len() { a } else { b };
    let batch = &longer.shape[..longer.shape.len() - 2];
    Numbers::of(&[batch, &[rows, columns]].concat(), |p| {
        let (batch, place) = p.split_at(batch.len());
        let of = |x: &Numbers, i, j| match x.shape.len() {
            2 => x.at(&[i, j]),
            _ => x.at(&[batch, &[i, j]].concat()),
        };
        (0..inner).map(|k| of(a, place[0], k) * of(b, k, place[1])).sum()
    })
}

fn shaped(x: &Numbers, shape: &[usize]) -> Numbers {
    Numbers::given(shape, &x.numbers)
}

#[test]
fn products_of_vectors_and_matrices() {
    for (operation, second, left, right) in [
        ("mm.default", "mat2", vec![2, 3], vec![3, 4]),
        ("bmm.default", "mat2", vec![2, 3, 4], vec![2, 4, 5]),
        ("matmul.default", "other", vec![2, 3], vec![3, 4]),
        ("matmul.default", "other", vec![2, 3, 4], vec![4, 5]),
        ("matmul.default", "other", vec![3, 4], vec![2, 4, 5]),
        ("matmul.default", "other", vec![2, 2, 3, 4], vec![2, 2, 4, 5]),
        ("matmul.default", "other", vec![3], vec![3, 4]),
        ("matmul.default", "other", vec![2, 3], vec![3]),
        ("matmul.default", "other", vec![4], vec![2, 4, 5]),
        ("matmul.default", "other", vec![2, 3, 4], vec![4]),
        ("matmul.default", "other", vec![3], vec![3]),
        ("mv.default", "vec", vec![2, 3], vec![3]),
        ("dot.default", "tensor", vec![3], vec![3]),
        ("vdot.default", "other", vec![3], vec![3]),
    ] {
        let (a, b) = (Numbers::normal("a", &left), Numbers::normal("b", &right));
        let row = if left.len() == 1 { shaped(&a, &[1, left[0]]) } else { a.clone() };
        let column = if right.len() == 1 { shaped(&b, &[right[0], 1]) } else { b.clone() };
        let y = product(&row, &column);
        let mut shape = y.shape.clone();
        if right.len() == 1 {
            shape.pop();
        }
        if left.len() == 1 {
            shape.remove(shape.len() - if right.len() == 1 { 1 } else { 2 });
        }
        let given = [("self", a.real()), (second, b.real())];
        same_for(operation, &given, &[shaped(&y, &shape)], 2);
    }
    let number = [
        ("self", Numbers::given(&[], &[1.0]).real()),
        ("other", Numbers::normal("b", &[2]).real()),
    ];
    refused("matmul.default", &number, "a tensor without axes");
}

#[test]
fn dense_maps_have_their_weight_turned() {
    let (weight, bias) = (Numbers::normal("w", &[4, 3]), Numbers::normal("bias", &[4]));
    let map = |x: &Numbers, place: &[usize], shift: f64| -> f64 {
        let (out, rest) = place.split_last().expect("an axis");
        let sum: f64 = (0..3).map(|k| x.at(&[rest, &[k]].concat()) * weight.at(&[*out, k])).sum();
        sum + shift * bias.at(&[*out])
    };
    for leading in [vec![], vec![2], vec![2, 5]] {
        let x = Numbers::normal("x", &[leading.as_slice(), &[3]].concat());
        let shape = [leading.as_slice(), &[4]].concat();
        let given = [("input", x.real()), ("weight", weight.real()), ("bias", bias.real())];
        same_for("linear.default", &given, &[Numbers::of(&shape, |p| map(&x, p, 1.0))], 3);
        same_for("linear.default", &given[..2], &[Numbers::of(&shape, |p| map(&x, p, 0.0))], 2);
    }
}

#[test]
fn a_product_is_added_with_two_factors() {
    let [a, b] = [("a", [2, 3]), ("b", [3, 4])].map(|(name, shape)| Numbers::normal(name, &shape));
    let both = product(&a, &b);
    for shape in [vec![4], vec![2, 4]] {
        let added = Numbers::normal("added", &shape);
        let at = |p: &[usize]| if shape.len() == 1 { added.at(&p[1..]) } else { added.at(p) };
        for (beta, alpha) in [(1.0, 1.0), (0.5, 1.0), (1.0, -2.0), (0.25, 3.0)] {
            let given = [
                ("mat1", a.real()),
                ("self", added.real()),
                ("mat2", b.real()),
                ("beta", Float(beta)),
                ("alpha", Float(alpha)),
            ];
            let expected = Numbers::of(&[2, 4], |p| beta * at(p) + alpha * both.at(p));
            same_for("addmm.default", &given, &[expected], 3);
        }
    }
    let (a, b) = (Numbers::normal("a", &[2, 3, 4]), Numbers::normal("b", &[2, 4, 5]));
    let added = Numbers::normal("added", &[2, 3, 5]);
    let both = product(&a, &b);
    let given = [
        ("batch1", a.real()),
        ("batch2", b.real()),
        ("self", added.real()),
        ("beta", Float(2.0)),
        ("alpha", Float(0.5)),
    ];
    let expected = Numbers::of(&[2, 3, 5], |p| 2.0 * added.at(p) + 0.5 * both.at(p));
    same_for("baddbmm.default", &given, &[expected], 3);
}

/// Attention of each head by its definition; `score` is what a mask makes of a score.
fn attention(
    [q, k, v]: [&Numbers; 3],
    scale: f64,
    score: impl Fn(&[usize], f64) -> f64,
) -> Numbers {
    let groups = q.shape[1] / k.shape[1];
    let (queries, keys) = (q.shape[2], k.shape[2]);
    Numbers::of(&[q.shape[0], q.shape[1], queries, v.shape[3]], |p| {
        let (n, head) = (p[0], p[1] / groups);
        let scores: Vec<f64> = (0..keys)
            .map(|s| {
                let width = 0..q.shape[3];
                let dot: f64 =
                    width.map(|e| q.at(&[n, p[1], p[2], e]) * k.at(&[n, head, s, e])).sum();
                score(&[n, p[1], p[2], s], scale * dot)
            })
            .collect();
        let sum: f64 = scores.iter().map(|score| score.exp()).sum();
        (0..keys).map(|s| scores[s].exp() / sum * v.at(&[n, head, s, p[3]])).sum()
    })
}

fn heads(batch: usize, count: usize, of_keys: usize) -> [Numbers; 3] {
    [("q", [batch, count, 3, 4]), ("k", [batch, of_keys, 5, 4]), ("v", [batch, of_keys, 5, 2])]
        .map(|(name, shape)| Numbers::normal(name, &shape))
}

const ATTENTION: &str = "scaled_dot_product_attention.default";

fn of(qkv: &[Numbers; 3], more: Arguments<'_>) -> Vec<(&'static str, Bound)> {
    let [q, k, v] = qkv;
    [&[("query", q.real()), ("key", k.real()), ("value", v.real())], more].concat()
}

#[test]
fn attention_sees_what_its_mask_shows() {
    let qkv = heads(2, 2, 2);
    let all = || [&qkv[0], &qkv[1], &qkv[2]];
    let expected = |score: &dyn Fn(&[usize], f64) -> f64| [attention(all(), 0.5, score)];
    same(ATTENTION, &of(&qkv, &[]), &expected(&|_, score| score));
    let scaled = [attention(all(), 2.0, |_, score| score)];
    same(ATTENTION, &of(&qkv, &[("scale", Float(2.0))]), &scaled);
    let causal = |p: &[usize], score| if p[3] <= p[2] { score } else { f64::NEG_INFINITY };
    same(ATTENTION, &of(&qkv, &[("is_causal", Bool(true))]), &expected(&causal));

    let shown = Numbers::of(&[3, 5], |p| if (p[0] + p[1]) % 3 == 0 { 0.0 } else { 1.0 });
    let hides = |p: &[usize], score| match shown.at(&p[2..]) {
        0.0 => f64::NEG_INFINITY,
        _ => score,
    };
    same(ATTENTION, &of(&qkv, &[("attn_mask", shown.truth())]), &expected(&hides));
    let nothing = Numbers::of(&[3, 5], |_| 1.0);
    let given = of(&qkv, &[("attn_mask", nothing.truth())]);
    same(ATTENTION, &given, &expected(&|_, score| score));
    let added = Numbers::normal("mask", &[1, 1, 3, 5]);
    let adds = |p: &[usize], score: f64| score + added.at(&[0, 0, p[2], p[3]]);
    same_known(ATTENTION, &of(&qkv, &[("attn_mask", added.real())]), &expected(&adds));
    let by_head = Numbers::normal("mask", &[2, 3, 5]);
    let adds = |p: &[usize], score: f64| score + by_head.at(&p[1..]);
    same_known(ATTENTION, &of(&qkv, &[("attn_mask", by_head.real())]), &expected(&adds));
    let shown = Numbers::of(&[2, 1, 1, 5], |p| if p[0] == 1 && p[3] > 2 { 0.0 } else { 1.0 });
    let hides = |p: &[usize], score| match shown.at(&[p[0], 0, 0, p[3]]) {
        0.0 => f64::NEG_INFINITY,
        _ => score,
    };
    same(ATTENTION, &of(&qkv, &[("attn_mask", shown.truth())]), &expected(&hides));
}

#[test]
fn heads_share_keys_where_they_are_asked_to() {
    let grouped = heads(1, 4, 2);
    let [q, k, v] = &grouped;
    let expected = [attention([q, k, v], 0.5, |_, score| score)];
    same(ATTENTION, &of(&grouped, &[("enable_gqa", Bool(true))]), &expected);
    refused(ATTENTION, &of(&grouped, &[]), "with other heads");
    refused(ATTENTION, &of(&heads(2, 4, 2), &[("enable_gqa", Bool(true))]), "with other heads");
    let by_head = Numbers::normal("mask", &[4, 3, 5]);
    let given = [("enable_gqa", Bool(true)), ("attn_mask", by_head.real())];
    refused(ATTENTION, &of(&grouped, &given), "a mask for each head beside grouped heads");
}

#[test]
fn attention_that_is_no_function_of_three_tensors_is_refused() {
    let qkv = heads(2, 2, 2);
    let random = [("dropout_p", Float(0.1))];
    refused(ATTENTION, &of(&qkv, &random), "draws random numbers");
    same_known(
        ATTENTION,
        &of(&qkv, &[("dropout_p", Float(0.0))]),
        &[attention([&qkv[0], &qkv[1], &qkv[2]], 0.5, |_, score| score)],
    );
    let mask = Numbers::normal("mask", &[3, 5]);
    let both = [("is_causal", Bool(true)), ("attn_mask", mask.real())];
    refused(ATTENTION, &of(&qkv, &both), "a mask beside is_causal");
    let flat = [("query", mask.real()), ("key", mask.real()), ("value", mask.real())];
    refused(ATTENTION, &flat, "queries of shape [3, 5]");
}
