//! A graph at given parameters and inputs: directions go in, derivatives come out as directions.
//! Called by the checks of operations and networks.

use candle_core::{DType, Tensor};

use crate::{
    error::{ModelError, Result},
    graph::{Graph, Source, backward::Wanted, flow::Flow, forward::Kept, mixed::MixedPoint},
    operation::NormMode,
    params::{Params, init::Initializer},
};

/// A graph, its parameters and its inputs, these with names.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) graph: Graph,
    pub(crate) output: usize,
    pub(crate) params: Params,
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) names: Vec<String>,
}

/// A tangent, or a gradient, of parameters and inputs; `None` is zero.
#[derive(Debug, Clone)]
pub(crate) struct Direction {
    pub(crate) params: Params,
    pub(crate) inputs: Vec<Option<Tensor>>,
}

/// Standard normals of a shape.
pub(crate) fn normal(like: &Tensor, seed: u64) -> Result<Tensor> {
    let values = Initializer::Normal.draw("check", like.elem_count(), seed);
    let tensor = Tensor::from_vec(values, like.shape(), like.device())?;
    Ok(tensor.to_dtype(like.dtype())?)
}

/// The sum of all products, in f64.
pub(crate) fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    let product = (a.to_dtype(DType::F64)? * b.to_dtype(DType::F64)?)?;
    Ok(product.sum_all()?.to_scalar()?)
}

/// `||a - b|| / max(||a||, ||b||)`; 0 where both are zero, NaN where a number is.
pub(crate) fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
    let difference = (a.to_dtype(DType::F64)? - b.to_dtype(DType::F64)?)?;
    let [norm, one, other] = [&difference, a, b].map(|t| dot(t, t).map(f64::sqrt));
    let (norm, scale) = (norm?, one?.max(other?));
    Ok(if norm == 0.0 { 0.0 } else { norm / scale })
}

/// The larger of two, NaN where one is.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b <= a { a } else { b }
}

impl Direction {
    /// Normals everywhere, as large as what they move where that is larger than 1, so that
    /// differences of large values are not lost in round-off; whole numbers have no tangent.
    pub(crate) fn random(at: &Point, seed: u64) -> Result<Self> {
        let mut number = seed;
        let mut draw = |tensor: &Tensor| {
            number = number.wrapping_add(1);
            let size = (dot(tensor, tensor)? / tensor.elem_count().max(1) as f64).sqrt();
            Ok((normal(tensor, number)? * size.max(1.0))?)
        };
        let params = at.params.map(&mut draw)?;
        let inputs = at.inputs.iter().map(|x| x.dtype().is_float().then(|| draw(x)).transpose());
        Ok(Self { params, inputs: inputs.collect::<Result<_>>()? })
    }

    /// One direction for each input and parameter of a point that moves alone.
    pub(crate) fn one_by_one(&self, point: &Point) -> Result<Vec<(String, Self)>> {
        let mut all = Vec::new();
        let zero =
            Self { params: self.params.zeros_like()?, inputs: vec![None; self.inputs.len()] };
        for (at, input) in self.inputs.iter().enumerate().filter(|(_, input)| input.is_some()) {
            let mut alone = zero.clone();
            alone.inputs[at] = input.clone();
            all.push((point.names[at].clone(), alone));
        }
        let is_read = |name: &str| point.graph.specs.iter().any(|spec| spec.name == name);
        for (name, _) in self.params.iter().filter(|(name, _)| is_read(name)) {
            let mut alone = zero.clone();
            let theta = self.params.iter().map(|(other, t)| {
                let tensor = if other == name { t.clone() } else { t.zeros_like()? };
                Ok((other.to_owned(), tensor))
            });
            alone.params = Params::new(theta.collect::<Result<_>>()?, Vec::new())?;
            all.push((name.to_owned(), alone));
        }
        Ok(all)
    }

    /// The sum of all products.
    pub(crate) fn dot(&self, other: &Self) -> Result<f64> {
        let mut sum = self.params.dot(&other.params)?;
        for (a, b) in self.inputs.iter().zip(&other.inputs) {
            if let (Some(a), Some(b)) = (a, b) {
                sum += dot(a, b)?;
            }
        }
        Ok(sum)
    }

    /// `||self - other|| / max(||self||, ||other||)`.
    pub(crate) fn distance(&self, other: &Self) -> Result<f64> {
        let norm = self.difference(other)?;
        let scale = self.dot(self)?.max(other.dot(other)?).sqrt();
        Ok(if norm == 0.0 { 0.0 } else { norm / scale })
    }

    fn difference(&self, other: &Self) -> Result<f64> {
        let difference = self.params.sub(&other.params)?;
        let mut sum = difference.dot(&difference)?;
        for (a, b) in self.inputs.iter().zip(&other.inputs) {
            let difference = match (a, b) {
                (Some(a), Some(b)) => (a - b)?,
                (Some(one), None) | (None, Some(one)) => one.clone(),
                (None, None) => continue,
            };
            sum += dot(&difference, &difference)?;
        }
        Ok(sum.sqrt())
    }
}

impl Point {
    /// The name of an input or a parameter, by the number of its value.
    pub(crate) fn name_of(&self, value: usize) -> String {
        match self.graph.nodes[value].source {
            Source::Input(number) => self.names[number].clone(),
            Source::Parameter(spec) => self.graph.specs[spec].name.clone(),
            Source::Result { .. } => String::new(),
        }
    }

    /// The point at a distance along a direction.
    pub(crate) fn moved(&self, step: f64, along: &Direction) -> Result<Self> {
        let inputs = self.inputs.iter().zip(&along.inputs).map(|(x, dx)| match dx {
            Some(dx) => Ok((x + (dx * step)?)?),
            None => Ok(x.clone()),
        });
        let inputs = inputs.collect::<Result<_>>()?;
        let params = self.params.add_scaled(step, &along.params)?;
        Ok(Self { params, inputs, ..self.clone() })
    }

    pub(crate) fn forward(&self) -> Result<(Tensor, Kept)> {
        self.graph.forward(self.output, &self.params, &self.inputs, NormMode::Frozen)
    }

    fn flow(&self) -> Result<Flow> {
        Flow::new(&self.graph, self.output, &self.params, false)
    }

    /// The tangent of the output.
    pub(crate) fn jvp(&self, along: &Direction) -> Result<Tensor> {
        let (y, kept) = self.forward()?;
        let tangents = self.graph.tangents(&kept, &self.flow()?, &along.params, &along.inputs)?;
        Ok(tangents[self.output].clone().map_or_else(|| y.zeros_like(), Ok)?)
    }

    /// The gradient of `u . f`, from rows of each example or from their sum.
    pub(crate) fn vjp(&self, u: &Tensor, wanted: Wanted) -> Result<Direction> {
        let (kept, mut parts) = (self.forward()?.1, Vec::new());
        let point = (&kept, &self.flow()?);
        let inputs = self.graph.backward(self.output, point, u, (wanted, true), &mut |factor| {
            if wanted == Wanted::Sum {
                parts.extend(factor.sum()?);
                return Ok(());
            }
            let (rows, mut start) = (factor.rows()?.sum(0)?, 0);
            for name in factor.names() {
                let count = self.params.get(name)?.elem_count();
                parts.push((name.to_owned(), rows.narrow(0, start, count)?));
                start += count;
            }
            Ok(())
        })?;
        Ok(Direction { params: self.params.gradient_from(parts)?, inputs })
    }

    /// How the gradient of `u . f` moves along a direction.
    pub(crate) fn mixed(&self, u: &Tensor, along: &Direction) -> Result<Direction> {
        let (kept, flow, mut parts) = (self.forward()?.1, self.flow()?, Vec::new());
        let tangents = self.graph.tangents(&kept, &flow, &along.params, &along.inputs)?;
        let at = MixedPoint { kept: &kept, flow: &flow, tangents: &tangents, of_inputs: true };
        let inputs = self.graph.mixed_backward(self.output, at, u, &mut |factor| {
            parts.extend(factor.sum()?);
            Ok(())
        })?;
        Ok(Direction { params: self.params.gradient_from(parts)?, inputs })
    }

    /// The point with one example alone.
    pub(crate) fn only(&self, example: usize) -> Result<Self> {
        let only = |x: &Tensor| Ok(x.narrow(0, example, 1)?);
        let inputs = self.inputs.iter().map(only).collect::<Result<_>>()?;
        Ok(Self { inputs, ..self.clone() })
    }

    /// The unit round-off of the element type.
    pub(crate) fn round_off(&self) -> Result<f64> {
        match self.params.dtype() {
            DType::F64 => Ok(f64::EPSILON),
            DType::F32 => Ok(f64::from(f32::EPSILON)),
            got => Err(ModelError::DType { what: "check".to_owned(), expected: DType::F64, got }),
        }
    }
}
