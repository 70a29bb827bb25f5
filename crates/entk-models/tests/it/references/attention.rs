//! Attention against its parts, masks that are refused, and weights that others block or normalise.

use candle_core::{DType, Tensor};
use entk_models::{
    Affine, Attend, Graph, Initializer, MatMul, Model, ModelError, Network, NormMode, Normalize,
    Operation, ParamSpec, Params, Result, Softmax, check,
};
use entk_testing::{normal, tensor_error, test_device};

/// f64 round-off in exponentials of scores of size 10, and sums of a dozen terms.
const ROUND_OFF: f64 = 1e-13;
const SCALE: f64 = 0.3;

/// The cotangents of an operation's inputs, for that of its result.
type Cotangents = Box<dyn Fn(&Tensor) -> Result<Vec<Tensor>>>;

/// The result of one operation and its cotangents.
fn step<O: Operation>(operation: O, inputs: &[&Tensor]) -> Result<(Tensor, Cotangents)> {
    let (y, cache) = operation.forward(inputs, NormMode::Frozen)?;
    let wanted = vec![true; inputs.len()];
    let vjp =
        move |dy: &Tensor| Ok(operation.vjp(&cache, dy, &wanted)?.into_iter().flatten().collect());
    Ok((y, Box::new(vjp)))
}

/// `softmax(scale q k^T + mask) v` by its parts, and its cotangents.
fn by_parts(qkv: &[&Tensor], mask: &Tensor, dy: &Tensor) -> Result<Vec<Tensor>> {
    let (scores, of_scores) = step(MatMul::transposed(), &qkv[..2])?;
    let scores = (scores * SCALE)?.broadcast_add(mask)?;
    let (p, of_p) = step(Softmax::over(2), &[&scores])?;
    let (y, of_y) = step(MatMul::new(), &[&p, qkv[2]])?;
    let by_values = of_y(dy)?;
    let ds = (&of_p(&by_values[0])?[0] * SCALE)?;
    let by_scores = of_scores(&ds)?;
    Ok(vec![y, by_scores[0].clone(), by_scores[1].clone(), by_values[1].clone()])
}

#[test]
fn attention_is_its_parts() -> Result<()> {
    let [q, k, v] = [[3, 2, 4, 5], [3, 2, 6, 5], [3, 2, 6, 3]];
    let (q, k, v, dy) = (normal(&q, 1)?, normal(&k, 2)?, normal(&v, 3)?, normal(&[3, 2, 4, 3], 4)?);
    let hidden = f64::NEG_INFINITY;
    let added: Vec<f64> =
        (0..24).map(|at| if at % 5 == 3 { hidden } else { f64::from(at) / 9.0 }).collect();
    let causal: Vec<f64> = (0..24).map(|at| if at % 6 > at / 6 { hidden } else { 0.0 }).collect();
    let tensor = |mask: &Vec<f64>| Tensor::from_slice(mask, (4, 6), test_device());
    let (added, causal) = (tensor(&added)?, tensor(&causal)?);
    let attend = Attend::new().with_scale(SCALE);
    for (attend, mask) in [
        (attend.clone(), added.zeros_like()?),
        (attend.clone().with_mask(&added)?, added.clone()),
        (attend.clone().causal(), causal.clone()),
        (attend.with_mask(&added)?.causal(), (&added + &causal)?),
    ] {
        let (y, vjp) = step(attend, &[&q, &k, &v])?;
        let all = [vec![y], vjp(&dy)?].concat();
        for (ours, parts) in all.iter().zip(by_parts(&[&q, &k, &v], &mask, &dy)?) {
            let error = tensor_error(ours, &parts)?;
            assert!(error <= ROUND_OFF, "{error:e}");
        }
    }
    Ok(())
}

#[test]
fn masks_and_shapes_that_do_not_fit_are_errors() -> Result<()> {
    let shapes = [&[4, 2, 3][..], &[2, 2, 3], &[2, 2, 5]];
    let mask = |rows: [[f64; 2]; 2]| Tensor::new(&rows, test_device());
    let hidden = f64::NEG_INFINITY;
    assert_eq!(Attend::new().output_shape(&shapes)?, [4, 2, 5]);
    let blind = Attend::new().with_mask(&mask([[0.0, 0.0], [hidden, hidden]])?)?;
    assert!(matches!(blind.output_shape(&shapes), Err(ModelError::NoKey { query: 1 })));
    let ahead = Attend::new().with_mask(&mask([[hidden, 0.0], [0.0, 0.0]])?)?;
    assert!(ahead.output_shape(&shapes).is_ok());
    let blind = ahead.causal().output_shape(&shapes);
    assert!(matches!(blind, Err(ModelError::NoKey { query: 0 })));
    assert!(Attend::new().with_mask(&mask([[f64::NAN, 0.0], [0.0, 0.0]])?).is_err());
    assert!(Attend::new().with_mask(&mask([[0.0; 2]; 2])?.flatten_all()?).is_err());
    let wide = Attend::new().with_mask(&Tensor::zeros((2, 3), DType::F64, test_device())?)?;
    assert!(wide.output_shape(&shapes).is_err());
    for wrong in [
        [&[3, 2, 3][..], &[2, 2, 3], &[2, 2, 5]],
        [&[4, 2, 3], &[2, 2, 4], &[2, 2, 5]],
        [&[4, 2, 3], &[2, 2, 3], &[2, 5]],
        [&[4, 2, 3], &[0, 2, 3], &[0, 2, 5]],
    ] {
        assert!(Attend::new().output_shape(&wrong).is_err());
    }
    for heads in [0, 3] {
        assert!(Attend::new().packed(heads).output_shape(&[&[5, 12]]).is_err());
    }
    Ok(())
}

fn parameter(graph: &mut Graph, name: &str, shape: &[usize]) -> Result<entk_models::Value> {
    graph.parameter(ParamSpec::trainable(name, shape, Initializer::Normal))
}

/// Dense layers with weights `g v / ||v||` and `W + B A`.
fn computed_weights() -> Result<Network> {
    let mut graph = Graph::new();
    let x = graph.input(&[4]);
    let (v, g) = (parameter(&mut graph, "v", &[5, 4])?, parameter(&mut graph, "g", &[5, 1])?);
    let weight = graph.apply(Normalize::weight(), &[v, g])?;
    let h = graph.apply(Affine, &[x, weight])?;
    let (b, a) = (parameter(&mut graph, "b", &[3, 2])?, parameter(&mut graph, "a", &[2, 5])?);
    let weight = graph.apply(MatMul::new(), &[b, a])?;
    let output = graph.apply(Affine, &[h, weight])?;
    graph.network(output)
}

#[test]
fn computed_weights_pass_the_whole_check() -> Result<()> {
    let network = computed_weights()?;
    let theta = network.init(1, DType::F64, test_device())?;
    check::network(&network, &theta, &normal(&[4, 4], 2)?)?.ensure()
}

#[test]
fn a_factor_of_zero_blocks_the_other() -> Result<()> {
    let network = computed_weights()?;
    let theta = network.init(1, DType::F64, test_device())?;
    let zero = |name: &str, tensor: &Tensor| match name {
        "b" => tensor.zeros_like(),
        _ => Ok(tensor.clone()),
    };
    let tensors = theta.iter().map(|(name, t)| Ok((name.to_owned(), zero(name, t)?)));
    let theta = Params::new(tensors.collect::<Result<Vec<_>>>()?, Vec::new())?;
    let active = network.active_parameters(&theta)?;
    assert!(!active.contains("a"));
    assert!(["b", "g", "v"].iter().all(|name| active.contains(name)));
    Ok(())
}
