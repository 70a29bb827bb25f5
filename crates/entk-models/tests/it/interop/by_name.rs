//! Parameters by name: from maps in any order, from and to candle-nn, and models as modules.

use std::collections::HashMap;

use candle_core::{DType, Module, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use entk_models::{
    AsModule, Conv2d, Dense, Flatten, Model, ModelError, Network, Params, Result, Sequential,
    Trainable,
};
use entk_testing::{networks::named, normal, tensor_error, test_device};

/// Round-off of f64 through sums of a few hundred terms.
const ROUND_OFF: f64 = 1e-12;

fn network() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("conv", 2, 3, 3))
        .then(Flatten)
        .then(Dense::new("fc", 3 * 4 * 4, 2));
    Network::new(&[2, 4, 4], layers)
}

fn reversed(params: &Params) -> Result<Params> {
    let list = |entries: Vec<(&str, &Tensor)>| {
        entries.into_iter().rev().map(|(n, t)| (n.to_owned(), t.clone())).collect()
    };
    Params::new(list(params.iter().collect()), list(params.statistics().collect()))
}

#[test]
fn sets_in_another_order_are_the_same_vector() -> Result<()> {
    let network = named("resnet relu")?;
    let (a, b) = (
        network.init(1, DType::F64, test_device())?,
        Params::standard_normal(&network.specs(), 2, DType::F64, test_device())?,
    );
    let turned = reversed(&b)?;
    assert!((a.dot(&b)? - a.dot(&turned)?).abs() <= ROUND_OFF * a.norm()? * b.norm()?);
    assert_eq!(turned.sub(&b)?.norm()?, 0.0);
    assert_eq!(a.with_statistics_of(&turned)?.sub(&a)?.norm()?, 0.0);
    let names =
        |params: &Params| params.statistics().map(|(n, _)| n.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&a.with_statistics_of(&turned)?), names(&a));

    let x = normal(&[3, 2, 8, 8], 3)?;
    let (ordered, other) = (network.sweep(&a, &x)?, reversed(&a)?);
    let other = network.sweep(&other, &x)?;
    assert_eq!(tensor_error(other.outputs(), ordered.outputs())?, 0.0);
    let jvp = ordered.jvp(&b)?;
    assert_eq!(tensor_error(&ordered.jvp(&turned)?, &jvp)?, 0.0);
    assert_eq!(tensor_error(&other.jvp(&b)?, &jvp)?, 0.0);
    let u = jvp.ones_like()?;
    assert_eq!(other.vjp(&u)?.sub(&ordered.vjp(&u)?)?.norm()?, 0.0);
    Ok(())
}

#[test]
fn kinds_are_those_of_the_network() -> Result<()> {
    let network = network()?.with_trainable(&Trainable::only(["fc.*"]))?;
    let theta = network.init(4, DType::F64, test_device())?;
    let all = theta.iter().chain(theta.statistics()).map(|(n, t)| (n, t.clone()));
    let back = Params::from_named(&network.specs(), all.collect::<HashMap<_, _>>())?;
    assert_eq!(back.count(), theta.count());
    assert_eq!(back.statistics().count(), 2);
    assert_eq!(back.sub(&theta)?.norm()?, 0.0);
    Ok(())
}

#[test]
fn misfits_are_listed_and_half_precision_is_refused() -> Result<()> {
    let network = network()?;
    let theta = network.init(5, DType::F64, test_device())?;
    let entry = |(name, t): (&str, &Tensor)| (name.replace("fc.weight", "fc.w"), t.clone());
    let mut tensors: HashMap<String, Tensor> = theta.iter().map(entry).collect();
    tensors.insert("conv.bias".to_owned(), normal(&[1, 3], 6)?);
    let error = Params::from_named(&network.specs(), tensors).expect_err("a misfit");
    let ModelError::Names { missing, unexpected, misshaped } = &error else { panic!("{error}") };
    assert_eq!((missing, unexpected), (&vec!["fc.weight".to_owned()], &vec!["fc.w".to_owned()]));
    assert_eq!(misshaped, &["conv.bias: expected [3], got [1, 3]"]);

    let half = theta.to_dtype(DType::F16).expect_err("half precision").to_string();
    assert_eq!(half, "conv.weight: expected dtype F32, got F16; convert with `to_dtype`");
    Ok(())
}

#[test]
fn variables_come_and_go_by_name() -> Result<()> {
    let network = network()?;
    let theta = network.init(7, DType::F64, test_device())?;
    let map = theta.to_var_map()?;
    let back = Params::from_var_map(&network.specs(), &map)?;
    assert_eq!(back.sub(&theta)?.norm()?, 0.0);
    let builder = theta.to_var_builder();
    assert_eq!(Params::from_var_builder(&network.specs(), &builder)?.sub(&theta)?.norm()?, 0.0);
    let of_map = VarBuilder::from_varmap(&map, DType::F64, test_device());
    assert_eq!(Params::from_var_builder(&network.specs(), &of_map)?.sub(&theta)?.norm()?, 0.0);

    let zero = theta.zeros_like()?;
    map.clone().set(zero.iter())?;
    assert_eq!(Params::from_var_map(&network.specs(), &map)?.norm()?, 0.0);
    assert_eq!(back.sub(&theta)?.norm()?, 0.0, "copies do not move with the variables");
    Ok(())
}

/// An alias of a variable's storage moves with it; parameters do not.
#[test]
fn parameters_of_variables_stay() -> Result<()> {
    let network =
        Network::new(&[3], Sequential::new().then(Dense::new("fc", 3, 1).without_bias()))?;
    let var = Var::from_tensor(&normal(&[1, 3], 8)?)?;
    let theta = Params::from_named(&network.specs(), [("fc.weight", var.as_detached_tensor())])?;
    let norm = theta.norm()?;
    var.set(&var.as_tensor().zeros_like()?)?;
    assert!(norm > 0.0 && theta.norm()? == norm);
    assert!(!theta.get("fc.weight")?.track_op());
    Ok(())
}

#[test]
fn a_builder_that_lacks_something_is_refused_at_once() -> Result<()> {
    let network = network()?;
    let map = VarMap::new();
    let builder = VarBuilder::from_varmap(&map, DType::F64, test_device());
    candle_nn::linear(5, 2, builder.pp("fc"))?;
    let tensors = map
        .data()
        .lock()
        .expect("a map")
        .iter()
        .map(|(n, v)| (n.clone(), v.as_tensor().clone()))
        .collect();
    let other = VarBuilder::from_tensors(tensors, DType::F64, test_device());
    for builder in [builder, other] {
        let error = Params::from_var_builder(&network.specs(), &builder).expect_err("a misfit");
        let ModelError::Names { missing, misshaped, .. } = &error else { panic!("{error}") };
        assert_eq!(missing, &["conv.weight", "conv.bias"]);
        assert!(misshaped.len() == 1 && misshaped[0].starts_with("fc.weight: "), "{error}");
    }
    assert_eq!(map.data().lock().expect("a map").len(), 2, "nothing is added to the map");
    Ok(())
}

/// A convolution and a dense layer of candle-nn with our parameters, and our network as a module.
#[test]
fn networks_are_modules_and_modules_take_parameters() -> Result<()> {
    let network = network()?;
    let theta = network.init(9, DType::F64, test_device())?;
    let theta = theta.add_scaled(
        0.1,
        &Params::standard_normal(&network.specs(), 1, DType::F64, test_device())?,
    )?;
    let builder = theta.to_var_builder();
    let same = candle_nn::Conv2dConfig { padding: 1, ..Default::default() };
    let conv = candle_nn::conv2d(2, 3, 3, same, builder.pp("conv"))?;
    let head = candle_nn::linear(48, 2, builder.pp("fc"))?;
    let theirs = candle_nn::seq().add(conv).add_fn(|x| x.flatten_from(1)).add(head);
    let ours = AsModule::new(network.clone(), theta.clone())?;
    let x = normal(&[5, 2, 4, 4], 10)?;
    let error = tensor_error(&ours.forward(&x)?, &theirs.forward(&x)?)?;
    assert!(error <= ROUND_OFF, "{error:e}");

    let refused = ours.forward(&normal(&[5, 2, 4, 3], 10)?).expect_err("another shape");
    assert!(refused.to_string().contains("network input"), "{refused}");
    let other = Network::new(&[3], Sequential::new().then(Dense::new("fc", 3, 1)))?;
    assert!(matches!(AsModule::new(other, theta), Err(ModelError::Names { .. })));
    Ok(())
}
