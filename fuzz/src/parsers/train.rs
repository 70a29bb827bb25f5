//! Checkpoints of trainings.

use std::{fs, sync::OnceLock};

use candle_core::{DType, Device, Tensor};
use entk::{
    models::{MlpConfig, Model, Network, Params},
    train::{Examples, SgdConfig, Trainer},
};

use crate::parsers::inputs::{BETWEEN, split, with_folder};

struct Task {
    network: Network,
    theta: Params,
    examples: Examples,
    config: SgdConfig,
}

/// The training that the corpus has checkpoints of.
fn task() -> &'static Task {
    static TASK: OnceLock<Task> = OnceLock::new();
    TASK.get_or_init(|| {
        let config = MlpConfig { input: [1, 2, 2], hidden: vec![2], ..MlpConfig::default() };
        let network = config.network().expect("a network");
        let theta = network.init(0, DType::F32, &Device::Cpu).expect("parameters");
        let x = Tensor::ones((4, 1, 2, 2), DType::F32, &Device::Cpu).expect("inputs");
        let examples = Examples::new(x, vec![0, 1, 1, 0]).expect("examples");
        let config = SgdConfig { batch: 2, epochs: 5, ..SgdConfig::default() };
        Task { network, theta, examples, config }
    })
}

/// A byte, checkpoint.json, and tensors. Where the byte is odd the hash in the record is made
/// right.
pub fn checkpoint(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let files = split(rest);
    let (mut json, tensors) = (files[0].to_vec(), files.get(1).copied().unwrap_or(&[]));
    let Task { network, theta, examples, config } = task();
    with_folder(|folder| {
        if let Ok(mut record) = serde_json::from_slice::<serde_json::Value>(&json) {
            let is_name = |name: &&str| {
                (1..100).contains(&name.len())
                    && !name.contains(['/', '\0'])
                    && !name.contains("..")
            };
            if let Some(name) = record["tensors"].as_str().filter(is_name).filter(|n| *n != ".") {
                fs::write(folder.join(name), tensors)?;
            }
            if mode & 1 == 1 && record.is_object() {
                record["hash"] = blake3::hash(tensors).to_hex().to_string().into();
                json = serde_json::to_vec(&record)?;
            }
        }
        fs::write(folder.join("checkpoint.json"), &json)?;
        let mut trainer = Trainer::new(network, theta, examples, None, config).expect("a trainer");
        if trainer.resume(folder).is_ok_and(|found| found) {
            assert!(trainer.epoch() <= config.epochs, "epoch {}", trainer.epoch());
            let _ = trainer.step_epoch().is_ok();
        }
        Ok(())
    });
}

/// Checkpoints of all epochs, to begin a corpus with.
///
/// # Panics
/// Where they cannot be written.
pub fn seeds() -> Vec<Vec<u8>> {
    let Task { network, theta, examples, config } = task();
    let mut trainer = Trainer::new(network, theta, examples, None, config).expect("a trainer");
    let mut seeds = Vec::new();
    while trainer.step_epoch().expect("an epoch").is_some() {
        let seed = with_folder(|folder| {
            trainer.save(folder).expect("a checkpoint");
            let (mut json, mut tensors) = (Vec::new(), Vec::new());
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let is_record = path.extension().is_some_and(|extension| extension == "json");
                *(if is_record { &mut json } else { &mut tensors }) = fs::read(path)?;
            }
            Ok([&[1], &json[..], &BETWEEN, &tensors].concat())
        });
        seeds.push(seed);
    }
    seeds
}
