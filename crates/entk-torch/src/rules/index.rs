//! Entries chosen by whole numbers, known ones or those of the input, and products by letters of
//! axes.

use entk_models::{Embed, IndexSelect, MatMul, Sum, TableRows};

use crate::{
    archive::Elements,
    operations::{
        gather::{Gather, ScatterAdd},
        ids::ToIds,
    },
    rules::{
        dense::{dense, product},
        pointwise::{self, add, multiply},
        rule::Rule,
        shape::{expanded, part, permuted, reshaped},
    },
    trace::{
        Refusal, Ruled, Traced, Tracer,
        call::{Call, axis_of},
    },
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("embedding.default", Rule::One(embedding)),
    ("index.Tensor", Rule::One(index)),
    ("index_select.default", Rule::One(index_select)),
    ("gather.default", Rule::One(gather)),
    ("scatter_add.default", Rule::One(scatter_add)),
    ("index_add.default", Rule::One(index_add)),
    ("einsum.default", Rule::One(einsum)),
    ("bilinear.default", Rule::One(bilinear)),
];

/// Numbers that f32 holds exactly.
const EXACT: usize = 1 << 24;

fn embedding(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["scale_grad_by_freq", "sparse"]);
    let (table, ids) = (call.tensor("weight")?, call.tensor("indices")?);
    let padding = call.int_or("padding_idx", -1)?;
    let &[rows, width] = table.shape.as_slice() else {
        return Err(Refusal::new(format!("a table of shape {:?}", table.shape)));
    };
    if rows > EXACT {
        return Err(Refusal::new(format!("a table of {rows} rows; at most {EXACT}")));
    }
    if let Some(numbers) = ids.numbers()? {
        if padding >= 0 && numbers.contains(&(padding as f64)) && !table.is_constant() {
            return Err(Refusal::new(format!("known ids with the padding id {padding}")));
        }
        let numbers = numbers.into_iter().map(|number| number as u32).collect();
        let chosen = t.apply(TableRows::new(numbers), &[table])?;
        return reshaped(t, &chosen, &[ids.shape.as_slice(), &[width]].concat());
    }
    t.least_rows = Some(t.least_rows.map_or(rows, |least| least.min(rows)));
    let ids = t.apply_as(Elements::Whole, ToIds, &[ids])?;
    let embed = match u32::try_from(padding) {
        Ok(padding) => Embed::with_padding(padding),
        Err(_) => Embed::default(),
    };
    t.apply_as(Elements::Real, embed, &[&ids, table])
}

/// Known whole numbers, those below zero counted from the end of an axis.
fn from_front(numbers: Vec<f64>, length: usize) -> Ruled<Vec<usize>> {
    numbers.into_iter().map(|number| axis_of(number as i64, length)).collect()
}

/// Rows of a tensor by whole numbers: x (M, ..) and numbers (..) give (.., ..).
fn rows(t: &mut Tracer, x: &Traced, numbers: &Traced) -> Ruled<Traced> {
    let shape = [numbers.shape.as_slice(), &x.shape[1..]].concat();
    if let Some(known) = numbers.numbers()? {
        let known = from_front(known, x.shape[0])?;
        let chosen = t.apply(IndexSelect::new(0, known), &[x])?;
        return reshaped(t, &chosen, &shape);
    }
    let width = x.count() / x.shape[0].max(1);
    let flat = reshaped(t, x, &[x.shape[0], width])?;
    let column = reshaped(t, numbers, &[numbers.count(), 1])?;
    let all = expanded(t, &column, &[numbers.count(), width])?;
    let chosen = t.apply_as(x.elements, Gather { axis: 0 }, &[&flat, &all])?;
    reshaped(t, &chosen, &shape)
}

fn index(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, indices) = (call.tensor("self")?, call.optional_tensors("indices")?);
    let axes: Vec<usize> = (0..indices.len()).filter(|axis| indices[*axis].is_some()).collect();
    let given: Vec<&Traced> = indices.iter().flatten().collect();
    if indices.len() > x.rank() {
        return Err(Refusal::new(format!("{} indices of {:?}", indices.len(), x.shape)));
    }
    if given.is_empty() || given.iter().any(|index| index.elements == Elements::Truth) {
        return Err(Refusal::new(
            "chooses by truth values, so that the shape depends on data: use `torch.where`",
        ));
    }
    // One number for all indexed axes.
    let mut numbers: Option<Traced> = None;
    for (axis, index) in axes.iter().zip(&given) {
        let index = match index.numbers()? {
            Some(known) => {
                let known = from_front(known, x.shape[*axis])?;
                let known = known.into_iter().map(|number| number as f64).collect();
                Traced::constant(Elements::Whole, &index.shape, known)?
            }
            None => (*index).clone(),
        };
        numbers = Some(match numbers {
            None => index,
            Some(numbers) => {
                let shifted = pointwise::scaled(t, &numbers, x.shape[*axis] as f64)?;
                add(t, &shifted, &index)?
            }
        });
    }
    let Some(numbers) = numbers else { return Err(Refusal::new("no index")) };
    let others = (0..x.rank()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = axes.iter().copied().chain(others).collect();
    let turned = permuted(t, x, &order)?;
    let indexed = axes.iter().map(|axis| x.shape[*axis]).product();
    let merged = reshaped(t, &turned, &[&[indexed], &turned.shape[axes.len()..]].concat())?;
    let chosen = rows(t, &merged, &numbers)?;
    let neighbours = axes.windows(2).all(|pair| pair[1] == pair[0] + 1);
    if !neighbours || axes[0] == 0 {
        return Ok(chosen);
    }
    // Axes in front of neighbouring indexed ones stay in front.
    let (new, front) = (numbers.rank(), axes[0]);
    let order: Vec<usize> =
        (new..new + front).chain(0..new).chain(new + front..chosen.rank()).collect();
    permuted(t, &chosen, &order)
}

fn index_select(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, numbers) = (call.tensor("self")?, call.tensor("index")?);
    let axis = call.axis_or("dim", 0, x.rank())?;
    let mut order: Vec<usize> = (0..x.rank()).collect();
    order.swap(0, axis);
    let turned = permuted(t, x, &order)?;
    let chosen = rows(t, &turned, numbers)?;
    permuted(t, &chosen, &order)
}

/// x without the entries that numbers of a smaller shape never choose.
fn beside(t: &mut Tracer, x: &Traced, numbers: &Traced, axis: usize) -> Ruled<Traced> {
    let mut x = x.clone();
    for other in (0..x.rank()).filter(|other| *other != axis) {
        x = part(t, &x, other, 0..numbers.shape[other])?;
    }
    Ok(x)
}

fn gather(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["sparse_grad"]);
    let (x, numbers) = (call.tensor("self")?, call.tensor("index")?);
    let axis = call.axis_or("dim", 0, x.rank())?;
    if numbers.rank() != x.rank() {
        return Err(Refusal::new(format!("numbers {:?} beside {:?}", numbers.shape, x.shape)));
    }
    let x = beside(t, x, numbers, axis)?;
    t.apply_as(x.elements, Gather { axis }, &[&x, numbers])
}

/// `self` with entries added where the numbers say.
fn scatter_add(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, numbers) = (call.tensor("self")?, call.tensor("index")?);
    let axis = call.axis_or("dim", 0, x.rank())?;
    let mut source = call.tensor("src")?.clone();
    if numbers.rank() != source.rank() {
        return Err(Refusal::new(format!("numbers {:?} for {:?}", numbers.shape, source.shape)));
    }
    for axis in 0..source.rank() {
        source = part(t, &source, axis, 0..numbers.shape[axis])?;
    }
    let length = x.shape[axis];
    let sum = t.apply_as(x.elements, ScatterAdd { axis, length }, &[&source, numbers])?;
    if sum.shape != x.shape {
        return Err(Refusal::new(format!("numbers {:?} beside {:?}", numbers.shape, x.shape)));
    }
    add(t, x, &sum)
}

/// `self` with slices added where known numbers say.
fn index_add(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (x, source) = (call.tensor("self")?, call.tensor("source")?);
    let axis = call.axis_or("dim", 0, x.rank())?;
    let numbers = call.tensor("index")?;
    if source.rank() != x.rank() {
        return Err(Refusal::new(format!("{:?} added to {:?}", source.shape, x.shape)));
    }
    let mut shape = vec![1; source.rank()];
    shape[axis] = numbers.count();
    let numbers = reshaped(t, numbers, &shape)?;
    let numbers = expanded(t, &numbers, &source.shape)?;
    let source = pointwise::scaled(t, source, call.float_or("alpha", 1.0)?)?;
    let operation = ScatterAdd { axis, length: x.shape[axis] };
    let sum = t.apply_as(x.elements, operation, &[&source, &numbers])?;
    add(t, x, &sum)
}

/// A tensor with a letter for each axis.
#[derive(Clone)]
struct Lettered {
    tensor: Traced,
    letters: Vec<char>,
}

/// Products and sums by letters, two tensors at a time from the left.
fn einsum(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    call.ignore(&["path"]);
    let equation = call.text_or("equation", "")?.replace(' ', "");
    let refused = |why: &str| Refusal::new(format!("{equation:?}: {why}"));
    let Some((left, right)) = equation.split_once("->").filter(|_| !equation.contains('.')) else {
        return Err(refused("write every axis as a letter, and the result behind ->"));
    };
    let tensors = call.tensors("tensors")?;
    let mut operands = Vec::with_capacity(tensors.len());
    for (tensor, letters) in tensors.iter().zip(left.split(',')) {
        let letters: Vec<char> = letters.chars().collect();
        let distinct = letters.iter().enumerate().all(|(at, a)| !letters[..at].contains(a));
        if letters.len() != tensor.rank() || !distinct {
            return Err(refused("one letter for each axis, none twice in a tensor"));
        }
        operands.push(Lettered { tensor: tensor.clone(), letters });
    }
    if operands.len() != tensors.len() || left.split(',').count() != tensors.len() {
        return Err(refused("another number of tensors than of groups of letters"));
    }
    let result: Vec<char> = right.chars().collect();
    let mut operands = operands.into_iter();
    let mut all = operands.next().ok_or_else(|| refused("no tensor"))?;
    let rest: Vec<Lettered> = operands.collect();
    for (at, next) in rest.iter().enumerate() {
        let later = rest[at + 1..].iter().flat_map(|other| other.letters.iter());
        let needed: Vec<char> = result.iter().chain(later).copied().collect();
        all = contract(t, &all, next, &needed)?;
    }
    let all = summed(t, &all, &result)?;
    let place = |letter: &char| all.letters.iter().position(|other| other == letter);
    let order = result.iter().map(place).collect::<Option<Vec<_>>>();
    let order = order.ok_or_else(|| refused("a letter of the result that no tensor has"))?;
    permuted(t, &all.tensor, &order)
}

/// Sums over axes whose letters are not needed.
fn summed(t: &mut Tracer, x: &Lettered, needed: &[char]) -> Ruled<Lettered> {
    let gone: Vec<usize> =
        (0..x.letters.len()).filter(|axis| !needed.contains(&x.letters[*axis])).collect();
    if gone.is_empty() {
        return Ok(x.clone());
    }
    let letters = x.letters.iter().copied().filter(|letter| needed.contains(letter)).collect();
    Ok(Lettered { tensor: t.apply(Sum::over(&gone), &[&x.tensor])?, letters })
}

/// The product of two tensors, summed over letters that both have and nobody needs.
fn contract(t: &mut Tracer, a: &Lettered, b: &Lettered, needed: &[char]) -> Ruled<Lettered> {
    let needed_by = |other: &Lettered| [needed, other.letters.as_slice()].concat();
    let (a, b) = (summed(t, a, &needed_by(b))?, summed(t, b, &needed_by(a))?);
    let in_both = |letter: &&char| a.letters.contains(letter) && b.letters.contains(letter);
    let both: Vec<char> = a.letters.iter().filter(in_both).copied().collect();
    let (kept, met): (Vec<char>, Vec<char>) =
        both.iter().partition(|letter| needed.contains(letter));
    let own = |x: &Lettered| -> Vec<char> {
        x.letters.iter().copied().filter(|letter| !both.contains(letter)).collect()
    };
    let (left, right) = (own(&a), own(&b));
    let (tensor_a, sizes_a) = turned(t, &a, [&kept, &left, &met])?;
    let (tensor_b, sizes_b) = turned(t, &b, [&kept, &met, &right])?;
    let y = match kept.is_empty() {
        true => {
            let a = reshaped(t, &tensor_a, &tensor_a.shape[1..])?;
            let b = reshaped(t, &tensor_b, &tensor_b.shape[1..])?;
            product(t, &a, &b)?
        }
        false => t.apply(MatMul::new(), &[&tensor_a, &tensor_b])?,
    };
    let shape = [sizes_a[0].as_slice(), &sizes_a[1], &sizes_b[2]].concat();
    let letters = [kept, left, right].concat();
    Ok(Lettered { tensor: reshaped(t, &y, &shape)?, letters })
}

/// A tensor with its axes in three groups, each as one, and the sizes of each.
fn turned(
    t: &mut Tracer,
    x: &Lettered,
    groups: [&Vec<char>; 3],
) -> Ruled<(Traced, [Vec<usize>; 3])> {
    let axis = |letter: &char| x.letters.iter().position(|other| other == letter).unwrap_or(0);
    let order: Vec<usize> = groups.iter().flat_map(|group| group.iter().map(axis)).collect();
    let sizes =
        groups.map(|group| group.iter().map(|l| x.tensor.shape[axis(l)]).collect::<Vec<_>>());
    let merged: Vec<usize> = sizes.iter().map(|sizes| sizes.iter().product()).collect();
    let turned = permuted(t, &x.tensor, &order)?;
    Ok((reshaped(t, &turned, &merged)?, sizes))
}

/// `y_o = sum_ij a_i W_oij b_j + bias_o` over the last axes.
fn bilinear(t: &mut Tracer, call: &Call) -> Ruled<Traced> {
    let (a, b) = (call.tensor("input1")?, call.tensor("input2")?);
    let weight = call.tensor("weight")?;
    let &[outputs, left, right] = weight.shape.as_slice() else {
        return Err(Refusal::new(format!("a weight of shape {:?}", weight.shape)));
    };
    // Rows o i, so that one dense map of b gives all products with rows of W.
    let rows = reshaped(t, weight, &[outputs * left, right])?;
    let of_b = dense(t, b, &rows, None)?;
    let Some((_, leading)) = b.shape.split_last() else {
        return Err(Refusal::new("a bilinear map of a tensor without axes"));
    };
    let of_b = reshaped(t, &of_b, &[leading, &[outputs, left]].concat())?;
    let a = reshaped(t, a, &[leading, &[1, left]].concat())?;
    let product = multiply(t, &of_b, &a)?;
    let y = t.apply(Sum::over(&[product.rank() - 1]), &[&product])?;
    match call.optional_tensor("bias")? {
        Some(bias) => add(t, &y, bias),
        None => Ok(y),
    }
}
