//! Weights in flax names and layouts: every number lands where its definition says, and every
//! misfit is reported.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use entk_models::{
    Activation, FlaxTable, LeNet5Config, MlpConfig, Model, ModelError, Network, Params,
    ResNetConfig, Result,
};
use entk_testing::{moved_statistics, normal};
use safetensors::{Dtype, tensor::TensorView};

/// Name, shape and row-major values of a variable of the file.
type Variable = (String, Vec<usize>, Vec<f64>);

fn write(variables: &[Variable]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let bytes: Vec<Vec<u8>> = (variables.iter())
        .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = variables.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.clone(), TensorView::new(Dtype::F64, shape.clone(), bytes).expect("a view"))
    });
    let bytes = safetensors::serialize(views.collect::<HashMap<_, _>>(), None).expect("bytes");
    std::fs::write(file.path(), bytes).expect("a written file");
    file
}

/// A weight of shape `ours` as flax stores it: element by element, from the definition of each
/// layout. `image` is (C, H, W) for a dense layer after a flatten.
fn to_flax(tensor: &Tensor, image: Option<[usize; 3]>) -> Result<(Vec<usize>, Vec<f64>)> {
    let values = tensor.flatten_all()?.to_vec1::<f64>()?;
    let (shape, from): (Vec<usize>, Box<dyn Fn(usize) -> usize>) = match *tensor.dims() {
        [out, inputs, height, width] => {
            // Flat index of (h, w, i, o) there -> of (o, i, h, w) here.
            let from = move |at: usize| {
                let (o, rest) = (at % out, at / out);
                let (i, rest) = (rest % inputs, rest / inputs);
                let (w, h) = (rest % width, rest / width);
                ((o * inputs + i) * height + h) * width + w
            };
            (vec![height, width, inputs, out], Box::new(from))
        }
        [out, inputs] => {
            let [channels, height, width] = image.unwrap_or([inputs, 1, 1]);
            let from = move |at: usize| {
                let (o, pixel) = (at % out, at / out);
                let (c, rest) = (pixel % channels, pixel / channels);
                let (w, h) = (rest % width, rest / width);
                o * inputs + (c * height + h) * width + w
            };
            (vec![inputs, out], Box::new(from))
        }
        ref dims => (dims.to_vec(), Box::new(|at| at)),
    };
    Ok((shape, (0..values.len()).map(|at| values[from(at)]).collect()))
}

/// Every parameter of `network`, moved, as a flax file under the given names.
fn variables(
    params: &Params,
    flax: impl Fn(&str) -> (String, Option<[usize; 3]>),
) -> Result<Vec<Variable>> {
    (params.iter().chain(params.statistics()))
        .map(|(name, tensor)| {
            let (flax, image) = flax(name);
            let (shape, values) = to_flax(tensor, image)?;
            Ok((flax, shape, values))
        })
        .collect()
}

fn moved(network: &Network) -> Result<Params> {
    let specs = network.specs();
    let noise = Params::standard_normal(&specs, 2, DType::F64, &Device::Cpu)?;
    moved_statistics(&network.init(1, DType::F64, &Device::Cpu)?.add_scaled(0.3, &noise)?, 3)
}

fn assert_loads(table: &FlaxTable, network: &Network, variables: &[Variable]) -> Result<()> {
    let (file, theta) = (write(variables), moved(network)?);
    let loaded = table.load(&network.specs(), file.path(), DType::F64, &Device::Cpu)?;
    assert_eq!(loaded.sub(&theta)?.norm()?, 0.0);
    for ((name, ours), (_, theirs)) in loaded.statistics().zip(theta.statistics()) {
        assert_eq!(ours.to_vec1::<f64>()?, theirs.to_vec1::<f64>()?, "{name}");
    }
    Ok(())
}

fn suffix(part: &str) -> &str {
    if part == "weight" { "kernel" } else { part }
}

#[test]
fn mlp_and_lenet_unfold_their_flatten() -> Result<()> {
    let config = MlpConfig { input: [2, 3, 4], hidden: vec![5, 6], ..Default::default() };
    let network = config.network()?;
    let variables = variables(&moved(&network)?, |name| match name.split_at(3) {
        ("fc1", part) => (format!("params/Dense_0/{}", suffix(&part[1..])), Some([2, 3, 4])),
        ("fc2", part) => (format!("params/Dense_1/{}", suffix(&part[1..])), None),
        (_, part) => (format!("params/Dense_2/{}", suffix(&part[1..])), None),
    })?;
    assert_loads(&config.flax_table(), &network, &variables)?;

    let config = LeNet5Config {
        input: [3, 8, 12],
        filters: [2, 4],
        hidden: [5, 6],
        outputs: 2,
        activation: Activation::Gelu,
    };
    let network = config.network()?;
    let variables = self::variables(&moved(&network)?, |name| {
        let (layer, part) = name.split_once('.').expect("layer.part");
        let (flax, image) = match layer {
            "conv1" => ("Conv_0", None),
            "conv2" => ("Conv_1", None),
            "fc1" => ("Dense_0", Some([4, 2, 3])),
            "fc2" => ("Dense_1", None),
            _ => ("Dense_2", None),
        };
        (format!("params/{flax}/{}", suffix(part)), image)
    })?;
    assert_loads(&config.flax_table(), &network, &variables)
}

fn resnet_name(name: &str) -> (String, Option<[usize; 3]>) {
    let (layer, part) = name.rsplit_once('.').expect("layer.part");
    let (collection, part) = match part {
        "running_mean" => ("batch_stats", "mean"),
        "running_var" => ("batch_stats", "var"),
        "weight" if layer.contains("bn") || layer.ends_with("downsample.1") => ("params", "scale"),
        part => ("params", suffix(part)),
    };
    let flax = match layer.split('.').collect::<Vec<_>>().as_slice() {
        ["conv1"] => "conv_init".to_string(),
        ["bn1"] => "bn_init".to_string(),
        ["fc"] => "Dense_0".to_string(),
        [stage, block, rest @ ..] => {
            // One block in the first stage, two in the second.
            let at =
                if *stage == "layer1" { 0 } else { 1 + block.parse::<usize>().expect("index") };
            let inner = match rest {
                ["conv1"] => "Conv_0",
                ["conv2"] => "Conv_1",
                ["bn1"] => "BatchNorm_0",
                ["bn2"] => "BatchNorm_1",
                ["downsample", "0"] => "conv_proj",
                _ => "norm_proj",
            };
            format!("ResNetBlock_{at}/{inner}")
        }
        _ => panic!("unknown {name}"),
    };
    (format!("{collection}/{flax}/{part}"), None)
}

fn small_resnet() -> ResNetConfig {
    ResNetConfig { input: [2, 6, 4], blocks: vec![1, 2], width: 3, ..Default::default() }
}

#[test]
fn resnet_brings_its_statistics() -> Result<()> {
    let network = small_resnet().network()?;
    let variables = variables(&moved(&network)?, resnet_name)?;
    assert_loads(&small_resnet().flax_table(), &network, &variables)
}

#[test]
fn every_misfit_is_listed_at_once() -> Result<()> {
    let network = small_resnet().network()?;
    let mut variables = variables(&moved(&network)?, resnet_name)?;
    variables.retain(|(name, _, _)| name != "params/ResNetBlock_1/conv_proj/kernel");
    variables.push(("params/extra/kernel".to_string(), vec![1], vec![0.0]));
    for (name, shape, _) in &mut variables {
        if name == "params/Dense_0/kernel" {
            shape.reverse();
        }
    }
    let file = write(&variables);
    let table = small_resnet().flax_table();
    let load = |table: &FlaxTable| {
        table.load(&network.specs(), file.path(), DType::F32, &Device::Cpu).expect_err("a misfit")
    };
    match load(&table) {
        ModelError::Names { missing, unexpected, misshaped } => {
            assert_eq!(missing, ["params/ResNetBlock_1/conv_proj/kernel"]);
            assert_eq!(unexpected, ["params/extra/kernel"]);
            let reversed = "params/Dense_0/kernel: expected [6, 1], got [1, 6], its axes reversed: transpose it";
            assert_eq!(misshaped, [reversed]);
        }
        other => panic!("{other}"),
    }
    assert!(load(&FlaxTable::new()).to_string().contains("is not in the flax table"));
    let wrong = table.clone();
    let other = MlpConfig { input: [1, 2, 2], ..Default::default() };
    assert!(wrong.load(&other.network()?.specs(), file.path(), DType::F32, &Device::Cpu).is_err());
    Ok(())
}

#[test]
fn a_negative_variance_is_refused() -> Result<()> {
    let network = small_resnet().network()?;
    let theta = moved(&network)?;
    let statistics = (theta.statistics())
        .map(|(name, tensor)| match name {
            "layer2.0.bn1.running_var" => Ok((name.to_string(), (tensor - 3.0)?)),
            _ => Ok((name.to_string(), tensor.clone())),
        })
        .collect::<Result<_>>()?;
    let theta = theta.with_statistics(statistics)?;
    let error = network.forward(&theta, &normal(&[2, 2, 6, 4], 1)?).expect_err("an error");
    assert!(error.to_string().contains("layer2.0.bn1.running_var"), "{error}");
    Ok(())
}
