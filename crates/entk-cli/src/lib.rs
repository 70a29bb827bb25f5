//! What the commands of `entk` and the programs of the paper's figures share: flags, progress, run
//! folders, records, tables and figures.
//!
//! A program is thin: it parses its flags, calls the library, and hands the numbers to a [`Run`],
//! which names the files, times the stages and writes `record.json`. Figures are declared, not
//! drawn: a [`plot::Figure`] lists its axes, series and baselines, and the same drawing goes to SVG
//! and to PNG, with every number of it to CSV.
//!
//! ```
//! use entk_cli::Run;
//! use entk_cli::plot::{Axis, Baseline, Figure, Series};
//!
//! # fn main() -> anyhow::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! # let out = Some(folder.path());
//! let run = Run::start("fig02", out)?; // refuses an unwritable folder before any work
//! let indices = [1.0, 10.0, 100.0];
//! let accuracy = run.stage("training", indices.len() as u64, |stage| {
//!     let mut accuracy = Vec::new();
//!     for index in indices {
//!         accuracy.push((index, 1.0 - 0.1 * f64::log10(index)));
//!         stage.advance(1);
//!     }
//!     Ok(accuracy)
//! })?;
//! let accuracies = Axis::linear("test accuracy").percent();
//! let figure = Figure::new(Axis::log("eigenfunction index"), accuracies)
//!     .series(Series::new("network", accuracy).color(0))
//!     .baseline(Baseline::horizontal("chance", 0.5));
//! run.save_figure("accuracy", &figure)?; // accuracy.svg, accuracy.png, accuracy.csv
//! run.finish(0, &serde_json::json!({ "train": 4000 }), &())?; // record.json
//! # assert!(folder.path().join("record.json").exists());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

/// A sweep allocates and frees large tensors; the system's allocator hands their pages back each
/// time, which costs a quarter of a small network's sweep.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod cli;
mod experiment;
pub mod plot;
mod run;

pub use cli::{
    device::{DeviceFlags, by_name, parse_device},
    exit::{EXIT_CODES, FILE_EXIT_CODES, STOPPED, WRONG, exit, exit_with, exit_without_flags},
    flags::{CommonFlags, Defaults, Size, parse_flags, try_parse, try_parse_with, with_defaults},
    index_list::{IndexFlags, IndexList, indices},
    kernel_flags::KernelFlags,
    model_flags::{ModelChoice, ModelFlags, PAPER_WIDTH},
    names::{ActivationName, DTypeName, LayoutName, ModelName, PaddingName, data::DataName},
    numbers::{
        parse_bytes, parse_positive, parse_seed, parse_size, parse_tolerance, takes_negative,
    },
    output_flags::{KernelChoice, OutputChoice, OutputFlags},
    refused::{
        RefusedInput, ensure_input, refused,
        unused::{Unused, is_given, reads},
    },
    signals::stop_on_signals,
    training_flags::{FigureFlags, OptimizerName, TrainingFlags},
};
pub use experiment::{
    DataPool, Experiment,
    cached_training::{Trained, Training},
    directions::{Directions, SIDE, fourier_magnitude},
    figure_program::{FigureProgram, Moment, OneSeed},
    inductive::{InductivePairs, agreement},
    inputs::{
        InputHeader, input_source,
        kernel_files::{ensure_square, open_store, read_cross_gram, read_gram},
        read_inputs,
        streamed_kernel::StreamedKernel,
    },
    kernel::InitialKernel,
    labels::{LabelTargets, Labels},
    linearization::fit_over,
    network_source::NetworkSource,
    target_rule::TargetRule,
    tasks::{Classification, Task, last_epoch},
};
pub use plot::bands::{Bands, Summary, summarize};
pub use run::{
    FolderUse, Run, RunFolder,
    cache::{CacheUse, Key, ResultCache},
    csv_table::write_csv,
    launcher::{Launched, is_only_task_of_srun},
    progress::{Progress, Stage},
    record::{
        ArchiveRecord, Elapsed, Record, StageTime, Stages, Stopwatch, VerifiedRecord, peak_rss_mb,
        settings_without,
    },
    stderr::say,
};
