//! Every operation of the list: promised shapes, derivatives against finite differences and each
//! other, other batches, strided inputs and single precision.

use candle_core::{DType, Tensor};
use entk_models::{NormMode, Operation, Result};
use entk_testing::{
    normal,
    operations::{InputLaw, Numbers, OperationVisitor, visit_operations},
};

/// Round-off of f64 in sums of at most a few hundred terms.
const ROUND_OFF: f64 = 1e-12;
/// Central differences with h = 1e-5: truncation h^2 and cancellation eps / h, both near 1e-10,
/// with room for sums.
const DIFFERENCES: f64 = 1e-8;
const STEP: f64 = 1e-5;
/// Round-off of f32 in sums of at most a few hundred terms.
const SINGLE: f64 = 1e-5;

/// The norm of a difference beside that of what is expected, or beside one.
fn assert_close(what: &str, got: &Tensor, expected: &Tensor, tolerance: f64) -> Result<()> {
    assert_eq!(got.dims(), expected.dims(), "{what}");
    let host = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let (got, expected) = (host(got)?, host(expected)?);
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let scale = norm(&mut expected.iter().copied()).max(1.0);
    let error = norm(&mut got.iter().zip(&expected).map(|(a, b)| a - b)) / scale;
    assert!(error <= tolerance, "{what}: {error:e}");
    Ok(())
}

/// Inner product example by example, (N).
fn dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let examples = a.dim(0)?;
    Ok((a * b)?.reshape((examples, ()))?.sum(1)?)
}

/// An operation at a point.
struct At<'o, O: Operation> {
    operation: &'o O,
    inputs: Vec<Tensor>,
    y: Tensor,
    cache: O::Cache,
}

type Tangents = Vec<Option<Tensor>>;

impl<'o, O: Operation> At<'o, O> {
    fn new(operation: &'o O, inputs: Vec<Tensor>) -> Result<Self> {
        let refs: Vec<_> = inputs.iter().collect();
        let (y, cache) = operation.forward(&refs, NormMode::Frozen)?;
        Ok(Self { operation, inputs, y, cache })
    }

    fn moved(&self, step: f64, tangents: &Tangents) -> Result<Self> {
        let moved = |(x, tangent): (&Tensor, &Option<Tensor>)| match tangent {
            Some(tangent) => Ok((x + (tangent * step)?)?),
            None => Ok(x.clone()),
        };
        let inputs = self.inputs.iter().zip(tangents).map(moved).collect::<Result<_>>()?;
        Self::new(self.operation, inputs)
    }

    fn jvp(&self, tangents: &Tangents) -> Result<Tensor> {
        let refs: Vec<_> = tangents.iter().map(Option::as_ref).collect();
        self.operation.jvp(&self.cache, &refs)
    }

    fn vjp(&self, dy: &Tensor, wanted: &[bool]) -> Result<Tangents> {
        self.operation.vjp(&self.cache, dy, wanted)
    }

    /// One tangent or cotangent for every input that is no id.
    fn directions(&self, laws: &[InputLaw], seed: u64) -> Result<Tangents> {
        let direction = |(x, law): (&Tensor, &InputLaw)| {
            let real = !matches!(law.numbers, Numbers::Ids(_));
            Ok(real.then(|| normal(x.dims(), seed)).transpose()?)
        };
        self.inputs.iter().zip(laws).map(direction).collect()
    }
}

fn draw(laws: &[InputLaw], examples: usize) -> Result<Vec<Tensor>> {
    laws.iter().zip(1..).map(|(law, seed)| law.draw(examples, seed)).collect()
}

struct Derivatives;

impl OperationVisitor for Derivatives {
    fn visit<O: Operation + Clone>(
        &mut self,
        name: &str,
        operation: O,
        laws: &[InputLaw],
    ) -> Result<()> {
        let at = At::new(&operation, draw(laws, 3)?)?;
        let v = at.directions(laws, 21)?;
        let differences = (at.moved(STEP, &v)?.y - at.moved(-STEP, &v)?.y)?;
        let jvp = at.jvp(&v)?;
        assert_close(name, &jvp, &(differences / (2.0 * STEP))?, DIFFERENCES)?;

        // Tangents one by one.
        let mut sum = jvp.zeros_like()?;
        for input in (0..v.len()).filter(|input| v[*input].is_some()) {
            let alone = v.iter().enumerate().map(|(at, v)| v.clone().filter(|_| at == input));
            sum = (sum + at.jvp(&alone.collect())?)?;
        }
        assert_close(name, &sum, &jvp, ROUND_OFF)?;

        // The adjoint identity, example by example, and cotangents one by one.
        let dy = normal(at.y.dims(), 22)?;
        let wanted: Vec<_> = v.iter().map(Option::is_some).collect();
        let dx = at.vjp(&dy, &wanted)?;
        let mut right = dot(&dy, &dy)?.zeros_like()?;
        for (input, v) in v.iter().enumerate() {
            let Some(v) = v else { continue };
            let cotangent = dx[input].as_ref().expect("a cotangent that is wanted");
            assert_eq!(cotangent.dims(), at.inputs[input].dims(), "{name}");
            right = (right + dot(cotangent, v)?)?;
            let alone: Vec<_> = (0..wanted.len()).map(|other| other == input).collect();
            let alone = at.vjp(&dy, &alone)?;
            assert_close(name, alone[input].as_ref().expect("one"), cotangent, ROUND_OFF)?;
        }
        assert_close(name, &dot(&dy, &jvp)?, &right, ROUND_OFF)
    }
}

#[test]
fn derivatives_are_those_of_finite_differences_and_each_other() -> Result<()> {
    visit_operations(&mut Derivatives)
}

struct Mixed;

impl OperationVisitor for Mixed {
    fn visit<O: Operation + Clone>(
        &mut self,
        name: &str,
        operation: O,
        laws: &[InputLaw],
    ) -> Result<()> {
        let at = At::new(&operation, draw(laws, 2)?)?;
        let v = at.directions(laws, 31)?;
        let (dy, ddy) = (normal(at.y.dims(), 32)?, normal(at.y.dims(), 33)?);
        let wanted: Vec<_> = v.iter().map(Option::is_some).collect();
        let refs: Vec<_> = v.iter().map(Option::as_ref).collect();
        let mixed = operation.mixed_vjp(&at.cache, &refs, &dy, &ddy, &wanted)?;
        let moved = |step: f64| at.moved(step, &v)?.vjp(&(&dy + (&ddy * step)?)?, &wanted);
        let (fixed, ahead, behind) = (at.vjp(&dy, &wanted)?, moved(STEP)?, moved(-STEP)?);
        for (input, mixed) in mixed.iter().enumerate() {
            let Some((cotangent, tangent)) = mixed else {
                assert!(fixed[input].is_none(), "{name}");
                continue;
            };
            let expected = |all: &Tangents| all[input].clone().expect("a cotangent");
            assert_close(name, cotangent, &expected(&fixed), ROUND_OFF)?;
            let differences = ((expected(&ahead) - expected(&behind))? / (2.0 * STEP))?;
            assert_close(name, tangent, &differences, DIFFERENCES)?;
        }
        Ok(())
    }
}

#[test]
fn mixed_derivatives_are_those_of_finite_differences() -> Result<()> {
    visit_operations(&mut Mixed)
}

/// Entries of a tensor twice as long along its last axis.
fn strided(x: &Tensor) -> Result<Tensor> {
    let last = x.rank() - 1;
    Ok(Tensor::cat(&[x, x], last)?.narrow(last, 0, x.dim(last)?)?)
}

struct OtherInputs;

impl OperationVisitor for OtherInputs {
    fn visit<O: Operation + Clone>(
        &mut self,
        name: &str,
        operation: O,
        laws: &[InputLaw],
    ) -> Result<()> {
        let at = At::new(&operation, draw(laws, 3)?)?;
        let shapes: Vec<_> = laws.iter().map(|law| law.shape.as_slice()).collect();
        assert_eq!(operation.output_shape(&shapes)?, at.y.dims()[1..], "{name}");
        let (v, dy) = (at.directions(laws, 41)?, normal(at.y.dims(), 42)?);
        let wanted: Vec<_> = v.iter().map(Option::is_some).collect();
        let all = |at: &At<'_, O>, v: &Tangents, dy: &Tensor| -> Result<Vec<Tensor>> {
            let cotangents = at.vjp(dy, &wanted)?.into_iter().flatten();
            Ok([at.y.clone(), at.jvp(v)?].into_iter().chain(cotangents).collect())
        };
        let expected = all(&at, &v, &dy)?;
        let compare = |what: &str,
                       change: &dyn Fn(&Tensor) -> Result<Tensor>,
                       result: &dyn Fn(&Tensor) -> Result<Tensor>,
                       tolerance: f64| {
            let inputs = at.inputs.iter().map(change).collect::<Result<_>>()?;
            let v = v.iter().map(|v| v.as_ref().map(change).transpose());
            let v = v.collect::<Result<Tangents>>()?;
            let got = all(&At::new(&operation, inputs)?, &v, &change(&dy)?)?;
            for (got, expected) in got.iter().zip(&expected) {
                assert_close(&format!("{name}, {what}"), got, &result(expected)?, tolerance)?;
            }
            Ok::<_, entk_models::ModelError>(())
        };
        let second = |x: &Tensor| Ok(x.narrow(0, 1, 1)?);
        compare("one example", &second, &second, ROUND_OFF)?;
        let twice = |x: &Tensor| Ok(Tensor::cat(&[x, x], 0)?);
        compare("twice as many", &twice, &twice, ROUND_OFF)?;
        compare("strided", &strided, &|x| Ok(x.clone()), ROUND_OFF)?;
        let single = |x: &Tensor| match x.dtype() {
            DType::F64 => Ok(x.to_dtype(DType::F32)?),
            _ => Ok(x.clone()),
        };
        compare("f32", &single, &|x| Ok(x.clone()), SINGLE)
    }
}

#[test]
fn results_follow_other_batches_strides_and_precisions() -> Result<()> {
    visit_operations(&mut OtherInputs)
}
