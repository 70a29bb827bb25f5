//! Operations that lie, each refused by name before a kernel is made of it.

use candle_core::{DType, Tensor};
use entk_models::{
    Activation, Dense, Factor, Graph, Initializer, Layer, Model, ModelError, Network, NormMode,
    Operation, ParamSpec, Result, Sequential, Value,
    check::{self, Input},
    only_tangent,
};
use entk_testing::{normal, test_device};

/// What an operation is wrong about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    Nothing,
    Shape,
    ResultOfOneExample,
    ResultOfOtherType,
    ExamplesInteract,
    ExamplesAddUp,
    CotangentForgotten,
    CotangentOfOneExample,
    CotangentOfOtherShape,
    CotangentWithWrongSign,
    TangentForgotten,
    TangentTooSmall,
    DerivativesOfAnotherFunction,
    NumberOfCotangents,
    WeightForgotten,
    WeightWrongWithoutInput,
    WeightSummedOverExamples,
    WeightOfOtherShape,
    FactorTooWide,
    FactorForgotten,
    FactorOfAnotherBatch,
    FactorOfAnotherName,
    TangentOfOtherShape,
    Blocks,
}

const LIES: [Lie; 23] = [
    Lie::Shape,
    Lie::ResultOfOneExample,
    Lie::ResultOfOtherType,
    Lie::ExamplesInteract,
    Lie::ExamplesAddUp,
    Lie::CotangentForgotten,
    Lie::CotangentOfOneExample,
    Lie::CotangentOfOtherShape,
    Lie::CotangentWithWrongSign,
    Lie::TangentForgotten,
    Lie::TangentTooSmall,
    Lie::DerivativesOfAnotherFunction,
    Lie::NumberOfCotangents,
    Lie::WeightForgotten,
    Lie::WeightWrongWithoutInput,
    Lie::WeightSummedOverExamples,
    Lie::WeightOfOtherShape,
    Lie::FactorTooWide,
    Lie::FactorForgotten,
    Lie::FactorOfAnotherBatch,
    Lie::FactorOfAnotherName,
    Lie::TangentOfOtherShape,
    Lie::Blocks,
];

/// `x * w`, entry by entry; with a factor of w where the lie is about one.
#[derive(Debug)]
struct Scaled(Lie);

/// Less the mean over the examples.
fn centred(x: &Tensor) -> Result<Tensor> {
    Ok(x.broadcast_sub(&x.mean_keepdim(0)?)?)
}

/// Each example with all before it, which those before do not show.
fn added_up(x: &Tensor) -> Result<Tensor> {
    Ok(x.cumsum(0)?)
}

impl Scaled {
    fn has_factor(&self) -> bool {
        use Lie::{FactorForgotten, FactorOfAnotherBatch, FactorOfAnotherName, FactorTooWide};
        [FactorForgotten, FactorOfAnotherBatch, FactorOfAnotherName, FactorTooWide]
            .contains(&self.0)
    }
}

impl Operation for Scaled {
    type Cache = [Tensor; 2];

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(if self.0 == Lie::Shape { vec![inputs[0][0] + 1] } else { inputs[0].to_vec() })
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Self::Cache)> {
        let y = inputs[0].broadcast_mul(inputs[1])?;
        let y = match (self.0, y.dtype()) {
            (Lie::ResultOfOneExample, _) => y.narrow(0, 0, 1)?,
            (Lie::ResultOfOtherType, DType::F64) => y.to_dtype(DType::F32)?,
            (Lie::ResultOfOtherType, _) => y.to_dtype(DType::F64)?,
            (Lie::ExamplesInteract, _) => centred(&y)?,
            (Lie::ExamplesAddUp, _) => added_up(&y)?,
            _ => y,
        };
        Ok((y, [inputs[0].clone(), inputs[1].clone()]))
    }

    fn jvp(&self, [x, w]: &Self::Cache, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let of_x = tangents[0].map(|dx| dx.broadcast_mul(w)).transpose()?;
        let of_w = tangents[1].map(|dw| x.broadcast_mul(dw)).transpose()?;
        let zero = x.zeros_like()?;
        let of_w = of_w.unwrap_or(zero.clone());
        let sum = (of_x.unwrap_or(zero.clone()) + &of_w)?;
        Ok(match self.0 {
            Lie::TangentForgotten => of_w,
            Lie::TangentTooSmall => (sum * 0.5)?,
            Lie::ExamplesInteract => centred(&sum)?,
            Lie::ExamplesAddUp => added_up(&sum)?,
            Lie::TangentOfOtherShape => sum.narrow(1, 0, 1)?,
            Lie::DerivativesOfAnotherFunction => (sum * 2.0)?,
            _ => sum,
        })
    }

    fn vjp(
        &self,
        [x, w]: &Self::Cache,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dy = &match self.0 {
            Lie::ExamplesInteract => centred(dy)?,
            Lie::ExamplesAddUp => (dy.sum_keepdim(0)?.broadcast_sub(&added_up(dy)?)? + dy)?,
            _ => dy.clone(),
        };
        let (dx, dw) = (dy.broadcast_mul(w)?, (dy * x)?);
        Ok(match self.0 {
            Lie::CotangentForgotten => vec![None, Some(dw)],
            Lie::CotangentOfOneExample => vec![Some(dx.narrow(0, 0, 1)?), Some(dw)],
            Lie::CotangentOfOtherShape => vec![Some(Tensor::cat(&[&dx, &dx], 1)?), Some(dw)],
            Lie::CotangentWithWrongSign => vec![Some(dx.neg()?), Some(dw)],
            Lie::DerivativesOfAnotherFunction => vec![Some((dx * 2.0)?), Some((dw * 2.0)?)],
            Lie::NumberOfCotangents => vec![Some(dx)],
            Lie::WeightForgotten => vec![Some(dx), None],
            Lie::WeightWrongWithoutInput if !wanted[0] => vec![None, Some((dw * 2.0)?)],
            Lie::WeightSummedOverExamples => {
                vec![Some(dx), Some(dw.sum_keepdim(0)?.broadcast_as(dw.shape())?)]
            }
            Lie::WeightOfOtherShape => vec![Some(dx), Some(dw.narrow(1, 0, 1)?)],
            _ => vec![Some(dx), Some(dw)],
        })
    }

    fn takes_shared(&self, input: usize) -> bool {
        input == 1
    }

    fn blocks(&self, zero: &[bool]) -> Vec<bool> {
        zero.iter().map(|_| self.0 == Lie::Blocks).collect()
    }

    fn structured(&self) -> std::ops::Range<usize> {
        if self.has_factor() { 1..2 } else { 0..0 }
    }

    fn factor(&self, [x, _]: &Self::Cache, names: &[&str], dy: &Tensor) -> Result<Option<Factor>> {
        let (name, rows) = (names[1].to_owned(), (dy * x)?);
        Ok(match self.0 {
            Lie::FactorTooWide => {
                Some(Factor::Rows { name, rows: Tensor::cat(&[&rows, &rows], 1)? })
            }
            Lie::FactorOfAnotherName => Some(Factor::Rows { name: "fc.weight".to_owned(), rows }),
            Lie::FactorOfAnotherBatch => Some(Factor::Rows { name, rows: rows.narrow(0, 0, 1)? }),
            _ => None,
        })
    }
}

/// The layer that writes a [`Scaled`].
#[derive(Debug)]
struct Scale(Lie);

impl Layer for Scale {
    fn add_to(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let law = Initializer::Normal;
        let weight = graph.parameter(ParamSpec::trainable("scale.weight", &[5], law))?;
        graph.apply(Scaled(self.0), &[x, weight])
    }
}

fn network(lie: Lie) -> Result<Network> {
    let layers = Sequential::new()
        .then(Dense::new("first", 4, 5))
        .then(Scale(lie))
        .then(Activation::Tanh)
        .then(Dense::new("head", if lie == Lie::Shape { 6 } else { 5 }, 2));
    Network::new(&[4], layers)
}

fn refusal(lie: Lie, dtype: DType) -> Result<Option<ModelError>> {
    let network = network(lie)?;
    let theta = network.init(1, dtype, test_device())?;
    let x = normal(&[4, 4], 2)?.to_dtype(dtype)?;
    Ok(network.verify_active_parameters(&theta, &x).err())
}

#[test]
fn every_lie_is_refused_by_name_before_a_kernel_is_made() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        assert!(refusal(Lie::Nothing, dtype)?.is_none());
        for lie in LIES {
            let refused = refusal(lie, dtype)?.expect("a refusal").to_string();
            let names = refused.contains("Scaled(") || lie == Lie::Blocks;
            assert!(names, "{lie:?}: {refused}");
        }
    }
    Ok(())
}

#[test]
fn large_inputs_are_no_lie() -> Result<()> {
    let network = network(Lie::Nothing)?;
    let theta = network.init(1, DType::F32, test_device())?;
    let x = (normal(&[4, 4], 2)? * 1e6)?.to_dtype(DType::F32)?;
    network.verify_active_parameters(&theta, &x)?;
    Ok(())
}

#[test]
fn refusals_name_the_parameter() -> Result<()> {
    let refused = refusal(Lie::WeightForgotten, DType::F64)?.expect("a refusal").to_string();
    assert!(refused.contains("input 1, scale.weight"), "{refused}");
    Ok(())
}

#[test]
fn the_check_of_a_network_names_the_operation() -> Result<()> {
    let network = network(Lie::CotangentWithWrongSign)?;
    let theta = network.init(1, DType::F64, test_device())?;
    let refused = check::network(&network, &theta, &normal(&[6, 4], 2)?).expect_err("a refusal");
    assert!(refused.to_string().contains("Scaled("), "{refused}");
    Ok(())
}

#[test]
fn the_public_check_tells_truth_from_lies() -> Result<()> {
    let inputs = [Input::Each(normal(&[3, 5], 1)?), Input::Shared(normal(&[5], 2)?)];
    check::operation(Scaled(Lie::Nothing), &inputs)?.ensure()?;
    for lie in [
        Lie::CotangentWithWrongSign,
        Lie::TangentTooSmall,
        Lie::WeightForgotten,
        Lie::WeightWrongWithoutInput,
    ] {
        let report = check::operation(Scaled(lie), &inputs)?;
        let refused = report.ensure().expect_err("a refusal").to_string();
        assert!(refused.contains("Scaled"), "{refused}");
    }
    Ok(())
}

/// Of a tangent that is zero there is no cotangent near it: any other shows what is wrong.
#[test]
fn a_forgotten_tangent_and_two_examples_that_interact_are_found() -> Result<()> {
    let of = |lie, batch| {
        let inputs = [Input::Each(normal(&[batch, 5], 1)?), Input::Shared(normal(&[5], 2)?)];
        check::operation(Scaled(lie), &inputs)
    };
    let (name, error) = &of(Lie::TangentForgotten, 3)?.adjoint[0];
    assert!(name == "input 0" && *error > 0.1, "{name}: {error}");
    for (lie, batch) in [
        (Lie::ExamplesInteract, 2),
        (Lie::ExamplesInteract, 3),
        (Lie::ExamplesAddUp, 2),
        (Lie::ExamplesAddUp, 3),
    ] {
        let report = of(lie, batch)?;
        assert!(report.batches > 0.1 && report.ensure().is_err(), "{lie:?} {batch}: {report:?}");
    }
    Ok(())
}

/// The positive part, with a kink at 0: a step of a difference may cross it.
#[derive(Debug, Clone)]
struct Kink;

/// 1 where x is positive, else 0.
fn is_positive(x: &Tensor) -> Result<Tensor> {
    Ok(x.gt(0.0)?.to_dtype(x.dtype())?)
}

impl Operation for Kink {
    type Cache = Tensor;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs.concat())
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Tensor)> {
        Ok((inputs[0].relu()?, inputs[0].clone()))
    }

    fn jvp(&self, x: &Tensor, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        Ok((is_positive(x)? * only_tangent(tangents)?)?)
    }

    fn vjp(&self, x: &Tensor, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some((is_positive(x)? * dy)?)])
    }
}

#[test]
fn kinks_are_told_from_errors() -> Result<()> {
    // One entry is 1e-6 from the kink: larger steps cross it, smaller ones do not.
    let x = Tensor::new(&[[1e-6, 0.8], [-0.7, 0.5]], test_device())?;
    let report = check::operation(Kink, &[Input::Each(x)])?;
    report.ensure()?;
    assert!(report.has_kinks(), "{report}");
    let smooth = check::operation(Activation::Tanh, &[Input::Each(normal(&[3, 4], 1)?)])?;
    smooth.ensure()?;
    assert!(!smooth.has_kinks(), "{smooth}");
    Ok(())
}

#[test]
fn at_a_kink_itself_derivatives_are_compared_beside_it() -> Result<()> {
    let x = Tensor::new(&[[0.0, 0.8], [-0.7, 0.0]], test_device())?;
    let report = check::operation(Kink, &[Input::Each(x)])?;
    report.ensure()?;
    assert!(report.has_kinks() && !report.beside.is_empty(), "{report}");
    // After a ReLU half of all entries are at the kink.
    let layers = Sequential::new()
        .then(Dense::new("first", 4, 50))
        .then(Activation::Relu)
        .then(Kink)
        .then(Dense::new("head", 50, 2));
    let network = Network::new(&[4], layers)?;
    for dtype in [DType::F32, DType::F64] {
        let theta = network.init(1, dtype, test_device())?;
        network.verify_active_parameters(&theta, &normal(&[4, 4], 2)?.to_dtype(dtype)?)?;
    }
    Ok(())
}
