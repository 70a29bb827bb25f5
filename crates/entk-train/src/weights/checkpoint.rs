//! Checkpoints: from a [`Trainer`] to a folder and back, with the same bits from there on.
//!
//! Programs save after an epoch and resume when they start again; a checkpoint of another run, or a
//! damaged one, is refused.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use entk_device::{
    files::{self, FileError},
    hash,
};
use entk_models::{Initializer, ParamSpec, Params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::SgdConfig,
    error::{Result, TrainError},
    examples::Examples,
    history::{History, Outcome},
    metrics::evaluate::logits,
    weights::trainer::Trainer,
};

/// The version of the files; another one is refused.
const FORMAT: u32 = 1;
/// The record of a checkpoint, written last; it names the file of tensors.
const RECORD: &str = "checkpoint.json";
/// The probe is the first example's first logit at theta_0 scaled by this, where a network and its
/// linearization differ; at theta_0 they agree.
const PROBE_SCALE: f64 = 1.25;
/// Relative difference of two probes up to which the models count as equal: on another machine the
/// probe of one model differs by round-off.
const PROBE_TOLERANCE: f64 = 1e-3;
/// Marks a number that is written as text.
const NUMBER: &str = "f64:";

/// The contents of the record.
#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    run: RunIdentity,
    /// The file of tensors beside the record, and the BLAKE3 hash of its bytes.
    tensors: String,
    hash: String,
    /// Steps that the optimiser has counted.
    steps: u32,
    history: History,
}

/// What must be the same for a run to go on.
#[derive(Serialize, Deserialize)]
struct RunIdentity {
    config: SgdConfig,
    /// Hashes of names, shapes and values.
    start: String,
    train: String,
    test: Option<String>,
    /// The hash of the graph of operations.
    #[serde(default)]
    network: String,
    /// The first training example's logit at scaled parameters.
    probe: f64,
}

impl RunIdentity {
    /// The first thing in which two runs differ.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let near = (self.probe - other.probe).abs() <= PROBE_TOLERANCE * self.probe.abs();
        let parts = [
            (self.config == other.config, "settings"),
            (self.start == other.start, "initial parameters"),
            (self.train == other.train, "training examples"),
            (self.test == other.test, "test examples"),
            (near && self.network == other.network, "model"),
        ];
        parts.iter().find(|(same, _)| !same).map(|(_, what)| *what)
    }

    /// Eight digits that tell apart the files of runs in one folder.
    fn short(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:?}", self.config).as_bytes());
        for part in [&self.start, &self.train].into_iter().chain(&self.test) {
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_hex()[..8].to_string()
    }
}

impl Trainer<'_> {
    /// Writes the run as it is to `folder`, which is made if need be: parameters, statistics and
    /// optimiser in a safetensors file, counters, settings and history in `checkpoint.json`.
    ///
    /// At every moment the folder holds the checkpoint before or this one, whole: the tensors are
    /// synced under a name of their own, then the record is renamed over the old one, and only then
    /// the old tensors are removed. Cost: the file, of two or three times theta, is written and
    /// read once; the first time all examples are hashed.
    ///
    /// # Errors
    /// [`TrainError::File`] for a folder that cannot be written; the checkpoint before is then as
    /// it was.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        files::create_folder(folder).map_err(FileError::new("create", folder))?;
        let run = self.identity()?;
        let name = format!("state-{}-{}.safetensors", run.short(), self.epoch());
        let path = folder.join(&name);
        self.tensors()?.save(&path)?;
        let record = Record {
            format: FORMAT,
            run,
            hash: file_hash(&path)?,
            tensors: name,
            steps: self.state.optimizer.steps(),
            history: self.history.clone(),
        };
        write_record(folder, &record)?;
        remove_others(folder, &record.tensors);
        Ok(())
    }

    /// Takes the run to where the checkpoint in `folder` left it, and says whether there is one.
    /// What follows has the same bits as if the run had never been interrupted, on the same
    /// machine. A run that was [stopped](Self::stop) goes on.
    ///
    /// # Errors
    /// [`TrainError::OtherRun`] for a checkpoint of a run with other settings, parameters, examples
    /// or model, [`TrainError::Checkpoint`] for one that is damaged, [`TrainError::File`] for files
    /// that the system refused to read, which says nothing of what is in them; the run is then as
    /// it was.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use entk_models::{MlpConfig, Model};
    /// use entk_train::{Examples, SgdConfig, Trainer};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let network = MlpConfig { input: [1, 2, 2], ..MlpConfig::default() }.network()?;
    /// let theta = network.init(0, DType::F32, &Device::Cpu)?;
    /// let x = Tensor::ones((4, 1, 2, 2), DType::F32, &Device::Cpu)?;
    /// let task = Examples::new(x, vec![0, 1, 1, 0])?;
    /// let config = SgdConfig { batch: 2, epochs: 5, ..SgdConfig::default() };
    ///
    /// let mut trainer = Trainer::new(&network, &theta, &task, None, &config)?;
    /// trainer.resume(&folder)?; // At first there is nothing to resume.
    /// while trainer.step_epoch()?.is_some() {
    ///     trainer.save(&folder)?;
    /// }
    /// # let mut again = Trainer::new(&network, &theta, &task, None, &config)?;
    /// # assert!(again.resume(&folder)? && again.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&mut self, folder: impl AsRef<Path>) -> Result<bool> {
        let folder = folder.as_ref();
        let Some(record) = read_record(folder)? else { return Ok(false) };
        if let Some(what) = self.identity()?.difference(&record.run) {
            let differ = differences(&record.run.config, self.config());
            return Err(TrainError::OtherRun { path: folder.join(RECORD), what, differ });
        }
        let path = folder.join(&record.tensors);
        if file_hash(&path)? != record.hash {
            return Err(failed(&path, "the file is not what was written; it is damaged"));
        }
        self.restore(&path, &record)?;
        self.history = record.history;
        if self.history.outcome == Outcome::Stopped {
            self.history.outcome = Outcome::Completed;
        }
        Ok(true)
    }

    fn identity(&self) -> Result<RunIdentity> {
        let first = self.train.inputs().narrow(0, 0, 1)?;
        let probe = logits(self.model, &self.start.scale(PROBE_SCALE)?, &first, 1)?;
        Ok(RunIdentity {
            config: self.config().clone(),
            start: hash::named_as_f64(self.start.iter().chain(self.start.statistics()))?,
            train: self.train.hash()?,
            test: self.test.map(Examples::hash).transpose()?,
            network: blake3::hash(format!("{:?}", self.model.network()).as_bytes()).to_string(),
            probe: probe[0],
        })
    }

    /// All tensors of the state in one set, by name and purpose.
    fn tensors(&self) -> Result<Params> {
        let named = |purpose: &'static str| {
            move |(name, tensor): (&str, &Tensor)| (format!("{purpose}/{name}"), tensor.clone())
        };
        let params = &self.state.params;
        let mut theta: Vec<_> = params.iter().map(named("theta")).collect();
        for (purpose, moment) in self.state.optimizer.moments() {
            theta.extend(moment.iter().map(named(purpose)));
        }
        Ok(Params::new(theta, params.statistics().map(named("statistics")).collect())?)
    }

    /// Reads the tensors of the state.
    fn restore(&mut self, path: &Path, record: &Record) -> Result<()> {
        let start = self.start.clone();
        let purposes: &[&str] =
            if record.history.epochs.is_empty() { &[] } else { self.state.optimizer.purposes() };
        let mut specs = specs("theta", start.iter(), ParamSpec::trainable);
        for purpose in purposes {
            specs.extend(self::specs(purpose, start.iter(), ParamSpec::trainable));
        }
        specs.extend(self::specs("statistics", start.statistics(), ParamSpec::statistic));
        let all = Params::load(&specs, path, start.dtype(), start.device())?;
        let part = |purpose: &str| {
            let of = |(name, _): (&str, &Tensor)| {
                Ok((name.to_string(), all.get(&format!("{purpose}/{name}"))?.clone()))
            };
            let statistic = |(name, _): (&str, &Tensor)| {
                Ok((name.to_string(), all.statistic(&format!("statistics/{name}"))?.clone()))
            };
            let theta = start.iter().map(of).collect::<Result<_>>()?;
            let statistics = start.statistics().map(statistic).collect::<Result<_>>()?;
            Result::Ok(Params::new(theta, statistics)?)
        };
        let moments = purposes.iter().map(|purpose| part(purpose)).collect::<Result<_>>()?;
        self.state.params = part("theta")?;
        self.state.optimizer.restore(moments, record.steps);
        Ok(())
    }
}

/// The settings that differ, as `field: found -> asked for`.
fn differences(found: &SgdConfig, asked: &SgdConfig) -> Vec<String> {
    let fields = |config: &SgdConfig| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (found, asked) = (fields(found), fields(asked));
    let shown = |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
    let differs = |field: &&String| found.get(*field) != asked.get(*field);
    let named = |field: &String| {
        format!("{field}: {} -> {}", shown(found.get(field)), shown(asked.get(field)))
    };
    asked.keys().filter(differs).map(named).collect()
}

fn specs<'a>(
    purpose: &str,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    spec: fn(String, &[usize], Initializer) -> ParamSpec,
) -> Vec<ParamSpec> {
    tensors
        .map(|(name, t)| spec(format!("{purpose}/{name}"), t.dims(), Initializer::Zeros))
        .collect()
}

/// The bytes of a file, or `None` where there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match files::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => Ok(Some(bytes.map_err(FileError::new("read", path))?)),
    }
}

fn file_hash(path: &Path) -> Result<String> {
    let bytes = read(path)?.ok_or_else(|| failed(path, "is missing beside its record"))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

/// The record of a folder; none where there is no such file.
fn read_record(folder: &Path) -> Result<Option<Record>> {
    let path = folder.join(RECORD);
    let Some(bytes) = read(&path)? else { return Ok(None) };
    let record: Record = serde_json::from_slice(&bytes)
        .and_then(|value| serde_json::from_value(from_text(value)))
        .map_err(|e| failed(&path, e))?;
    if record.format != FORMAT {
        let reason = format!("it has format {}, and this program reads {FORMAT}", record.format);
        return Err(failed(&path, reason));
    }
    if Path::new(&record.tensors).file_name() != Some(record.tensors.as_ref()) {
        return Err(failed(&path, "it names a file outside its folder"));
    }
    Ok(Some(record))
}

/// Replaces the record of the folder.
fn write_record(folder: &Path, record: &Record) -> Result<()> {
    let path = folder.join(RECORD);
    let bytes = serde_json::to_value(record)
        .and_then(|value| serde_json::to_vec_pretty(&to_text(value)))
        .map_err(|e| failed(&path, e))?;
    Ok(files::write(&path, &bytes)?)
}

/// Writes every f64 as text, which comes back to the last bit; JSON readers may be off by one.
fn to_text(value: Value) -> Value {
    each(value, &|scalar| match scalar.as_f64() {
        Some(x) if scalar.is_f64() => Value::String(format!("{NUMBER}{x:?}")),
        _ => scalar,
    })
}

/// The inverse of [`to_text`].
fn from_text(value: Value) -> Value {
    let number = |scalar: &Value| scalar.as_str()?.strip_prefix(NUMBER)?.parse::<f64>().ok();
    each(value, &|scalar| number(&scalar).map_or(scalar, Value::from))
}

/// Applies `f` to everything in `value` that is neither a list nor a map.
fn each(value: Value, f: &dyn Fn(Value) -> Value) -> Value {
    match value {
        Value::Array(list) => list.into_iter().map(|v| each(v, f)).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, each(v, f))).collect(),
        scalar => f(scalar),
    }
}

/// Removes the tensors of earlier checkpoints; one that is left over does no harm.
fn remove_others(folder: &Path, keep: &str) {
    for path in files::list(folder).unwrap_or_default() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("state-") && name.ends_with(".safetensors") && name != keep {
            let _ = files::remove(&path);
        }
    }
}

fn failed(path: &Path, reason: impl ToString) -> TrainError {
    TrainError::Checkpoint { path: PathBuf::from(path), reason: reason.to_string() }
}
