//! A network of the list with random parameters and inputs, on the CPU in f64, for tests that run
//! every network.

use candle_core::{DType, Tensor};
use entk_models::{Model, Network, Params, Result};

use crate::{
    device::test_device,
    networks::{DERIVATIVES, IDS, KERNELS, named},
    random::{ids, normal},
};

/// A network, parameters near its initial law, and inputs.
#[derive(Debug)]
pub struct Case {
    /// The network's name in the list.
    pub name: &'static str,
    /// The network.
    pub network: Network,
    /// The initial law plus a tenth of standard normals: biases away from zero, so that their
    /// derivatives show.
    pub theta: Params,
    /// Standard normal inputs, or ids.
    pub x: Tensor,
}

impl Case {
    /// The network of this name with `batch` inputs.
    ///
    /// # Errors
    /// A name that is not in the list.
    pub fn new(name: &'static str, batch: usize, seed: u64) -> Result<Self> {
        let network = named(name)?;
        let noise = Params::standard_normal(&network.specs(), seed + 1, DType::F64, test_device())?;
        let theta = network.init(seed, DType::F64, test_device())?.add_scaled(0.1, &noise)?;
        let shape = [&[batch], network.input_shape()].concat();
        let x = match IDS.iter().find(|(named, _)| *named == name) {
            Some((_, count)) => ids(&shape, *count, seed + 2)?,
            None => normal(&shape, seed + 2)?,
        };
        Ok(Self { name, network, theta, x })
    }

    /// The parameters and inputs in an element type; ids stay as they are.
    ///
    /// # Errors
    /// Those of the tensor library.
    pub fn to_dtype(&self, dtype: DType) -> Result<(Params, Tensor)> {
        let x = if self.x.dtype().is_int() { self.x.clone() } else { self.x.to_dtype(dtype)? };
        Ok((self.theta.to_dtype(dtype)?, x))
    }

    /// A standard normal direction in parameter space.
    ///
    /// # Errors
    /// Those of the tensor library.
    pub fn direction(&self, seed: u64) -> Result<Params> {
        Params::standard_normal(&self.network.specs(), seed, DType::F64, test_device())
    }
}

/// Every network whose derivatives are tested, with statistics away from their initial values.
///
/// # Errors
/// Those of [`Case::new`].
pub fn derivative_cases() -> Result<Vec<Case>> {
    let case = |(name, batch)| {
        let case = Case::new(name, batch, 11)?;
        let theta = moved_statistics(&case.theta, 14)?;
        let theta =
            if name == "resnet, zero branches" { with_zero_branches(&theta)? } else { theta };
        Ok(Case { theta, ..case })
    };
    DERIVATIVES.iter().copied().map(case).collect()
}

/// Every network whose kernels are tested, with 83 inputs: a prime, so that no tile divides it.
///
/// # Errors
/// Those of [`Case::new`].
pub fn kernel_cases() -> Result<Vec<Case>> {
    KERNELS.iter().map(|name| Case::new(name, 83, 1)).collect()
}

/// `params` with running means of size 0.3 and running variances between 0.5 and 1.5.
///
/// # Errors
/// Those of the tensor library.
pub fn moved_statistics(params: &Params, seed: u64) -> Result<Params> {
    let moved = (params.statistics())
        .map(|(name, tensor)| {
            let noise = (normal(tensor.dims(), seed)? * 0.3)?;
            let moved = match name.ends_with("running_var") {
                true => ((noise.tanh()? * 0.5)? + 1.0)?,
                false => noise,
            };
            Ok((name.to_string(), moved))
        })
        .collect::<Result<_>>()?;
    params.with_statistics(moved)
}

/// `params` with every scale called `*bn2.weight` exactly zero.
///
/// # Errors
/// Those of the tensor library.
pub fn with_zero_branches(params: &Params) -> Result<Params> {
    let zeroed = (params.iter())
        .map(|(name, tensor)| match name.ends_with("bn2.weight") {
            true => Ok((name.to_string(), tensor.zeros_like()?)),
            false => Ok((name.to_string(), tensor.clone())),
        })
        .collect::<Result<_>>()?;
    let statistics = params.statistics().map(|(n, t)| (n.to_string(), t.clone())).collect();
    Params::new(zeroed, statistics)
}
