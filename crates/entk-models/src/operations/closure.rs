//! Any function of candle's tensors as an operation: a closure goes in, its derivatives come from
//! candle's autograd, one example at a time. Slow: an oracle, and a stop-gap until an operation has
//! rules of its own.

use std::{fmt, sync::Arc};

use candle_core::{Tensor, Var, backprop::GradStore};

use crate::{
    ensure::ensure_finite,
    error::{ModelError, Result},
    operation::{NormMode, Operation},
};

type Function = dyn Fn(&[Tensor]) -> candle_core::Result<Tensor> + Send + Sync;
type ShapeRule = dyn Fn(&[&[usize]]) -> Result<Vec<usize>> + Send + Sync;

/// A function of candle's tensors as an operation, whose derivatives are those of candle's
/// autograd.
///
/// The function sees one example at a time, with a leading axis of 1: examples cannot interact. It
/// has to be deterministic and to depend on nothing but its inputs, in f32 or f64, on any device;
/// parameters are inputs too. Values and derivatives have to be finite.
///
/// ```
/// # use candle_core::{DType, Device, Tensor};
/// # use entk_models::{Closure, Dense, Graph, Initializer, Model, ParamSpec};
/// // A layer with a weight that no layer here has: sin(x * w), then a dense layer.
/// let wave = Closure::new("wave", |shapes| Ok(shapes[0].to_vec()), |t| (&t[0] * &t[1])?.sin());
/// let mut graph = Graph::new();
/// let x = graph.input(&[5]);
/// let w = graph.parameter(ParamSpec::trainable("w", &[5], Initializer::Normal))?;
/// let h = graph.apply(wave, &[x, w])?;
/// let output = graph.add(&Dense::new("head", 5, 1), h)?;
/// let network = graph.network(output)?;
///
/// let theta = network.init(0, DType::F64, &Device::Cpu)?;
/// let x = Tensor::ones((3, 5), DType::F64, &Device::Cpu)?;
/// entk_models::check::network(&network, &theta, &x)?.ensure()?;
/// # Ok::<(), entk_models::ModelError>(())
/// ```
///
/// Cost: a forward pass is N calls. J^T u is N calls and N backward passes of candle. J v is exact
/// but has to be assembled from rows: N calls and N times as many backward passes as one example's
/// result has entries. There is no mixed derivative.
///
/// Some derivatives of candle are wrong without a word, those of `softmax_last_dim`, of the fast
/// `layer_norm` and of `max_pool2d` among them: `candle_nn::ops::softmax` and `layer_norm_slow` are
/// right. [`check::operation`](crate::check::operation) finds out, and before a kernel is made of
/// a network its closures are compared with differences of their values.
///
/// The name stands for the function in messages and in stores of kernels: give another function
/// another name.
#[derive(Clone)]
pub struct Closure {
    name: String,
    output_shape: Arc<ShapeRule>,
    function: Arc<Function>,
}

impl Closure {
    /// A function under this name. `output_shape` gives the shape of one example's result for
    /// those of its inputs, without the leading axis of 1 that `function` sees and keeps.
    pub fn new(
        name: impl Into<String>,
        output_shape: impl Fn(&[&[usize]]) -> Result<Vec<usize>> + Send + Sync + 'static,
        function: impl Fn(&[Tensor]) -> candle_core::Result<Tensor> + Send + Sync + 'static,
    ) -> Self {
        let (output_shape, function) = (Arc::new(output_shape), Arc::new(function));
        Self { name: name.into(), output_shape, function }
    }

    /// The value for one example, which is what was promised.
    fn call(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let y = (self.function)(inputs)?;
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| &input.dims()[1..]).collect();
        let promised = [vec![1], (self.output_shape)(&shapes)?].concat();
        if y.dims() == promised {
            return Ok(y);
        }
        let (operation, what, got) =
            (format!("{self:?}"), "result of one example".to_owned(), y.dims().to_vec());
        Err(ModelError::Promise { operation, what, promised, got })
    }

    /// The value for one example with candle's record of how it came about, and the inputs that
    /// are differentiated.
    fn recorded(&self, inputs: &[Tensor], wanted: &[bool]) -> Result<(Tensor, Vec<Option<Var>>)> {
        let variable =
            |(input, wanted): (&Tensor, &bool)| wanted.then(|| Var::from_tensor(input)).transpose();
        let variables: Vec<Option<Var>> =
            inputs.iter().zip(wanted).map(variable).collect::<candle_core::Result<_>>()?;
        let inputs: Vec<Tensor> = (variables.iter().zip(inputs))
            .map(|(variable, input)| variable.as_ref().map_or(input, |v| v.as_tensor()).clone())
            .collect();
        Ok((self.call(&inputs)?, variables))
    }

    /// What candle gives for an input that is differentiated.
    fn gradient(&self, gradients: &GradStore, input: usize, variable: &Var) -> Result<Tensor> {
        let found = gradients.get(variable).cloned();
        found.ok_or_else(|| ModelError::NoGradient { operation: format!("{self:?}"), input })
    }

    /// Cotangents of the differentiated inputs of one example, for a scalar that follows from them.
    fn cotangents(
        &self,
        scalar: &Tensor,
        variables: &[Option<Var>],
    ) -> Result<Vec<Option<Tensor>>> {
        let gradients = scalar.backward()?;
        let cotangent = |(input, variable): (usize, &Option<Var>)| {
            variable.as_ref().map(|v| self.gradient(&gradients, input, v)).transpose()
        };
        variables.iter().enumerate().map(cotangent).collect()
    }

    /// J v of one example: row by row.
    fn tangent(&self, inputs: &[Tensor], tangents: &[Option<Tensor>]) -> Result<Tensor> {
        let wanted: Vec<bool> = tangents.iter().map(Option::is_some).collect();
        let (y, variables) = self.recorded(inputs, &wanted)?;
        let entries = y.flatten_all()?;
        let entry = |at: usize| {
            let row = self.cotangents(&entries.get(at)?, &variables)?;
            let products = row.iter().flatten().zip(tangents.iter().flatten());
            let products = products.map(|(row, tangent)| (row * tangent)?.sum_all());
            let products = products.collect::<candle_core::Result<Vec<_>>>()?;
            Ok(Tensor::stack(&products, 0)?.sum_all()?)
        };
        let entries: Vec<Tensor> = (0..y.elem_count()).map(entry).collect::<Result<_>>()?;
        Ok(Tensor::stack(&entries, 0)?.reshape(y.dims())?)
    }

    fn finite(&self, examples: &[Tensor], what: &str) -> Result<Tensor> {
        let all = Tensor::cat(examples, 0)?;
        ensure_finite(&all, &format!("{what} of {self:?}"))?;
        Ok(all)
    }
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Closure").field(&self.name).finish()
    }
}

fn examples(inputs: &[Tensor]) -> usize {
    inputs.iter().map(|input| input.dims()[0]).max().unwrap_or(1)
}

/// One example of a tensor; all share what has one.
fn example(tensor: &Tensor, at: usize) -> Result<Tensor> {
    let at = if tensor.dims()[0] == 1 { 0 } else { at };
    Ok(tensor.narrow(0, at, 1)?.contiguous()?)
}

fn examples_at(inputs: &[Tensor], at: usize) -> Result<Vec<Tensor>> {
    inputs.iter().map(|input| example(input, at)).collect()
}

impl Operation for Closure {
    /// The inputs.
    type Cache = Vec<Tensor>;

    fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        (self.output_shape)(inputs)
    }

    fn forward(&self, inputs: &[&Tensor], _: NormMode) -> Result<(Tensor, Vec<Tensor>)> {
        let inputs: Vec<Tensor> = inputs.iter().map(|input| (*input).clone()).collect();
        let results = (0..examples(&inputs)).map(|at| self.call(&examples_at(&inputs, at)?));
        let results: Vec<Tensor> = results.collect::<Result<_>>()?;
        Ok((self.finite(&results, "result")?, inputs))
    }

    fn jvp(&self, inputs: &Vec<Tensor>, tangents: &[Option<&Tensor>]) -> Result<Tensor> {
        let results = (0..examples(inputs)).map(|at| {
            let tangents = tangents.iter().map(|t| t.map(|t| example(t, at)).transpose());
            self.tangent(&examples_at(inputs, at)?, &tangents.collect::<Result<Vec<_>>>()?)
        });
        self.finite(&results.collect::<Result<Vec<_>>>()?, "tangent")
    }

    fn vjp(
        &self,
        inputs: &Vec<Tensor>,
        dy: &Tensor,
        wanted: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let mut cotangents = vec![Vec::new(); inputs.len()];
        for at in 0..examples(inputs) {
            let (y, variables) = self.recorded(&examples_at(inputs, at)?, wanted)?;
            let product = (y * example(dy, at)?)?.sum_all()?;
            for (all, one) in cotangents.iter_mut().zip(self.cotangents(&product, &variables)?) {
                all.extend(one);
            }
        }
        let all = |one: Vec<Tensor>| match one.is_empty() {
            true => Ok(None),
            false => self.finite(&one, "cotangent").map(Some),
        };
        cotangents.into_iter().map(all).collect()
    }

    fn takes_shared(&self, _: usize) -> bool {
        true
    }

    fn is_ours(&self) -> bool {
        false
    }
}
