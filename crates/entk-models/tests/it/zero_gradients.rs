//! Gradients that are exactly zero: which they are, that the prediction is checked, and that
//! leaving them out changes no result.

use candle_core::{DType, Tensor};
use entk_models::{
    Activation, Conv2d, Dense, Embed, GlobalMean, Model, ModelError, Network, NormMode, Operation,
    Params, ResNetConfig, Result, Sequential, only_tangent,
};
use entk_testing::{derivative_cases, normal, test_device};

#[test]
fn the_papers_resnet18_starts_with_180_033_active_parameters() -> Result<()> {
    let network = ResNetConfig::default().network()?;
    let theta = network.init(0, DType::F32, test_device())?;
    let active = network.active_parameters(&theta)?;
    assert_eq!((active.count(), active.total()), (180_033, 11_169_345));
    assert_eq!(theta.count(), 11_169_345);
    assert!(active.contains("layer3.1.bn2.weight") && !active.contains("layer3.1.bn1.weight"));
    let x = normal(&[2, 3, 32, 32], 1)?.to_dtype(DType::F32)?;
    assert_eq!(network.verify_active_parameters(&theta, &x)?, active);

    let ones = ResNetConfig { zero_init_residual: false, ..ResNetConfig::default() }.network()?;
    let theta = ones.init(0, DType::F32, test_device())?;
    assert_eq!(ones.active_parameters(&theta)?.count(), 11_169_345);
    let deep = ResNetConfig::resnet34().network()?;
    assert_eq!(deep.init(0, DType::F32, test_device())?.count(), 21_277_505);
    Ok(())
}

#[test]
fn left_out_factors_are_zero_and_the_others_unchanged() -> Result<()> {
    for case in derivative_cases()? {
        let active = case.network.verify_active_parameters(&case.theta, &case.x)?;
        let entered = case.network.clone().without_skipping();
        assert_eq!(entered.active_parameters(&case.theta)?.count(), active.total());
        let (sweep, full) =
            (case.network.sweep(&case.theta, &case.x)?, entered.sweep(&case.theta, &case.x)?);
        let factors = sweep.output_factors(0)?;
        let kept: usize = factors.iter().map(|factor| factor.width()).sum();
        assert_eq!(kept, active.count(), "{}", case.name);
        let (u, v) = (normal(sweep.outputs().dims(), 2)?, case.direction(3)?);
        assert_eq!(sweep.vjp(&u)?.sub(&full.vjp(&u)?)?.norm()?, 0.0, "{}", case.name);
        let difference = (sweep.jvp(&v)? - full.jvp(&v)?)?.abs()?.max_all()?;
        assert_eq!(difference.to_scalar::<f64>()?, 0.0, "{}", case.name);
    }
    Ok(())
}

#[test]
fn zero_weights_stop_gradients_too() -> Result<()> {
    let layers = Sequential::new()
        .then(Conv2d::new("a", 1, 2, 3))
        .then(Activation::Tanh)
        .then(Conv2d::new("b", 2, 3, 3))
        .then(GlobalMean)
        .then(Dense::new("head", 3, 1));
    let network = Network::new(&[1, 4, 4], layers)?;
    let theta = network.init(0, DType::F64, test_device())?;
    let without = |name: &str| {
        Params::from_fn(&network.specs(), DType::F64, test_device(), |spec| {
            match spec.name == name {
                true => vec![0.0; spec.elem_count()],
                false => spec.draw(0),
            }
        })
    };
    let x = normal(&[3, 1, 4, 4], 1)?;
    let names = |params: &Params| -> Result<Vec<String>> {
        Ok(network.verify_active_parameters(params, &x)?.names().to_vec())
    };
    assert_eq!(names(&theta)?.len(), 6);
    assert_eq!(names(&without("b.weight")?)?, ["b.weight", "b.bias", "head.weight", "head.bias"]);
    assert_eq!(names(&without("head.weight")?)?, ["head.weight", "head.bias"]);
    Ok(())
}

/// Claims to be constant, and is the identity.
#[derive(Debug, Clone)]
struct Liar;

impl Operation for Liar {
    type Cache = ();

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs.concat())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, ())> {
        Ok((inputs[0].clone(), ()))
    }

    fn jvp(&self, (): &(), tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        Ok(only_tangent(tangents)?.clone())
    }

    fn vjp(&self, (): &(), dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(dy.clone())])
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        vec![true; zero.len()]
    }
}

#[test]
fn a_wrong_prediction_is_an_error() -> Result<()> {
    let layers = Sequential::new()
        .then(Conv2d::new("a", 1, 2, 3))
        .then(Liar)
        .then(GlobalMean)
        .then(Dense::new("head", 2, 1));
    let network = Network::new(&[1, 4, 4], layers)?;
    let theta = network.init(0, DType::F64, test_device())?;
    let x = normal(&[3, 1, 4, 4], 1)?;
    match network.verify_active_parameters(&theta, &x) {
        Err(ModelError::NotZero { name, largest }) => {
            assert_eq!(name, "a.weight");
            assert!(largest > 0.0);
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn the_row_of_a_padding_is_frozen_where_it_is_looked_up() -> Result<()> {
    let ids = Tensor::new(&[[2u32, 0, 2, 4], [1, 2, 3, 3]], test_device())?;
    let (table, moved) = (normal(&[1, 5, 3], 1)?, normal(&[1, 5, 3], 2)?);
    let (dy, ddy) = (normal(&[2, 4, 3], 3)?, normal(&[2, 4, 3], 4)?);
    let (plain, padded) = (Embed::default(), Embed::with_padding(2));
    let (y, cache) = plain.forward(&[&ids, &table], NormMode::Frozen)?;
    let (same, padded_cache) = padded.forward(&[&ids, &table], NormMode::Frozen)?;
    let assert_equal = |a: &Tensor, b: &Tensor| -> Result<()> {
        assert_eq!(a.flatten_all()?.to_vec1::<f64>()?, b.flatten_all()?.to_vec1::<f64>()?);
        Ok(())
    };
    assert_equal(&same, &y)?;
    // All but row 2 of the table.
    let others = Tensor::new(&[[1.0], [1.0], [0.0], [1.0], [1.0]], test_device())?;
    let without = |d: &Tensor| d.broadcast_mul(&others);
    let tangent = plain.jvp(&cache, &[None, Some(&without(&moved)?)])?;
    assert_equal(&padded.jvp(&padded_cache, &[None, Some(&moved)])?, &tangent)?;
    let wanted = [false, true];
    let gradient = plain.vjp(&cache, &dy, &wanted)?.remove(1).expect("a cotangent");
    let ours = padded.vjp(&padded_cache, &dy, &wanted)?.remove(1).expect("a cotangent");
    assert_equal(&ours, &without(&gradient)?)?;
    let factor = padded.factor(&padded_cache, &["ids", "table"], &dy)?.expect("a factor");
    assert_equal(&factor.rows()?, &without(&gradient)?)?;
    let mixed = |embed: Embed, cache| embed.mixed_vjp(cache, &[None; 2], &dy, &ddy, &wanted);
    let theirs = mixed(plain, &cache)?.remove(1).expect("cotangents");
    let ours = mixed(padded, &padded_cache)?.remove(1).expect("cotangents");
    assert_equal(&ours.0, &without(&theirs.0)?)?;
    assert_equal(&ours.1, &without(&theirs.1)?)?;
    // Exactly zero, whatever arrives at the padding.
    let infinite = (dy / 0.0)?;
    let row = padded.vjp(&padded_cache, &infinite, &wanted)?.remove(1).expect("a cotangent");
    assert_eq!(row.narrow(1, 2, 1)?.abs()?.max_all()?.to_scalar::<f64>()?, 0.0);
    Ok(())
}
