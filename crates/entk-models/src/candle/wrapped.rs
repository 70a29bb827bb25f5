//! A model of candle-nn as a network: what builds it, and the map of its variables, go in. Its
//! derivatives are those of candle's autograd, example by example.

use std::{collections::HashMap, sync::PoisonError};

use candle_core::{Module, Tensor};
use candle_nn::{VarBuilder, VarMap};

use crate::{
    error::Result,
    graph::Graph,
    network::Network,
    operations::closure::Closure,
    params::{init::Initializer, spec::ParamSpec},
};

impl Network {
    /// A model of candle-nn as it is: one [`Closure`] of the input and all variables, with what
    /// that says about cost and about derivatives of candle that are wrong.
    ///
    /// `build` makes the model from a builder whose tensors are variables of `map`, of which names
    /// and shapes are taken; parameters come by [`Params::from_var_map`](crate::Params), and an
    /// initial law is not known. `running_mean` and `running_var` are statistics. A model that
    /// tells training from evaluation is to be built for evaluation.
    ///
    /// ```
    /// # use candle_core::{DType, Device, Tensor};
    /// # use candle_nn::{VarBuilder, VarMap};
    /// # use entk_models::{Model, Network, Params};
    /// let build = |builder: VarBuilder<'static>| {
    ///     let hidden = candle_nn::linear(4, 8, builder.pp("hidden"))?;
    ///     let head = candle_nn::linear(8, 1, builder.pp("head"))?;
    ///     Ok(candle_nn::seq().add(hidden).add_fn(|x| x.tanh()).add(head))
    /// };
    /// let map = VarMap::new();
    /// build(VarBuilder::from_varmap(&map, DType::F64, &Device::Cpu))?;
    ///
    /// let network = Network::from_candle("small", &[4], 1, &map, build)?;
    /// let theta = Params::from_var_map(&network.specs(), &map)?;
    /// let x = Tensor::ones((3, 4), DType::F64, &Device::Cpu)?;
    /// assert_eq!(network.sweep(&theta, &x)?.outputs().dims(), [3, 1]);
    /// # Ok::<(), entk_models::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// A map without variables.
    pub fn from_candle<M: Module>(
        name: &str,
        input: &[usize],
        outputs: usize,
        map: &VarMap,
        build: impl Fn(VarBuilder<'static>) -> candle_core::Result<M> + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut graph = Graph::new();
        let mut values = vec![graph.input(input)];
        let specs = specs(map);
        for spec in &specs {
            values.push(graph.parameter(spec.clone())?);
        }
        let function = move |inputs: &[Tensor]| {
            let x = &inputs[0];
            let named = specs.iter().zip(&inputs[1..]);
            let tensors: HashMap<String, Tensor> = named
                .map(|(spec, tensor)| Ok((spec.name.clone(), tensor.squeeze(0)?)))
                .collect::<candle_core::Result<_>>()?;
            build(VarBuilder::from_tensors(tensors, x.dtype(), x.device()))?.forward(x)
        };
        let output =
            graph.apply(Closure::new(name, move |_| Ok(vec![outputs]), function), &values)?;
        graph.network(output)
    }
}

/// What a map says of its variables, which have no order: by name.
fn specs(map: &VarMap) -> Vec<ParamSpec> {
    let variables = map.data().lock().unwrap_or_else(PoisonError::into_inner);
    let spec = |(name, variable): (&String, &candle_core::Var)| {
        let is_statistic = [".running_mean", ".running_var"].iter().any(|end| name.ends_with(end));
        let of_kind = if is_statistic { ParamSpec::statistic } else { ParamSpec::trainable };
        of_kind(name.clone(), variable.dims(), Initializer::Zeros)
    };
    let mut specs: Vec<ParamSpec> = variables.iter().map(spec).collect();
    specs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    specs
}
