//! Parameters from and to candle-nn's maps of variables, by name and in any order. Called by
//! programs that use both.

use std::{collections::HashMap, sync::PoisonError};

use candle_core::{Tensor, Var};
use candle_nn::{VarBuilder, VarMap};

use crate::{
    error::{ModelError, Result},
    params::{Params, spec::ParamSpec},
};

impl Params {
    /// Copies of the variables of `map`, by name. Training the variables does not move them.
    ///
    /// ```
    /// # use candle_core::{DType, Device};
    /// # use candle_nn::{Module, VarBuilder, VarMap};
    /// # use entk_models::{Dense, Model, Network, Params, Sequential};
    /// let device = Device::Cpu;
    /// let map = VarMap::new();
    /// let builder = VarBuilder::from_varmap(&map, DType::F64, &device);
    /// let linear = candle_nn::linear(3, 2, builder.pp("fc"))?;
    ///
    /// let network = Network::new(&[3], Sequential::new().then(Dense::new("fc", 3, 2)))?;
    /// let theta = Params::from_var_map(&network.specs(), &map)?;
    /// let x = candle_core::Tensor::ones((1, 3), DType::F64, &device)?;
    /// let difference = (network.forward(&theta, &x)? - linear.forward(&x)?)?;
    /// assert!(difference.abs()?.max_all()?.to_scalar::<f64>()? < 1e-12);
    /// # Ok::<(), entk_models::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_named`](Params::from_named).
    pub fn from_var_map(specs: &[ParamSpec], map: &VarMap) -> Result<Self> {
        let variables = map.data().lock().unwrap_or_else(PoisonError::into_inner);
        let tensors = variables.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
        Self::from_named(specs, tensors)
    }

    /// A map with a variable for every tensor, statistics included, as candle-nn's layers have
    /// them. To set variables of a map that exists, `map.set(theta.iter())` is enough.
    ///
    /// # Errors
    /// An allocation refused by the device.
    pub fn to_var_map(&self) -> Result<VarMap> {
        let map = VarMap::new();
        let mut variables = map.data().lock().unwrap_or_else(PoisonError::into_inner);
        for (name, tensor) in self.iter().chain(self.statistics()) {
            variables.insert(name.to_owned(), Var::from_tensor(tensor)?);
        }
        drop(variables);
        Ok(map)
    }

    /// Copies of the tensors of `specs` that a builder has below its prefix, in its element type.
    /// A builder does not say what else it has, so unexpected names stay unknown.
    ///
    /// # Errors
    /// [`ModelError::Names`] with every missing and wrongly shaped tensor, and as [`Params::new`].
    pub fn from_var_builder(specs: &[ParamSpec], builder: &VarBuilder<'_>) -> Result<Self> {
        let (mut tensors, mut missing, mut misshaped) = (Vec::new(), Vec::new(), Vec::new());
        for spec in specs {
            if !builder.contains_tensor(&spec.name) {
                missing.push(spec.name.clone());
                continue;
            }
            match builder.get(spec.shape.as_slice(), &spec.name) {
                Ok(tensor) => tensors.push((spec.name.as_str(), tensor)),
                Err(error) => misshaped.push(format!("{}: {}", spec.name, first_line(&error))),
            }
        }
        if missing.is_empty() && misshaped.is_empty() {
            return Self::from_named(specs, tensors);
        }
        Err(ModelError::Names { missing, unexpected: Vec::new(), misshaped })
    }

    /// A builder that hands out these tensors, statistics included: any model of candle-nn with
    /// the same names can be built from it.
    pub fn to_var_builder(&self) -> VarBuilder<'static> {
        let named = self.iter().chain(self.statistics());
        let tensors: HashMap<String, Tensor> =
            named.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        VarBuilder::from_tensors(tensors, self.dtype(), self.device())
    }
}

/// An error without the backtrace that may follow.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
