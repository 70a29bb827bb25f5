//! What a test needs of an operation: shapes of its inputs and the numbers that these may hold, and
//! the visitor that takes operations one by one.

use candle_core::Tensor;
use entk_models::{Operation, Result};

use crate::{device::test_device, random::normals};

/// Which numbers an input of an operation may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Standard normals.
    Normal,
    /// Normals moved at least 1/32 away from the multiples of 1/8, where functions have kinks: all
    /// steps but the largest stay on one side.
    BetweenEighths,
    /// Numbers at least 1/8 apart in any one example, in random order: a small step leaves the
    /// largest of them the largest.
    Apart,
    /// Numbers in 1/2..2.
    Positive,
    /// Whole numbers below this one, u32.
    Ids(usize),
}

/// An input of an operation under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputLaw {
    /// Shape of one example.
    pub shape: Vec<usize>,
    /// What it holds.
    pub numbers: Numbers,
    /// Whether it may follow from parameters alone.
    pub shared: bool,
    /// Whether it always does, and has no derivative, as a running statistic.
    pub constant: bool,
}

impl InputLaw {
    /// Standard normals of this shape.
    pub fn normal(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), numbers: Numbers::Normal, shared: false, constant: false }
    }

    /// Whole numbers below `count`, of this shape.
    pub fn ids(count: usize, shape: &[usize]) -> Self {
        Self { numbers: Numbers::Ids(count), ..Self::normal(shape) }
    }

    /// One that may follow from parameters alone: a parameter as a rule.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// One that follows from parameters and has no derivative.
    #[must_use]
    pub fn constant(self) -> Self {
        Self { shared: true, constant: true, ..self }
    }

    /// This many examples, f64 or u32.
    ///
    /// # Errors
    /// Those of the tensor library.
    pub fn draw(&self, examples: usize, seed: u64) -> Result<Tensor> {
        let shape = [&[examples], &self.shape[..]].concat();
        let count = shape.iter().product();
        let normals = normals(count, seed);
        match self.numbers {
            Numbers::Normal => Ok(Tensor::from_vec(normals, shape, test_device())?),
            Numbers::BetweenEighths => {
                let between = |x: f64| (8.0 * x + (8.0 * x).floor() + 0.5) / 16.0;
                let between = normals.into_iter().map(between).collect();
                Ok(Tensor::from_vec::<_, f64>(between, shape, test_device())?)
            }
            Numbers::Positive => {
                let positive = normals.iter().map(|x| 1.25 + 0.75 * x.tanh()).collect();
                Ok(Tensor::from_vec::<_, f64>(positive, shape, test_device())?)
            }
            Numbers::Apart => {
                let ranks = normals.chunks((count / examples).max(1)).flat_map(ranks);
                let apart = ranks.map(|rank| rank as f64 / 8.0 - 2.0).collect();
                Ok(Tensor::from_vec::<_, f64>(apart, shape, test_device())?)
            }
            Numbers::Ids(below) => {
                let id = |x: f64| (x.abs() * 1e3) as u32 % below as u32;
                let ids = normals.into_iter().map(id).collect();
                Ok(Tensor::from_vec::<_, u32>(ids, shape, test_device())?)
            }
        }
    }
}

/// How many numbers are smaller than each.
fn ranks(numbers: &[f64]) -> impl Iterator<Item = usize> {
    numbers.iter().map(|x| numbers.iter().filter(|y| *y < x).count())
}

/// What is done with every operation of the list.
pub trait OperationVisitor {
    /// One operation, and one law for each of its inputs.
    ///
    /// # Errors
    /// Those of the visit, which end the tour.
    fn visit<O: Operation + Clone>(
        &mut self,
        name: &str,
        operation: O,
        inputs: &[InputLaw],
    ) -> Result<()>;
}
