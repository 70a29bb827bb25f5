//! Forward passes in candle's own operations, for those it differentiates correctly.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use entk_models::NormMode;

/// A forward pass; networks without batch norm ignore the mode.
pub type Autograd = fn(&Weights, &Tensor, NormMode) -> candle_core::Result<Tensor>;

/// The forward pass of the case of this name, if there is one.
pub fn of(name: &str) -> Option<Autograd> {
    match name {
        "mlp relu" => Some(mlp_autograd),
        "lenet5 relu" => Some(lenet_autograd),
        "strided convolutions" => Some(strided_autograd),
        "resnet relu" => Some(resnet_autograd),
        _ => None,
    }
}

/// Parameters and statistics by name.
pub type Weights = HashMap<String, Tensor>;

fn dense(w: &Weights, name: &str, x: &Tensor) -> candle_core::Result<Tensor> {
    let linear = candle_nn::Linear::new(
        w[&format!("{name}.weight")].clone(),
        Some(w[&format!("{name}.bias")].clone()),
    );
    candle_nn::Module::forward(&linear, x)
}

fn conv(w: &Weights, name: &str, x: &Tensor, padding: usize) -> candle_core::Result<Tensor> {
    let bias = w[&format!("{name}.bias")].reshape((1, (), 1, 1))?;
    x.conv2d(&w[&format!("{name}.weight")], padding, 1, 1, 1)?.broadcast_add(&bias)
}

fn mlp_autograd(w: &Weights, x: &Tensor, _: NormMode) -> candle_core::Result<Tensor> {
    let x = dense(w, "fc1", &x.flatten_from(1)?)?.relu()?;
    let x = dense(w, "fc2", &x)?.relu()?;
    dense(w, "fc3", &x)
}

fn lenet_autograd(w: &Weights, x: &Tensor, _: NormMode) -> candle_core::Result<Tensor> {
    let x = conv(w, "conv1", x, 2)?.relu()?.avg_pool2d(2)?;
    let x = conv(w, "conv2", &x, 2)?.relu()?.avg_pool2d(2)?;
    let x = dense(w, "fc1", &x.flatten_from(1)?)?.relu()?;
    let x = dense(w, "fc2", &x)?.relu()?;
    dense(w, "fc3", &x)
}

fn strided_autograd(w: &Weights, x: &Tensor, _: NormMode) -> candle_core::Result<Tensor> {
    // SAME at stride 2 on 10 pixels: one zero row and column, after.
    let x = x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
    let x = x.conv2d(&w["a.weight"], 0, 2, 1, 1)?.tanh()?;
    let x = conv(w, "b", &x, 0)?.tanh()?;
    let bias = w["c.bias"].reshape((1, (), 1, 1))?;
    let x = x.conv2d(&w["c.weight"], 0, 2, 1, 1)?.broadcast_add(&bias)?;
    x.flatten_from(1)?.matmul(&w["head.weight"].t()?)
}

fn plain_conv(
    w: &Weights,
    name: &str,
    x: &Tensor,
    padding: usize,
    stride: usize,
) -> candle_core::Result<Tensor> {
    x.conv2d(&w[&format!("{name}.weight")], padding, stride, 1, 1)
}

fn norm(w: &Weights, name: &str, x: &Tensor, mode: NormMode) -> candle_core::Result<Tensor> {
    let get = |part: &str| w[&format!("{name}.{part}")].reshape((1, (), 1, 1));
    let (mean, variance) = match mode {
        NormMode::Frozen => (get("running_mean")?, get("running_var")?),
        NormMode::Batch => {
            let mean = x.mean_keepdim((0, 2, 3))?;
            let variance = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
            (mean, variance)
        }
    };
    let hat = x.broadcast_sub(&mean)?.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
    hat.broadcast_mul(&get("weight")?)?.broadcast_add(&get("bias")?)
}

/// Two stages of one block each, ReLU, on an even square image.
pub fn resnet_autograd(w: &Weights, x: &Tensor, mode: NormMode) -> candle_core::Result<Tensor> {
    let x = norm(w, "bn1", &plain_conv(w, "conv1", x, 1, 1)?, mode)?.relu()?;
    let y = norm(w, "layer1.0.bn1", &plain_conv(w, "layer1.0.conv1", &x, 1, 1)?, mode)?.relu()?;
    let y = norm(w, "layer1.0.bn2", &plain_conv(w, "layer1.0.conv2", &y, 1, 1)?, mode)?;
    let x = (x + y)?.relu()?;
    // SAME at stride 2: one zero row and column, after.
    let y = x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
    let y = norm(w, "layer2.0.bn1", &plain_conv(w, "layer2.0.conv1", &y, 0, 2)?, mode)?.relu()?;
    let y = norm(w, "layer2.0.bn2", &plain_conv(w, "layer2.0.conv2", &y, 1, 1)?, mode)?;
    let projected = plain_conv(w, "layer2.0.downsample.0", &x, 0, 2)?;
    let x = (norm(w, "layer2.0.downsample.1", &projected, mode)? + y)?.relu()?;
    dense(w, "fc", &x.mean((2, 3))?)
}

/// Every tensor of a set of parameters; theta as given by `of`, statistics as they are.
pub fn weights(
    theta: &entk_models::Params,
    mut of: impl FnMut(&str, &Tensor) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Weights> {
    let mut all = Weights::new();
    for (name, tensor) in theta.iter() {
        all.insert(name.to_string(), of(name, tensor)?);
    }
    for (name, tensor) in theta.statistics() {
        all.insert(name.to_string(), tensor.to_dtype(DType::F64)?);
    }
    Ok(all)
}
