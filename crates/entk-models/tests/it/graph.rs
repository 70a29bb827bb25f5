//! What graphs can that stacks of layers cannot: weights used twice, weights that follow from other
//! parameters, values with several readers, frozen parameters, inputs of several axes.

use candle_core::{DType, Tensor};
use entk_models::{
    Activation, AddActivated, Affine, AffineTransposed, Dense, Flatten, Graph, Initializer, Model,
    ModelError, Network, ParamSpec, Params, Result, Trainable, check,
};
use entk_testing::{normal, tensor_error, test_device};

/// Sums of at most a few hundred terms, in another order.
const ROUND_OFF: f64 = 1e-13;

fn weight(name: &str, shape: &[usize]) -> ParamSpec {
    ParamSpec::trainable(name, shape, Initializer::LecunNormal { fan_in: shape[shape.len() - 1] })
}

/// tanh(W tanh(W x + b) + b), and a head: a dense layer used twice.
fn used_twice() -> Result<Network> {
    let mut graph = Graph::new();
    let x = graph.input(&[5]);
    let (w, b) = (graph.parameter(weight("w", &[5, 5]))?, graph.parameter(weight("b", &[5]))?);
    let first = graph.apply(Affine, &[x, w, b])?;
    let first = graph.apply(Activation::Tanh, &[first])?;
    let second = graph.apply(Affine, &[first, w, b])?;
    let second = graph.apply(Activation::Tanh, &[second])?;
    let output = graph.add(&Dense::new("head", 5, 3), second)?;
    graph.network(output)
}

/// A weight that is tanh(V), and one that is the sum of two parameters.
fn computed_weights() -> Result<Network> {
    let mut graph = Graph::new();
    let x = graph.input(&[4]);
    let v = graph.parameter(weight("v", &[6, 4]))?;
    let w = graph.apply(Activation::Tanh, &[v])?;
    let b = graph.parameter(weight("b", &[6]))?;
    let h = graph.apply(Affine, &[x, w, b])?;
    let h = graph.apply(Activation::Gelu, &[h])?;
    let (one, two) =
        (graph.parameter(weight("one", &[2, 6]))?, graph.parameter(weight("two", &[2, 6]))?);
    let w = graph.apply(AddActivated { activation: Some(Activation::Silu) }, &[one, two])?;
    let output = graph.apply(Affine, &[h, w])?;
    graph.network(output)
}

/// A dense layer over the tokens of (3, 4, 5), and a value with three readers.
fn over_tokens() -> Result<Network> {
    let mut graph = Graph::new();
    let x = graph.input(&[3, 4, 5]);
    let h = graph.add(&Dense::new("tokens", 5, 6), x)?;
    let left = graph.apply(Activation::Tanh, &[h])?;
    let right = graph.apply(Activation::Silu, &[h])?;
    let sum = graph.apply(AddActivated::default(), &[left, right])?;
    let sum = graph.apply(AddActivated::default(), &[sum, h])?;
    let flat = graph.apply(Flatten, &[sum])?;
    let output = graph.add(&Dense::new("head", 72, 2).without_bias(), flat)?;
    graph.network(output)
}

fn cases() -> Result<Vec<(&'static str, Network)>> {
    let cases = [
        ("used twice", used_twice()?),
        ("computed weights", computed_weights()?),
        ("over tokens", over_tokens()?),
    ];
    Ok(cases.into())
}

fn point(network: &Network, batch: usize) -> Result<(Params, Tensor)> {
    let theta = network.init(3, DType::F64, test_device())?;
    let noise = Params::standard_normal(&network.specs(), 4, DType::F64, test_device())?;
    let x = normal(&[&[batch], network.input_shape()].concat(), 5)?;
    Ok((theta.add_scaled(0.2, &noise)?, x))
}

#[test]
fn derivatives_pass_the_whole_check() -> Result<()> {
    for (name, network) in cases()? {
        let (theta, x) = point(&network, 3)?;
        let report = check::network(&network, &theta, &x)?;
        report.ensure().map_err(|error| panic!("{name}: {error}\n{report}")).ok();
        assert!(!report.mixed.is_empty(), "{name}");
    }
    Ok(())
}

#[test]
fn a_weight_used_twice_has_one_factor() -> Result<()> {
    let network = used_twice()?;
    let (theta, x) = point(&network, 3)?;
    let factors = network.sweep(&theta, &x)?.output_factors(1)?;
    let names: Vec<_> = factors.iter().flat_map(|factor| factor.names()).collect();
    assert_eq!(names, ["head.weight", "head.bias", "b", "w"]);
    Ok(())
}

#[test]
fn frozen_parameters_have_no_gradient_and_change_no_other() -> Result<()> {
    for (name, network) in cases()? {
        let names: Vec<String> = network.specs().into_iter().map(|spec| spec.name).collect();
        let (theta, x) = point(&network, 3)?;
        let u = normal(&[3, network.outputs()], 6)?;
        let full = network.sweep(&theta, &x)?.vjp(&u)?;
        for frozen in &names {
            let other = network.clone().with_trainable(&Trainable::except([frozen]))?;
            let specs = other.specs();
            let (mut trained, mut kept) = (Vec::new(), Vec::new());
            for spec in &specs {
                let list = if spec.name == *frozen { &mut kept } else { &mut trained };
                list.push((spec.name.clone(), theta.get(&spec.name)?.clone()));
            }
            let theta = Params::new(trained, kept)?;
            let sweep = other.sweep(&theta, &x)?;
            let gradient = sweep.vjp(&u)?;
            assert!(gradient.iter().all(|(name, _)| name != frozen));
            for (of, part) in gradient.iter() {
                let error = tensor_error(part, full.get(of)?)?;
                assert!(error <= ROUND_OFF, "{name}, {frozen} frozen: {of}: {error:e}");
            }
            let factors = sweep.output_factors(0)?;
            assert!(factors.iter().all(|factor| !factor.names().contains(&frozen.as_str())));
        }
    }
    Ok(())
}

#[test]
fn wrong_graphs_are_errors() -> Result<()> {
    let mut graph = Graph::new();
    let x = graph.input(&[4]);
    let w = graph.parameter(weight("w", &[4, 4]))?;
    let again = graph.parameter(weight("w", &[4, 4]));
    assert!(matches!(again, Err(ModelError::DuplicateName { .. })));
    assert_eq!(graph.existing("w")?, w);
    assert!(matches!(graph.existing("v"), Err(ModelError::UnknownName { .. })));
    let of_input = graph.apply(Affine, &[w, x]);
    assert!(matches!(of_input, Err(ModelError::WeightOfInput { .. } | ModelError::Shape { .. })));
    let bias_of_input = graph.apply(AffineTransposed, &[x, w, x]);
    assert!(matches!(bias_of_input, Err(ModelError::WeightOfInput { .. })));
    let other = Graph::new().apply(Activation::Relu, &[x]);
    assert!(matches!(other, Err(ModelError::NoValue { .. })));
    assert!(matches!(graph.clone().network(w), Err(ModelError::Shape { .. })));
    let constant = graph.apply(Flatten, &[w])?;
    assert!(matches!(graph.network(constant), Err(ModelError::OneInput { .. })));
    let unknown = used_twice()?.with_trainable(&Trainable::only(["hat.*"]));
    assert!(matches!(unknown, Err(ModelError::UnknownName { .. })));
    let none = used_twice()?.with_trainable(&Trainable::except(["*"]));
    assert!(matches!(none, Err(ModelError::NoParameters)));
    Ok(())
}
