//! Operations made of closures beside those with rules of their own, and closures that candle
//! differentiates wrongly.

use candle_core::{DType, Tensor};
use candle_nn::{Module, ModuleT, VarBuilder, VarMap};
use entk_models::{
    Activation, Affine, Closure, Dense, Graph, Initializer, Model, ModelError, Network, ParamSpec,
    Params, Result,
    check::{self, Input},
};
use entk_testing::{needs_cpu, normal, tensor_error, test_device};
use proptest::prelude::*;

/// Round-off of f64 in sums of a few hundred terms.
const ROUND_OFF: f64 = 1e-12;

/// tanh(x W^T + b), twice with the same weights, and a head: of operations, or of closures.
fn network(of_closures: bool) -> Result<Network> {
    let weight =
        |name: &str, shape: &[usize]| ParamSpec::trainable(name, shape, Initializer::Normal);
    let mut graph = Graph::new();
    let x = graph.input(&[4]);
    let (w, b) = (graph.parameter(weight("w", &[4, 4]))?, graph.parameter(weight("b", &[4]))?);
    let mut h = x;
    for _ in 0..2 {
        h = if of_closures {
            let dense = Closure::new(
                "dense tanh",
                |shapes| Ok(vec![shapes[1][0]]),
                |t| t[0].matmul(&t[1].squeeze(0)?.t()?)?.broadcast_add(&t[2])?.tanh(),
            );
            graph.apply(dense, &[h, w, b])?
        } else {
            let h = graph.apply(Affine, &[h, w, b])?;
            graph.apply(Activation::Tanh, &[h])?
        };
    }
    let output = graph.add(&Dense::new("head", 4, 3), h)?;
    graph.network(output)
}

fn rows(network: &Network, params: &Params, x: &Tensor, u: &Tensor) -> Result<Vec<Tensor>> {
    let mut factors = network.sweep(params, x)?.factors(u)?;
    factors.sort_by_key(|factor| factor.names().join(" "));
    factors.into_iter().map(|factor| factor.rows()).collect()
}

#[test]
fn a_closure_equals_the_operations_that_it_is_made_of() -> Result<()> {
    let (ours, closures) = (network(false)?, network(true)?);
    let theta = ours.init(1, DType::F64, test_device())?;
    let v = Params::standard_normal(&ours.specs(), 2, DType::F64, test_device())?;
    let (x, u) = (normal(&[5, 4], 3)?, normal(&[5, 3], 4)?);
    let (a, b) = (ours.sweep(&theta, &x)?, closures.sweep(&theta, &x)?);
    for (what, error) in [
        ("outputs", tensor_error(b.outputs(), a.outputs())?),
        ("jvp", tensor_error(&b.jvp(&v)?, &a.jvp(&v)?)?),
        ("vjp", b.vjp(&u)?.sub(&a.vjp(&u)?)?.norm()? / a.vjp(&u)?.norm()?),
    ] {
        assert!(error <= ROUND_OFF, "{what}: {error:e}");
    }
    let flat = |rows: Vec<Tensor>| Tensor::cat(&rows, 1);
    // The weight and its bias are one factor there and two here.
    let squares = |rows: Tensor| rows.sqr()?.sum(1);
    let (a, b) = (rows(&ours, &theta, &x, &u)?, rows(&closures, &theta, &x, &u)?);
    let error = tensor_error(&squares(flat(b)?)?, &squares(flat(a)?)?)?;
    assert!(error <= ROUND_OFF, "{error:e}");
    Ok(())
}

#[test]
fn a_closure_passes_every_check_in_both_precisions() -> Result<()> {
    for dtype in [DType::F64, DType::F32] {
        let cast = |t: Tensor| t.to_dtype(dtype);
        // Attention of one head, from parts that candle differentiates correctly.
        let attention = Closure::new(
            "attention",
            |s| Ok(vec![s[0][0], s[2][1]]),
            |t| {
                let scores = t[0].matmul(&t[1].t()?.contiguous()?)?;
                candle_nn::ops::softmax(&scores, 2)?.matmul(&t[2])
            },
        );
        let inputs = [
            Input::Each(cast(normal(&[3, 2, 4], 1)?)?),
            Input::Shared(cast(normal(&[3, 4], 2)?)?),
            Input::Each(cast(normal(&[3, 3, 5], 3)?)?),
        ];
        check::operation(attention, &inputs)?.ensure()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// `<u, J v> = <J^T u, v>` for a map with products, powers and a sum.
    #[test]
    fn tangents_and_cotangents_are_adjoint(n in 1usize..4, d in 1usize..6, seed in 0u64..1000) {
        let map = Closure::new("map", |shapes| Ok(vec![shapes[0][0] + 1]), |t| {
            let product = (&t[0] * t[1].sin()?)?;
            Tensor::cat(&[&product.sqr()?, &product.sum_keepdim(1)?], 1)
        });
        let mut graph = Graph::new();
        let x = graph.input(&[d]);
        let w = graph.parameter(ParamSpec::trainable("w", &[d], Initializer::Normal)).unwrap();
        let y = graph.apply(map, &[x, w]).unwrap();
        let network = graph.network(y).unwrap();
        let theta = network.init(seed, DType::F64, test_device()).unwrap();
        let v = Params::standard_normal(&network.specs(), seed, DType::F64, test_device()).unwrap();
        let u = normal(&[n, d + 1], seed).unwrap();
        let sweep = network.sweep(&theta, &normal(&[n, d], seed + 1).unwrap()).unwrap();
        let (jv, gradient) = (sweep.jvp(&v).unwrap(), sweep.vjp(&u).unwrap());
        let left = (jv * u).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        let right = gradient.dot(&v).unwrap();
        let scale = gradient.norm().unwrap() * v.norm().unwrap();
        prop_assert!((left - right).abs() <= ROUND_OFF * scale, "{left} {right}");
    }
}

fn at_random(closure: Closure, d: usize) -> Result<(Network, Params, Tensor)> {
    let mut graph = Graph::new();
    let x = graph.input(&[d]);
    let h = graph.add(&Dense::new("fc", d, d), x)?;
    let y = graph.apply(closure, &[h])?;
    let network = graph.network(y)?;
    let theta = network.init(5, DType::F64, test_device())?;
    Ok((network, theta, normal(&[3, d], 6)?))
}

#[test]
fn what_candle_differentiates_wrongly_is_refused_before_a_kernel() -> Result<()> {
    if needs_cpu("candle-nn without its feature has no softmax there") {
        return Ok(());
    }
    let same = |shapes: &[&[usize]]| Ok(shapes[0].to_vec());
    // Without a gradient at all.
    let softmax = Closure::new("softmax", same, |t| candle_nn::ops::softmax_last_dim(&t[0]));
    let (network, theta, x) = at_random(softmax, 4)?;
    let sweep = network.sweep(&theta, &x)?;
    let error = sweep.vjp(&sweep.outputs().ones_like()?).expect_err("no gradient");
    assert!(matches!(error, ModelError::NoGradient { input: 0, .. }), "{error}");
    // With a part of one, which is worse.
    let beside = Closure::new("residual softmax", same, |t| {
        &t[0] + (candle_nn::ops::softmax_last_dim(&t[0])? * 8.0)?
    });
    let (network, theta, x) = at_random(beside, 4)?;
    let error = network.verify_active_parameters(&theta, &x).expect_err("a wrong gradient");
    let ModelError::WrongDerivative { operation, .. } = &error else { panic!("{error}") };
    assert_eq!(operation, "Closure(\"residual softmax\")");
    Ok(())
}

#[test]
fn broken_promises_and_numbers_are_refused_by_name() -> Result<()> {
    let same = |shapes: &[&[usize]]| Ok(shapes[0].to_vec());
    let of = |closure: Closure| {
        let (network, theta, x) = at_random(closure, 4)?;
        network.forward(&theta, &x)
    };
    for (closure, expected) in [
        (Closure::new("sum", same, |t| t[0].sum_all()), "Closure(\"sum\"): the result of one"),
        (
            Closure::new("log", same, |t| t[0].abs()?.neg()?.log()),
            "result of Closure(\"log\") holds NaN",
        ),
        (Closure::new("product", same, |t| t[0].matmul(&t[0])), "Closure(\"product\"): shape"),
    ] {
        let error = of(closure).expect_err("an error").to_string();
        assert!(error.contains(expected), "{error}");
    }
    let (network, theta, x) = at_random(Closure::new("root", same, |t| t[0].sqr()?.sqrt()), 4)?;
    let zero = theta.zeros_like()?;
    let sweep = network.sweep(&zero, &x)?;
    let error = sweep.vjp(&sweep.outputs().ones_like()?).expect_err("a derivative of 0 / 0");
    assert!(error.to_string().contains("cotangent of Closure(\"root\") holds NaN"), "{error}");
    Ok(())
}

/// A model of candle-nn with a norm in evaluation.
fn build(builder: VarBuilder<'static>) -> candle_core::Result<impl Module> {
    let conv = candle_nn::conv2d(2, 3, 3, Default::default(), builder.pp("conv"))?;
    let norm = candle_nn::batch_norm(3, 1e-5, builder.pp("norm"))?;
    let head = candle_nn::linear(3 * 2 * 2, 2, builder.pp("head"))?;
    Ok(candle_nn::func(move |x| {
        let h = norm.forward_t(&conv.forward(x)?, false)?.gelu_erf()?;
        head.forward(&h.flatten_from(1)?)
    }))
}

#[test]
fn a_model_of_candle_is_a_network() -> Result<()> {
    if needs_cpu("candle draws no odd count of normal numbers there") {
        return Ok(());
    }
    let map = VarMap::new();
    let model = build(VarBuilder::from_varmap(&map, DType::F64, test_device()))?;
    let network = Network::from_candle("small", &[2, 4, 4], 2, &map, build)?;
    let theta = Params::from_var_map(&network.specs(), &map)?;
    assert_eq!((theta.iter().count(), theta.statistics().count()), (6, 2));
    let x = normal(&[4, 2, 4, 4], 7)?;
    let sweep = network.sweep(&theta, &x)?;
    let error = tensor_error(sweep.outputs(), &model.forward(&x)?)?;
    assert!(error <= ROUND_OFF, "{error:e}");

    // The sum of all rows against candle's gradient of the batch.
    let gradients = model.forward(&x)?.sum_all()?.backward()?;
    let summed = sweep.vjp(&sweep.outputs().ones_like()?)?;
    for (name, tensor) in summed.iter() {
        let variables = map.data().lock().expect("a map");
        let expected = gradients.get(&variables[name]).expect("a gradient");
        let error = tensor_error(tensor, expected)?;
        assert!(error <= ROUND_OFF, "{name}: {error:e}");
    }
    check::network(&network, &theta, &x)?.ensure()?;
    network.verify_active_parameters(&theta, &x)?;
    Ok(())
}
