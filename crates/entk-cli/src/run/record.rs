//! What a run did and what it cost: settings, results and times come in, `record.json` goes out.
//! Written by `Run` at the end, read by `report` and by the tests.

use std::{cell::RefCell, path::Path, time::Instant};

use anyhow::{Context, Result};
use entk::device::files;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run::cache::CacheUse;

/// Time passed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Elapsed {
    /// Seconds on the clock.
    pub wall_s: f64,
    /// Seconds summed over all cores; `None` where the system does not tell.
    pub cpu_s: Option<f64>,
}

/// Measures wall and processor time of the whole process.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    wall: Instant,
    cpu_s: Option<f64>,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu_s: process_cpu_seconds() }
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Elapsed {
        let cpu_s = process_cpu_seconds().zip(self.cpu_s).map(|(now, then)| now - then);
        Elapsed { wall_s: self.wall.elapsed().as_secs_f64(), cpu_s }
    }
}

/// The time of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// What was done.
    pub stage: String,
    /// How long it took.
    #[serde(flatten)]
    pub elapsed: Elapsed,
}

/// Times stages one after another.
#[derive(Clone, Debug)]
pub struct Stages {
    total: Stopwatch,
    times: RefCell<Vec<StageTime>>,
}

impl Stages {
    /// Starts the total now.
    pub fn start() -> Self {
        Self { total: Stopwatch::start(), times: RefCell::default() }
    }

    /// Runs `work` and notes its time under `stage`; times of the same name add up.
    ///
    /// # Errors
    ///
    /// When `work` fails.
    pub fn time<T>(&self, stage: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let stopwatch = Stopwatch::start();
        let result = work();
        self.add(stage, stopwatch.elapsed());
        result
    }

    fn add(&self, stage: &str, more: Elapsed) {
        let mut times = self.times.borrow_mut();
        match times.iter_mut().find(|time| time.stage == stage) {
            Some(time) => {
                time.elapsed.wall_s += more.wall_s;
                time.elapsed.cpu_s = time.elapsed.cpu_s.zip(more.cpu_s).map(|(a, b)| a + b);
            }
            None => times.push(StageTime { stage: stage.to_owned(), elapsed: more }),
        }
    }

    /// The stages so far.
    pub fn times(&self) -> Vec<StageTime> {
        self.times.borrow().clone()
    }

    /// Time of one stage so far.
    pub fn of(&self, stage: &str) -> Option<Elapsed> {
        self.times.borrow().iter().find(|time| time.stage == stage).map(|time| time.elapsed)
    }

    /// Time since the start, stages or not.
    pub fn total(&self) -> Elapsed {
        self.total.elapsed()
    }
}

/// What is known of a network that an archive of PyTorch held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// The file.
    pub file: String,
    /// The hash of its bytes.
    pub blake3: String,
    /// The version of torch that wrote it.
    pub torch_version: String,
    /// How it was read, where a user should know.
    pub notes: Vec<String>,
    /// Names of tied parameters, each with the one that stands for both.
    pub tied: Vec<(String, String)>,
    /// Numbers that are trained.
    pub trained: usize,
    /// Numbers of parameters that keep their values.
    pub frozen: usize,
    /// The comparison with numbers of PyTorch; `None` where there was none.
    pub verified: Option<VerifiedRecord>,
}

/// How close a network was to numbers of PyTorch, relative to the largest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifiedRecord {
    /// The file of these numbers.
    pub file: String,
    /// Examples compared.
    pub examples: usize,
    /// Largest difference of outputs.
    pub outputs: f64,
    /// Largest difference of the Jacobian-vector product, if the file has one.
    pub jvp: Option<f64>,
}

/// The content of `record.json`: enough to run it again and to judge what it cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Program.
    pub program: String,
    /// Version of this workspace.
    pub version: String,
    /// The command line, the path of the program shortened to its name.
    pub command: Vec<String>,
    /// Seed.
    pub seed: u64,
    /// All settings, also those left at their defaults.
    pub settings: Value,
    /// Numbers the program found that belong to no table; `null` when none.
    pub results: Value,
    /// The archive that the network came from, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveRecord>,
    /// What was taken for granted where the flags said nothing, as stderr said it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What was found in the cache; the times are those of what was computed.
    #[serde(default)]
    pub cache: CacheUse,
    /// Times stage by stage.
    pub stages: Vec<StageTime>,
    /// Time of the whole program.
    #[serde(flatten)]
    pub total: Elapsed,
    /// Largest resident memory, in MB of 10^6 bytes; `None` where the system does not tell.
    pub peak_rss_mb: Option<f64>,
    /// Threads at most.
    pub threads: usize,
}

impl Record {
    /// Records the run of `program` that `stages` timed.
    ///
    /// # Errors
    ///
    /// When `settings` or `results` have no JSON form.
    pub fn new(
        program: &str,
        seed: u64,
        settings: &impl Serialize,
        results: &impl Serialize,
        stages: &Stages,
    ) -> Result<Self> {
        Ok(Self {
            program: program.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command_line(),
            seed,
            settings: serde_json::to_value(settings).context("settings have no JSON form")?,
            results: serde_json::to_value(results).context("results have no JSON form")?,
            archive: None,
            notes: Vec::new(),
            cache: CacheUse::default(),
            stages: stages.times(),
            total: stages.total(),
            peak_rss_mb: peak_rss_mb(),
            threads: threads(),
        })
    }

    /// Writes the record to `path` atomically.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(files::write(path, &json)?)
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// When the file is missing or is not a record.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = files::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is not a record", path.display()))
    }
}

fn command_line() -> Vec<String> {
    let words = std::env::args_os().enumerate().map(|(at, word)| match at {
        0 => Path::new(&word).file_name().unwrap_or(&word).to_string_lossy().into_owned(),
        _ => word.to_string_lossy().into_owned(),
    });
    words.collect()
}

/// Settings but those of these names, in groups, which a run did not read.
///
/// # Errors
///
/// Settings without a JSON form.
pub fn settings_without(settings: &impl Serialize, unused: &[&[&str]]) -> Result<Value> {
    let mut settings = serde_json::to_value(settings).context("settings have no JSON form")?;
    if let Some(fields) = settings.as_object_mut() {
        unused.iter().copied().flatten().for_each(|name| {
            fields.remove(*name);
        });
    }
    Ok(settings)
}

/// Threads that rayon would use: `RAYON_NUM_THREADS`, or one per available core.
fn threads() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.filter(|&threads| threads > 0).unwrap_or_else(available)
}

/// Largest resident memory of this process so far, in MB of 10^6 bytes; `None` where the system
/// does not tell.
///
/// The `VmHWM` line of `/proc/self/status`.
pub fn peak_rss_mb() -> Option<f64> {
    parse_peak_rss_mb(&files::read_text(Path::new("/proc/self/status")).ok()?)
}

fn parse_peak_rss_mb(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// User and system time of this process from `/proc/self/stat`.
fn process_cpu_seconds() -> Option<f64> {
    parse_cpu_seconds(&files::read_text(Path::new("/proc/self/stat")).ok()?)
}

/// `utime` and `stime` are fields 14 and 15, in ticks of 1/100 s on every Linux that Rust runs on.
/// Field 2, the program's name in parentheses, may hold spaces: count from the last parenthesis.
fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let stages = Stages::start();
        stages.time("gram", || Ok(()))?;
        stages.time("training", || Ok(()))?;
        stages.time("gram", || Ok(()))?;
        let settings = serde_json::json!({ "train": 4000 });
        let record = Record::new("fig02", 7, &settings, &(), &stages)?;
        record.write(&folder.path().join("record.json"))?;
        let read = Record::read(&folder.path().join("record.json"))?;
        assert_eq!((read.seed, read.settings), (7, settings));
        let exe = std::env::current_exe()?;
        assert_eq!(Some(read.command[0].as_ref()), exe.file_name().and_then(|name| name.to_str()));
        assert_eq!(read.version, env!("CARGO_PKG_VERSION"));
        let names: Vec<&str> = read.stages.iter().map(|time| time.stage.as_str()).collect();
        assert_eq!(names, ["gram", "training"]);
        assert!(read.threads >= 1);
        Ok(())
    }

    #[test]
    fn linux_files_are_understood() {
        let stat = "1 (a b) c) S 1 1 1 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0";
        assert_eq!(parse_cpu_seconds(stat), Some(3.0));
        assert_eq!(parse_peak_rss_mb("VmPeak:\t 9 kB\nVmHWM:\t    1000 kB\n"), Some(1.024));
        assert_eq!(parse_peak_rss_mb("nothing"), None);
        assert_eq!(parse_cpu_seconds("garbage"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn busy_work_shows_in_both_clocks() {
        let stopwatch = Stopwatch::start();
        let mut sum = 0.0_f64;
        while stopwatch.elapsed().cpu_s.is_some_and(|cpu| cpu < 0.05) {
            sum += (1..1000).map(|n| f64::from(n).sqrt()).sum::<f64>();
        }
        assert!(sum > 0.0 && stopwatch.elapsed().wall_s > 0.0);
        assert!(peak_rss_mb().is_some_and(|mb| mb > 0.5));
    }
}
