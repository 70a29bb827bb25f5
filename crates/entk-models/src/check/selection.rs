//! Cotangents that are asked for without others: `vjp` has to give what it gives when all are asked
//! for. An operation alone goes in, errors by the names of its inputs come out. Called by the
//! public checks and by the guard of kernels.

use candle_core::Tensor;

use crate::{
    check::point::{Point, distance, larger, normal},
    error::Result,
    graph::{
        Source,
        flow::Flow,
        promise::{by_factor_or_cotangent, ensure_sizes},
    },
    operation::in_operation,
};

/// For each input of an operation alone the largest error of its cotangent where those of others
/// are not asked for, against that among all; empty where no two may be asked for.
pub(crate) fn selections(at: &Point) -> Result<Vec<(String, f64)>> {
    let Source::Result { operation, inputs } = &at.graph.nodes[at.output].source else {
        return Ok(Vec::new());
    };
    let flow = Flow::new(&at.graph, at.output, &at.params, false)?;
    let [_, asked] = by_factor_or_cotangent(&**operation, &flow.wanted(at.output, inputs, true));
    let places: Vec<usize> = (0..asked.len()).filter(|place| asked[*place]).collect();
    let (y, kept) = at.forward()?;
    let (cache, dy) = (kept.cache(at.output)?, normal(&y, 5)?);
    let vjp = |wanted: &[bool]| {
        let cotangents = in_operation(&**operation, operation.vjp(&cache, &dy, wanted))?;
        let (promised, got) = (&[inputs.len()], &[cotangents.len()]);
        ensure_sizes(&**operation, "number of its cotangents", promised, got)?;
        Ok::<_, crate::error::ModelError>(cotangents)
    };
    let all = vjp(&asked)?;
    let mut errors: Vec<_> = places.iter().map(|place| (at.name_of(inputs[*place]), 0.0)).collect();
    let sets = sets(places.len());
    for set in &sets {
        let is_in = |place| set.iter().any(|number| places[*number] == place);
        let some = vjp(&(0..asked.len()).map(is_in).collect::<Vec<_>>())?;
        for &number in set {
            let (place, error) = (places[number], &mut errors[number].1);
            *error = larger(*error, difference(all[place].as_ref(), some[place].as_ref())?);
        }
    }
    Ok(if sets.is_empty() { Vec::new() } else { errors })
}

/// Sets of numbers below `count`: each by itself, and so many more that of any two numbers some set
/// of several has the first without the second, if there are as many.
fn sets(count: usize) -> Vec<Vec<usize>> {
    let bits = (0..usize::BITS).take_while(|bit| count > 1 << bit);
    let half = |bit, side| (0..count).filter(move |number| number >> bit & 1 == side).collect();
    let halves = bits.flat_map(|bit| [half(bit, 0), half(bit, 1)]);
    let alone = (0..count).map(|number| vec![number]).filter(|_| count > 1);
    alone.chain(halves.filter(|set: &Vec<usize>| set.len() > 1)).collect()
}

/// The relative error of a cotangent; none is zero.
fn difference(of_all: Option<&Tensor>, of_some: Option<&Tensor>) -> Result<f64> {
    match (of_all, of_some) {
        (Some(a), Some(b)) if a.dims() == b.dims() => distance(a, b),
        (Some(one), None) | (None, Some(one)) => distance(one, &one.zeros_like()?),
        (Some(_), Some(_)) => Ok(f64::INFINITY),
        (None, None) => Ok(0.0),
    }
}
