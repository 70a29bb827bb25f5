//! Memory of a GPU that assemblies use, against what their plans say; on the device of tests, where
//! that is a GPU. A program of its own, since others would use the same memory.
#![cfg(feature = "cuda")]

use candle_core::{DType, Device};
use entk_device::PoolUse;
use entk_gram::{Assembly, DeviceConfig, Engine, GramConfig, plan::Target};
use entk_models::{LeNet5Config, MlpConfig, Model, Network, Params, ResNetConfig};
use entk_testing::{TestResult, normal, test_device};

/// Allocators round every tensor up, to 512 bytes; assemblies hold a few hundred at a time.
const ROUNDING: u64 = 512 << 10;

/// The least share of its plan that an assembly uses: a plan counts what is there at a time.
const SHARE: f64 = 0.9;

/// A network, images, their size, edge of the tiles, distance from the initial parameters, layers,
/// and memory in tenths of the least, none for all there is.
type Shape<'a> = (&'a str, usize, usize, f64, &'a [&'a str], Option<u64>);

fn network(name: &str) -> TestResult<Network> {
    Ok(match name {
        "mlp" => MlpConfig { input: [3, 32, 32], ..MlpConfig::default() }.network()?,
        "lenet5" => LeNet5Config::default().network()?,
        _ => ResNetConfig { width: 8, ..ResNetConfig::default() }.network()?,
    })
}

/// (planned, used) bytes, parameters and inputs among them.
fn measured(shape: Shape<'_>) -> TestResult<(u64, u64)> {
    let (name, n, edge, moved, layers, tenths) = shape;
    let (network, device) = (network(name)?, test_device());
    let noise = Params::standard_normal(&network.specs(), 1, DType::F32, device)?;
    let theta = network.init(0, DType::F32, device)?.add_scaled(moved, &noise)?;
    let shape = [&[n], network.input_shape()].concat();
    let x = normal(&shape, 2)?.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.to_device(device)?;
    let layers: Vec<String> = layers.iter().map(|layer| (*layer).to_owned()).collect();
    let config = |memory| {
        let device = DeviceConfig { edge: Some(edge), memory, ..DeviceConfig::default() };
        GramConfig { layers: layers.clone(), engine: Engine::Tensors(device), ..Default::default() }
    };
    let memory = match tenths {
        None => None,
        Some(tenths) => match Assembly::new(&network, &theta, &x, &config(Some(1)))?.gram() {
            Err(entk_gram::GramError::Memory { needed, .. }) => Some(needed * tenths / 10),
            other => return Err(format!("a kernel in one byte: {:?}", other.map(|_| ())).into()),
        },
    };
    let config = config(memory);
    let assembly = Assembly::new(&network, &theta, &x, &config)?;
    let planned = assembly.plan(Target::Memory)?.order().peak;
    let pool = || -> TestResult<PoolUse> { Ok(PoolUse::take(device)?.ok_or("no GPU")?) };
    let before = pool()?.now;
    assembly.gram()?;
    let numbers = (x.elem_count() + theta.count()) * DType::F32.size_in_bytes();
    Ok((planned, pool()?.highest - before + numbers as u64))
}

#[test]
fn no_assembly_uses_more_than_its_plan() -> TestResult {
    if !test_device().is_cuda() {
        return Ok(());
    }
    let all: &[&str] = &[];
    let shapes: [Shape<'_>; 8] = [
        ("mlp", 128, 64, 0.0, all, None),
        ("lenet5", 96, 48, 0.02, all, Some(10)),
        ("resnet", 64, 32, 0.0, all, None),
        ("resnet", 128, 16, 0.0, all, None),
        ("resnet", 96, 48, 0.02, all, Some(12)),
        ("lenet5", 256, 128, 0.02, all, None),
        ("resnet", 160, 80, 0.02, all, None),
        ("resnet", 600, 600, 0.02, &["layer4.1.conv1.weight"], None),
    ];
    let mut wrong = Vec::new();
    for shape in shapes {
        let (planned, used) = measured(shape)?;
        let share = used as f64 / planned as f64;
        eprintln!("{shape:?}: {:.1} MB planned, {share:.2} used", planned as f64 / 1e6);
        if used > planned + ROUNDING || share < SHARE {
            wrong.push(format!("{shape:?}: {planned} bytes planned, {used} used"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
