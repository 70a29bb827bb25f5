//! Recurrent networks, step by step: LSTM, GRU and Elman's network, with layers and directions.

use entk_models::{Activation, Function, Stack};

use crate::{
    rules::{
        dense::dense,
        pointwise::{add, apply, multiply},
        rule::Rule,
        shape::{concatenated, part, permuted},
    },
    trace::{Refusal, Ruled, Traced, Tracer, call::Call},
};

pub(crate) const RULES: &[(&str, Rule)] = &[
    ("lstm.input", Rule::Many(|t, c| recurrent(t, c, Cell::Lstm))),
    ("gru.input", Rule::Many(|t, c| recurrent(t, c, Cell::Gru))),
    ("rnn_tanh.input", Rule::Many(|t, c| recurrent(t, c, Cell::Elman(Activation::Tanh)))),
    ("rnn_relu.input", Rule::Many(|t, c| recurrent(t, c, Cell::Elman(Activation::Relu)))),
];

/// How a state follows from the one before.
#[derive(Clone, Copy)]
enum Cell {
    /// Gates i, f, g, o.
    Lstm,
    /// Gates r, z, n.
    Gru,
    Elman(Activation),
}

/// Weights of one layer in one direction.
struct Weights<'a> {
    input: &'a Traced,
    hidden: &'a Traced,
    biases: Option<[&'a Traced; 2]>,
}

/// The hidden state and, of an LSTM, that of the cell.
#[derive(Clone)]
struct State {
    hidden: Traced,
    cell: Option<Traced>,
}

fn recurrent(t: &mut Tracer, call: &Call, cell: Cell) -> Ruled<Vec<Traced>> {
    call.ignore(&["dropout"]);
    if call.bool_or("train", false)? {
        return Err(Refusal::in_training("is in training mode"));
    }
    let (layers, both) = (call.count("num_layers", 0)?, call.bool("bidirectional")?);
    let biased = call.bool("has_biases")?;
    let directions = 1 + usize::from(both);
    let parameters = call.tensors("params")?;
    let each = if biased { 4 } else { 2 };
    if parameters.len() != layers * directions * each {
        return Err(Refusal::new(format!(
            "{} weights of {layers} layers in {directions} directions (projections have no rule)",
            parameters.len()
        )));
    }
    let initial = match cell {
        Cell::Lstm => call.tensors("hx")?.to_vec(),
        _ => vec![call.tensor("hx")?.clone()],
    };
    let batch_first = call.bool_or("batch_first", false)?;
    let mut x = call.tensor("input")?.clone();
    if x.rank() != 3 {
        return Err(Refusal::new(format!("takes a batch of sequences, got {:?}", x.shape)));
    }
    if batch_first {
        x = permuted(t, &x, &[1, 0, 2])?;
    }
    let mut last: Vec<State> = Vec::new();
    for layer in 0..layers {
        let mut outputs = Vec::with_capacity(directions);
        for direction in 0..directions {
            let at = layer * directions + direction;
            let weights = match &parameters[at * each..(at + 1) * each] {
                [input, hidden, b, c] => Weights { input, hidden, biases: Some([b, c]) },
                [input, hidden, ..] => Weights { input, hidden, biases: None },
                _ => return Err(Refusal::new("too few weights")),
            };
            let start = start(t, &initial, at)?;
            let (y, end) = run(t, cell, &weights, &x, start, direction == 1)?;
            outputs.push(y);
            last.push(end);
        }
        x = concatenated(t, &outputs.iter().collect::<Vec<_>>(), 2)?;
    }
    if batch_first {
        x = permuted(t, &x, &[1, 0, 2])?;
    }
    let hidden: Vec<&Traced> = last.iter().map(|state| &state.hidden).collect();
    let mut results = vec![x, t.apply(Stack::new(0), &hidden)?];
    let cells: Vec<&Traced> = last.iter().filter_map(|state| state.cell.as_ref()).collect();
    if !cells.is_empty() {
        results.push(t.apply(Stack::new(0), &cells)?);
    }
    Ok(results)
}

/// The states before the first step.
fn start(t: &mut Tracer, initial: &[Traced], at: usize) -> Ruled<State> {
    let mut states = Vec::with_capacity(2);
    for state in initial {
        states.push(t.apply(entk_models::Select::new(0, at), &[state])?);
    }
    let cell = (states.len() > 1).then(|| states.pop()).flatten();
    let hidden = states.pop().ok_or_else(|| Refusal::new("no initial state"))?;
    Ok(State { hidden, cell })
}

/// One layer in one direction over a sequence (T, B, I): its states (T, B, H), and the last one.
fn run(
    t: &mut Tracer,
    cell: Cell,
    weights: &Weights<'_>,
    x: &Traced,
    mut state: State,
    backwards: bool,
) -> Ruled<(Traced, State)> {
    let [of_input, of_hidden] = match weights.biases {
        Some(biases) => biases.map(Some),
        None => [None; 2],
    };
    let all = dense(t, x, weights.input, of_input)?;
    let steps = x.shape[0];
    let mut states = vec![None; steps];
    let order: Vec<usize> = match backwards {
        true => (0..steps).rev().collect(),
        false => (0..steps).collect(),
    };
    for step in order {
        let input = t.apply(entk_models::Select::new(0, step), &[&all])?;
        let hidden = dense(t, &state.hidden, weights.hidden, of_hidden)?;
        state = next(t, cell, &input, &hidden, &state)?;
        states[step] = Some(state.hidden.clone());
    }
    let states: Vec<&Traced> = states.iter().flatten().collect();
    Ok((t.apply(Stack::new(0), &states)?, state))
}

/// The gate of this number, (B, H) of (B, G H).
fn gate(t: &mut Tracer, gates: &Traced, number: usize, width: usize) -> Ruled<Traced> {
    part(t, gates, gates.rank() - 1, number * width..(number + 1) * width)
}

fn next(
    t: &mut Tracer,
    cell: Cell,
    input: &Traced,
    hidden: &Traced,
    state: &State,
) -> Ruled<State> {
    let Some(&width) = state.hidden.shape.last() else {
        return Err(Refusal::new("a state without axes"));
    };
    match cell {
        Cell::Elman(activation) => {
            let sum = add(t, input, hidden)?;
            Ok(State { hidden: apply(t, activation, &sum)?, cell: None })
        }
        Cell::Gru => {
            let mut gates = Vec::with_capacity(2);
            for number in 0..2 {
                let (a, b) = (gate(t, input, number, width)?, gate(t, hidden, number, width)?);
                let sum = add(t, &a, &b)?;
                gates.push(apply(t, Activation::Sigmoid, &sum)?);
            }
            let reset = gate(t, hidden, 2, width)?;
            let reset = multiply(t, &gates[0], &reset)?;
            let new = gate(t, input, 2, width)?;
            let new = add(t, &new, &reset)?;
            let new = apply(t, Activation::Tanh, &new)?;
            // (1 - z) n + z h.
            let kept = multiply(t, &gates[1], &state.hidden)?;
            let share = apply(t, Function::Affine(-1.0, 1.0), &gates[1])?;
            let taken = multiply(t, &share, &new)?;
            Ok(State { hidden: add(t, &taken, &kept)?, cell: None })
        }
        Cell::Lstm => {
            let before = state.cell.as_ref().ok_or_else(|| Refusal::new("no state of the cell"))?;
            let sum = add(t, input, hidden)?;
            let mut gates = Vec::with_capacity(4);
            for number in 0..4 {
                let activation = if number == 2 { Activation::Tanh } else { Activation::Sigmoid };
                let gate = gate(t, &sum, number, width)?;
                gates.push(apply(t, activation, &gate)?);
            }
            let kept = multiply(t, &gates[1], before)?;
            let taken = multiply(t, &gates[0], &gates[2])?;
            let cell = add(t, &kept, &taken)?;
            let seen = apply(t, Activation::Tanh, &cell)?;
            Ok(State { hidden: multiply(t, &gates[3], &seen)?, cell: Some(cell) })
        }
    }
}
