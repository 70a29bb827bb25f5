//! An operation of one's own with a wrong derivative is refused, by name, by everything that would
//! compute with it.

use entk::{
    linearize::MixedDerivative,
    models::{self, MixedCotangents, NormMode, Operation, linear_mixed_vjp, only_tangent},
    prelude::*,
};
use entk_testing::TestResult;

/// `2 x`, and a reverse-mode derivative by this factor.
#[derive(Debug, Clone)]
struct Doubled {
    backward: f64,
}

impl Operation for Doubled {
    type Cache = ();

    fn output_shape(&self, inputs: &[&[usize]]) -> models::Result<Vec<usize>> {
        Ok(inputs.concat())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> models::Result<(Tensor, ())> {
        Ok(((inputs[0] * 2.0)?, ()))
    }

    fn jvp(&self, _: &(), tangents: &[Option<&Tensor>]) -> models::Result<Tensor> {
        Ok((only_tangent(tangents)? * 2.0)?)
    }

    fn vjp(&self, _: &(), dy: &Tensor, _: &[bool]) -> models::Result<Vec<Option<Tensor>>> {
        Ok(vec![Some((dy * self.backward)?)])
    }

    fn mixed_vjp(
        &self,
        cache: &(),
        _: &[Option<&Tensor>],
        dy: &Tensor,
        ddy: &Tensor,
        wanted: &[bool],
    ) -> models::Result<MixedCotangents> {
        linear_mixed_vjp(self, cache, dy, ddy, wanted)
    }
}

/// A use of a network, and what it says.
type Use = (&'static str, Result<(), String>);

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What each use of a network says of it.
fn uses(backward: f64) -> TestResult<Vec<Use>> {
    let layers = Sequential::new()
        .then(Dense::new("first", 3, 4))
        .then(Activation::Tanh)
        .then(Doubled { backward })
        .then(Dense::new("head", 4, 1));
    let network = Network::new(&[3], layers)?;
    let theta = network.init(1, DType::F64, &Device::Cpu)?;
    let values: Vec<f64> = (0..18).map(|at| f64::from(at).sin()).collect();
    let x = Tensor::from_vec(values, (6, 3), &Device::Cpu)?;
    let task = Examples::new(x.clone(), vec![0, 1, 0, 1, 1, 0])?;
    let config = SgdConfig { batch: 2, epochs: 1, ..SgdConfig::default() };
    let linear = Linearized::new(&network, theta.clone());
    let trained = |model: &dyn Model| fit(model, &theta, &task, None, &config).map(drop);
    Ok(vec![
        ("kernel", gram(&network, &theta, &x, &GramConfig::default()).map(drop).map_err(said)),
        ("Jacobian", Jacobian::new(&network, &theta, &x).map(drop).map_err(said)),
        ("mixed", MixedDerivative::averaged(&network, &theta, &x).map(drop).map_err(said)),
        ("training", trained(&network).map_err(said)),
        ("training of a linearization", trained(&linear).map_err(said)),
    ])
}

#[test]
fn a_wrong_operation_is_refused_by_everything_that_computes_with_it() -> TestResult {
    for (by, result) in uses(2.0)? {
        assert!(result.is_ok(), "{by}: {result:?}");
    }
    for (by, result) in uses(3.0)? {
        let refused = result.err().unwrap_or_default();
        assert!(refused.starts_with("Doubled { backward: 3.0 }"), "{by}: {refused}");
    }
    Ok(())
}
