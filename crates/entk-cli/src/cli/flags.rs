//! The flags that all figure programs and `train` understand: the command line and a program's
//! defaults come in, network, data set, sizes, seed and folders go out. Programs parse them with
//! [`parse_flags`], figures through `FigureFlags`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Command, FromArgMatches, Parser, builder::ArgPredicate};
use serde::Serialize;

use crate::{
    cli::{
        device::DeviceFlags,
        exit::exit_without_flags,
        model_flags::ModelFlags,
        names::{ModelName, data::DataName},
        numbers::{parse_seed, parse_size, takes_negative},
        refused::{
            ensure_input,
            unused::{Unused, refuse_unused},
        },
    },
    run::Run,
};

/// Flags to be flattened into a program's own; parse them with [`parse_flags`], which sets the
/// defaults.
///
/// | flag | purpose | range |
/// |---|---|---|
/// | `--model` and what goes with it | the network | as [`ModelFlags`] |
/// | `--data` | the data set | those of `entk::data::DataSource` |
/// | `--data-root` | where its files are | a folder |
/// | `--train`, `--test` | images used | at least 1 |
/// | `--epochs` | passes over the training images | at least 1 |
/// | `--seed` | initialisation, subset and batch order | any |
/// | `--device` | where to compute | `auto`, `cpu`, `cuda`, `cuda:N` |
/// | `--out` | the results folder | a folder that can be written |
/// | `--cache` | what runs share and go on from | a folder that can be written |
/// | `--quick` | smaller sizes where none are given | a switch |
#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommonFlags {
    /// Network.
    #[command(flatten)]
    #[serde(flatten)]
    pub network: ModelFlags,

    /// Data set
    #[arg(long, value_enum, value_name = "NAME", default_value_t = DataName::FashionMnist)]
    pub data: DataName,

    /// Folder with the files of the data set [default: the environment, then the embedded slice]
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,

    /// Training images
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub train: usize,

    /// Test images
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub test: usize,

    /// Epochs of training
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub epochs: usize,

    /// Seed of the initialisation, the subset and the order of the batches
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = parse_seed)]
    pub seed: u64,

    /// Where to compute
    #[command(flatten)]
    #[serde(flatten)]
    pub device: DeviceFlags,

    /// Folder for the results, in place of those of an earlier run [default: results/FIGURE]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Folder of what runs share and, killed, go on from [default: results/cache, or OUT/cache]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,

    /// Smaller sizes, for a first look; sizes given by hand win
    #[arg(long)]
    pub quick: bool,
}

impl CommonFlags {
    /// Starts the run of a program on its folder and cache.
    ///
    /// # Errors
    /// As [`Run::start`].
    pub fn start(&self, program: &str) -> anyhow::Result<Run> {
        Ok(Run::start(program, self.out.as_deref())?.with_cache(self.cache.as_deref()))
    }

    /// The network and the data set as a figure's title.
    pub fn title(&self) -> String {
        format!("{} on {}", self.network.model.title(), self.data.title())
    }

    /// The class task as figures print it: all classes with --classes, else two groups of them.
    pub fn class_task(&self) -> String {
        match self.network.classes {
            Some(classes) => format!("{classes} classes"),
            None => self.data.class_task().to_owned(),
        }
    }

    /// Refuses an eigenfunction, from 1, that the sample does not have.
    ///
    /// # Errors
    /// An index of 0, or beyond the number of images.
    pub fn check_index(&self, index: usize) -> anyhow::Result<()> {
        let n = self.train + self.test;
        ensure_input((1..=n).contains(&index), || {
            format!("--index {index}: there are {n} eigenfunctions, from 1, one for each image")
        })?;
        Ok(())
    }
}

/// A size by default, and with `--quick`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Without `--quick`.
    pub usual: usize,
    /// With `--quick`.
    pub quick: usize,
    /// Without `--quick`, for resnet18.
    pub resnet18: usize,
}

impl Size {
    /// `usual`, or `quick` with `--quick`.
    pub const fn new(usual: usize, quick: usize) -> Self {
        Self { usual, quick, resnet18: usual }
    }

    /// Sets another usual size for resnet18, which is slow.
    #[must_use]
    pub const fn for_resnet18(self, resnet18: usize) -> Self {
        Self { resnet18, ..self }
    }
}

/// The values of flags that are not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Network.
    pub model: ModelName,
    /// Data set.
    pub data: DataName,
    /// Training images.
    pub train: Size,
    /// Test images.
    pub test: Size,
    /// Epochs.
    pub epochs: Size,
    /// Seeds, where there is a flag for them.
    pub seeds: u64,
}

impl Defaults {
    /// The embedded data set, in sizes that two cores finish in minutes.
    pub const USUAL: Self = Self {
        model: ModelName::Mlp,
        data: DataName::FashionMnist,
        train: Size::new(2_000, 500),
        test: Size::new(1_000, 250),
        epochs: Size::new(100, 20),
        seeds: 1,
    };

    /// Defaults of the figures that follow a training of LeNet5 epoch by epoch.
    pub const FOLLOWED: Self = Self {
        model: ModelName::LeNet5,
        data: DataName::FashionMnist,
        train: Size::new(3_000, 1_000).for_resnet18(1_000),
        test: Size::new(1_000, 500),
        epochs: Size::new(100, 60).for_resnet18(15),
        seeds: 3,
    };
}

impl Default for Defaults {
    fn default() -> Self {
        Self::USUAL
    }
}

/// Parses the command line of program `C`, which flattens [`CommonFlags`], with the program's own
/// defaults.
///
/// `--help` shows the defaults of this program, with and without `--quick`. On a mistake, prints it
/// and exits, as clap does.
pub fn parse_flags<C: Parser>(defaults: &Defaults) -> C {
    parse_command(C::command(), defaults)
}

/// [`parse_flags`] with `command`: that of `C`, or one with another name or text.
pub(crate) fn parse_command<C: Parser>(command: Command, defaults: &Defaults) -> C {
    let mut command = with_defaults(command, defaults);
    match try_parse(&mut command, std::env::args_os()) {
        Ok(flags) => flags,
        Err(error) => exit_without_flags(&error),
    }
}

/// What the arguments say by the definition `command`, which is that of `C` with other defaults.
///
/// # Errors
/// A mistake in the arguments, with the usage of the command; and `--help` and `--version`, which
/// print and exit as mistakes do.
pub fn try_parse<C: FromArgMatches>(
    command: &mut Command,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> clap::error::Result<C> {
    try_parse_with(command, arguments, |_| &[])
}

/// [`try_parse`] of several commands, with what each of them refuses of its own flags.
///
/// # Errors
/// As [`try_parse`], and flags that nothing reads.
pub fn try_parse_with<C: FromArgMatches>(
    command: &mut Command,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    rules: fn(&str) -> &'static [Unused],
) -> clap::error::Result<C> {
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    refuse_unused(command, &matches, rules)?;
    C::from_arg_matches_mut(&mut matches).map_err(|error| error.format(command))
}

fn help_of_size(help: &str, size: Size) -> String {
    let Size { usual, quick, resnet18 } = size;
    match resnet18 == usual {
        true => format!("{help}; {quick} with --quick"),
        false => format!("{help}; {quick} with --quick, {resnet18} for resnet18"),
    }
}

/// The command of a program that flattens [`CommonFlags`], with the program's own defaults.
pub fn with_defaults(mut command: Command, defaults: &Defaults) -> Command {
    command = command.mut_args(takes_negative);
    let (model, data) = (defaults.model.to_string(), defaults.data.to_string());
    command = command.mut_arg("model", |arg| arg.default_value(model));
    command = command.mut_arg("data", |arg| arg.default_value(data));
    if command.get_arguments().any(|arg| arg.get_id() == "seeds") {
        let seeds = defaults.seeds.to_string();
        command = command.mut_arg("seeds", |arg| arg.required(false).default_value(seeds));
    }
    for (name, size) in
        [("train", defaults.train), ("test", defaults.test), ("epochs", defaults.epochs)]
    {
        command = command.mut_arg(name, |arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.required(false)
                .default_value(size.usual.to_string())
                .default_value_if(
                    "quick",
                    ArgPredicate::Equals("true".into()),
                    size.quick.to_string(),
                )
                .default_value_if(
                    "model",
                    ArgPredicate::Equals("resnet18".into()),
                    size.resnet18.to_string(),
                )
                .help(help_of_size(&help, size))
        });
    }
    command
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};

    use super::*;
    use crate::cli::model_flags::ModelChoice;

    #[derive(Parser, Debug)]
    struct Program {
        #[command(flatten)]
        common: CommonFlags,
    }

    fn parse(arguments: &[&str]) -> Result<CommonFlags, String> {
        let line = ["fig02"].iter().chain(arguments);
        try_parse::<Program>(&mut with_defaults(Program::command(), &Defaults::default()), line)
            .map(|program| program.common)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_programs() -> Result<(), String> {
        let flags = parse(&[])?;
        assert_eq!((flags.train, flags.test, flags.epochs), (2_000, 1_000, 100));
        let model = ModelChoice::BuiltIn(ModelName::Mlp);
        assert_eq!((flags.network.model, flags.data), (model, DataName::FashionMnist));
        assert!(!flags.quick);
        Ok(())
    }

    #[test]
    fn quick_shrinks_only_what_was_not_given() -> Result<(), String> {
        let flags = parse(&["--quick", "--train", "700"])?;
        assert_eq!((flags.train, flags.test, flags.epochs), (700, 250, 20));
        Ok(())
    }

    #[test]
    fn resnet18_has_sizes_of_its_own() -> Result<(), String> {
        let defaults =
            Defaults { train: Size::new(2_000, 500).for_resnet18(900), ..Defaults::default() };
        let train = |arguments: &[&str]| {
            let line = ["fig02"].iter().chain(arguments);
            let mut command = with_defaults(Program::command(), &defaults);
            let program = try_parse::<Program>(&mut command, line);
            program.map(|program| program.common.train).map_err(|error| error.to_string())
        };
        assert_eq!(train(&["--model", "mlp"])?, 2_000);
        assert_eq!(train(&["--model", "resnet18"])?, 900);
        assert_eq!(train(&["--model", "resnet18", "--quick"])?, 500);
        assert_eq!(train(&["--model", "resnet18", "--train", "7"])?, 7);
        Ok(())
    }

    #[test]
    fn lenet_is_lenet5_and_names_print_as_they_parse() -> Result<(), String> {
        let model = |text: &str| Ok::<_, String>(parse(&["--model", text])?.network.model);
        assert_eq!(model("lenet")?, ModelName::LeNet5.into());
        for name in ModelName::value_variants() {
            assert_eq!(model(&name.to_string())?, (*name).into());
        }
        assert_eq!(model("a/m.pt2")?, ModelChoice::Archive("a/m.pt2".into()));
        let file = model("m.onnx").expect_err("a file of another kind");
        assert!(file.contains("m.onnx") && file.contains("torch.export.save"), "{file}");
        let unknown = model("lenet6").expect_err("no name");
        assert!(unknown.contains("lenet6") && unknown.contains("lenet5"), "{unknown}");
        for data in DataName::value_variants() {
            assert_eq!(parse(&["--data", &data.to_string()])?.data, *data);
            let json = serde_json::to_string(data).map_err(|e| e.to_string())?;
            assert_eq!(json, format!("\"{data}\""));
        }
        Ok(())
    }

    #[test]
    fn nothing_to_train_on_is_refused() {
        let error = parse(&["--train", "0"]).expect_err("zero images");
        assert!(error.contains("must be at least 1"), "{error}");
    }

    #[test]
    fn help_shows_both_defaults() {
        let help =
            with_defaults(Program::command(), &Defaults::default()).render_help().to_string();
        assert!(help.contains("Training images; 500 with --quick [default: 2000]"), "{help}");
    }
}
