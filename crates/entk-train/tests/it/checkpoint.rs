//! Interrupted runs against uninterrupted ones.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use candle_core::DType;
use entk_linearize::Linearized;
use entk_models::{Activation, Model, ModelError, Params};
use entk_train::{
    AdamConfig, Examples, Fit, Loss, Optimizer, Outcome, SgdConfig, TrainError, Trainer,
    WeightDecay, fit,
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::tasks::{flat, mlp, separable, start};

/// Tells the child process of the kill test which run to do, and where.
const RUN: &str = "ENTK_TEST_RUN";
const FOLDER: &str = "ENTK_TEST_FOLDER";

/// The four runs: rule by model, 200 steps each.
fn with_run<T>(number: usize, then: impl FnOnce(Trainer<'_>, &SgdConfig) -> T) -> T {
    let network = mlp([1, 8, 8], &[30, 30], Activation::Relu);
    let theta = start(&network, DType::F32);
    let linear = Linearized::new(&network, theta.clone());
    let model: &dyn Model = if number < 2 { &network } else { &linear };
    let train = separable([165, 1, 8, 8], 0.2, DType::F32, 2);
    let adam = Optimizer::Adam(AdamConfig::default());
    let config = SgdConfig {
        learning_rate: if number.is_multiple_of(2) { 0.05 } else { 1e-3 },
        batch: 16,
        epochs: 20,
        optimizer: if number.is_multiple_of(2) { Optimizer::HeavyBall } else { adam },
        ..SgdConfig::default()
    };
    then(Trainer::new(model, &theta, &train, Some(&train), &config).unwrap(), &config)
}

fn to_the_end(mut trainer: Trainer<'_>, folder: &Path) -> Fit {
    trainer.resume(folder).unwrap();
    while trainer.step_epoch().unwrap().is_some() {
        trainer.save(folder).unwrap();
    }
    trainer.into_fit()
}

/// The other half of the test below, in a process of its own; by itself it has nothing to do.
#[test]
fn the_run_of_a_child_process() {
    let (Ok(run), Ok(folder)) = (std::env::var(RUN), std::env::var(FOLDER)) else { return };
    with_run(run.parse().unwrap(), |trainer, _| to_the_end(trainer, Path::new(&folder)));
}

fn child(run: usize, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "checkpoint::the_run_of_a_child_process", "--test-threads=1"])
        .env(RUN, run.to_string())
        .env(FOLDER, folder)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills of each of the four runs: 25 in all.
const KILLS: [usize; 4] = [7, 6, 6, 6];

#[test]
fn killed_runs_end_with_the_same_bits() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for (run, kills) in KILLS.into_iter().enumerate() {
        let whole = with_run(run, |trainer, _| {
            let folder = tempfile::tempdir().unwrap();
            to_the_end(trainer, folder.path())
        });
        let folder = tempfile::tempdir().unwrap();
        let mut killed = 0;
        while killed < kills {
            let mut child = child(run, folder.path());
            std::thread::sleep(Duration::from_millis(random.random_range(0..60)));
            if child.try_wait().unwrap().is_some() {
                // It ended before: begin again, from nothing.
                std::fs::remove_dir_all(folder.path()).unwrap();
                continue;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
        }
        let resumed = with_run(run, |trainer, _| to_the_end(trainer, folder.path()));
        assert_eq!(flat(&resumed.params), flat(&whole.params), "run {run}");
        assert_eq!(resumed.history, whole.history, "run {run}");
    }
}

/// The deterministic part: interrupted after every epoch in turn.
#[test]
fn a_run_resumed_after_any_epoch_ends_with_the_same_bits() {
    for run in 0..4 {
        let whole = with_run(run, |mut trainer, _| {
            while trainer.step_epoch().unwrap().is_some() {}
            trainer.into_fit()
        });
        let folder = tempfile::tempdir().unwrap();
        for epoch in 0..=20 {
            with_run(run, |mut trainer, _| {
                assert_eq!(trainer.resume(&folder).unwrap(), epoch > 0);
                assert_eq!(trainer.epoch(), epoch.max(1) - 1);
                if epoch > 0 {
                    trainer.step_epoch().unwrap();
                }
                trainer.stop(); // A stopped run goes on when resumed.
                trainer.save(&folder).unwrap();
            });
        }
        let end = with_run(run, |trainer, _| to_the_end(trainer, folder.path()));
        assert_eq!(flat(&end.params), flat(&whole.params), "run {run}");
        assert_eq!(end.history, whole.history, "run {run}");
        // One record and one file of tensors are left.
        assert_eq!(files(folder.path()).len(), 2);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn saved(folder: &Path) {
    with_run(0, |mut trainer, _| {
        trainer.step_epoch().unwrap();
        trainer.save(folder).unwrap();
    });
}

#[test]
fn checkpoints_of_other_runs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    saved(folder.path());
    let refused = |run| {
        with_run(run, |mut trainer, _| match trainer.resume(&folder) {
            Err(TrainError::OtherRun { what, differ, .. }) => {
                assert_eq!(differ.is_empty(), what != "settings", "{differ:?}");
                assert!(differ.iter().all(|field| field.contains(" -> ")), "{differ:?}");
                assert_eq!(trainer.epoch(), 0);
                what
            }
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(refused(1), "settings");
    assert_eq!(refused(2), "model");

    let network = mlp([1, 8, 8], &[30, 30], Activation::Relu);
    let theta = start(&network, DType::F32);
    let train = separable([165, 1, 8, 8], 0.2, DType::F32, 2);
    let other = train.with_targets(vec![1; 165]).unwrap();
    let config = with_run(0, |_, config| config.clone());
    let refused = |params: &Params, train: &Examples, test: Option<&Examples>| {
        let mut trainer = Trainer::new(&network, params, train, test, &config).unwrap();
        match trainer.resume(&folder) {
            Err(TrainError::OtherRun { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&theta.scale(2.0).unwrap(), &train, Some(&train)), "initial parameters");
    assert_eq!(refused(&theta, &other, Some(&train)), "training examples");
    assert_eq!(refused(&theta, &train, Some(&other)), "test examples");
    assert_eq!(refused(&theta, &train, None), "test examples");
}

/// Resumes the first run from `folder`; where that is refused, the run is at its start.
fn resume(folder: &Path) -> Result<bool, String> {
    with_run(0, |mut trainer, _| {
        let result = trainer.resume(folder);
        assert!(result.is_ok() || trainer.epoch() == 0);
        result.map_err(|error| error.to_string())
    })
}

#[test]
fn damaged_checkpoints_are_refused() {
    let damaged = |extension: &str, change: fn(&mut Vec<u8>)| {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path());
        let is = |path: &&PathBuf| path.extension().is_some_and(|e| e == extension);
        let path = files(folder.path()).iter().find(is).unwrap().clone();
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        resume(folder.path()).unwrap_err()
    };
    let error = damaged("safetensors", |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert!(error.contains("damaged"), "{error}");
    let error = damaged("safetensors", |bytes| bytes.truncate(100));
    assert!(error.contains("damaged"), "{error}");
    let error = damaged("json", |bytes| bytes.truncate(100));
    assert!(error.contains("checkpoint.json"), "{error}");
    let outside = |bytes: &mut Vec<u8>| {
        *bytes = String::from_utf8(bytes.clone()).unwrap().replace("state-", "../state-").into();
    };
    assert!(damaged("json", outside).contains("outside"));
    let later = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replace("\"format\": 1", "\"format\": 2").into();
    };
    assert!(damaged("json", later).contains("format 2"));
}

#[test]
fn leftovers_of_an_interrupted_save_are_no_checkpoint_and_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state-00000000-7.safetensors"), b"half").unwrap();
    assert_eq!(resume(folder.path()), Ok(false));
    saved(folder.path());
    assert_eq!(resume(folder.path()), Ok(true));
    // A folder that is a file.
    let error = with_run(0, |trainer, _| {
        trainer.save(folder.path().join("checkpoint.json")).unwrap_err().to_string()
    });
    assert!(error.contains("checkpoint.json"), "{error}");
}

#[test]
fn a_converged_run_is_done_when_resumed() {
    let network = mlp([1, 8, 8], &[30, 30], Activation::Relu);
    let theta = start(&network, DType::F64);
    let train = separable([165, 1, 8, 8], 0.2, DType::F64, 2);
    let config = SgdConfig {
        stop_at_loss: Some(0.2),
        loss: Loss::SigmoidCrossEntropy,
        batch: 16,
        ..SgdConfig::default()
    };
    let whole = fit(&network, &theta, &train, None, &config).unwrap();
    assert_eq!(whole.history.outcome, Outcome::Converged);
    let folder = tempfile::tempdir().unwrap();
    let trainer = || Trainer::new(&network, &theta, &train, None, &config).unwrap();
    let mut first = trainer();
    while first.step_epoch().unwrap().is_some() {}
    first.save(&folder).unwrap();
    let mut second = trainer();
    assert!(second.resume(&folder).unwrap() && second.is_done());
    assert_eq!(second.history(), &whole.history);
    assert_eq!(flat(second.params()), flat(&whole.params));
}

/// Checkpoints that were written before the types of the settings had these names are still read.
#[test]
fn settings_keep_their_names_in_checkpoints() {
    let config = SgdConfig {
        optimizer: Optimizer::Nesterov,
        decay: WeightDecay::FromStart(0.5),
        ..SgdConfig::default()
    };
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["update"], serde_json::json!("Nesterov"));
    assert_eq!(json["decay"], serde_json::json!({ "FromStart": 0.5 }));
    assert_eq!(json["loss"], serde_json::json!("SigmoidCrossEntropy"));
    assert!(json.get("class_weights").is_none());
    assert_eq!(serde_json::from_value::<SgdConfig>(json).unwrap(), config);
}

/// A disk that fails says nothing of what is on it: nothing is taken for damage, or changed.
#[cfg(debug_assertions)]
#[test]
fn a_checkpoint_that_cannot_be_read_or_written_is_not_damaged() {
    use entk_device::files::faults::{Fault, FaultPlan, inject};
    with_run(0, |mut trainer, _| {
        let folder = tempfile::tempdir().unwrap();
        trainer.step_epoch().unwrap();
        trainer.save(folder.path()).unwrap();
        let before = contents(folder.path());
        for fault in [Fault::Full, Fault::Broken, Fault::Denied] {
            for at in 0.. {
                let injection = inject(folder.path(), FaultPlan { at, fault });
                let resumed = trainer.resume(folder.path());
                if injection.count() <= at {
                    assert!(at >= 6, "{at} operations");
                    break;
                }
                let is_of_files = matches!(
                    &resumed,
                    Err(TrainError::File(_) | TrainError::Model(ModelError::File(_)))
                );
                assert!(is_of_files, "{fault:?} at {at}: {resumed:?}");
            }
        }
        assert!(contents(folder.path()) == before);
        for at in 0.. {
            let injection = inject(folder.path(), FaultPlan { at, fault: Fault::Full });
            let saved = trainer.save(folder.path());
            let is_of_files = matches!(
                &saved,
                Ok(()) | Err(TrainError::File(_) | TrainError::Model(ModelError::File(_)))
            );
            assert!(is_of_files, "{at}: {saved:?}");
            let operations = injection.count();
            drop(injection);
            trainer.resume(folder.path()).unwrap();
            if operations <= at {
                assert!(at > 10, "{at} operations");
                break;
            }
        }
        trainer.save(folder.path()).unwrap();
        assert_eq!(contents(folder.path()).len(), before.len(), "nothing is left over");
    });
}

/// The files of a folder and their bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    files.sort();
    files
}
