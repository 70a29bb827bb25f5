//! The commands: parsed flags come in, results in a folder and an exit code go out. Called by
//! `main`.

pub(crate) mod eigen;
pub(crate) mod gram;
pub(crate) mod pages;
pub(crate) mod plan;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod stats;
pub(crate) mod train;
pub(crate) mod verify;

use std::process::ExitCode;

use clap::Subcommand;
use entk_cli::{Unused, exit};

/// What there is to do; each documents itself.
#[derive(Subcommand)]
pub(crate) enum Command {
    Gram(Box<gram::flags::Flags>),
    Eigen(Box<eigen::flags::Flags>),
    Stats(Box<stats::flags::Flags>),
    Plan(Box<plan::Flags>),
    Predict(Box<predict::flags::Flags>),
    Train(Box<train::flags::Flags>),
    Verify(verify::Flags),
    Report(report::Flags),
    Completions(pages::CompletionFlags),
    Man(pages::ManFlags),
}

/// The flags of a command that another of its flags leaves without a meaning.
pub(crate) fn unused(name: &str) -> &'static [Unused] {
    match name {
        "gram" => &gram::flags::UNUSED,
        "eigen" => &eigen::flags::UNUSED,
        "predict" => &predict::flags::UNUSED,
        "train" => &train::flags::UNUSED,
        _ => &[],
    }
}

impl Command {
    /// Runs it; `line` is the definition of the whole command line.
    pub(crate) fn run(self, line: clap::Command) -> ExitCode {
        match self {
            Self::Gram(flags) => exit(gram::run(&flags)),
            Self::Eigen(flags) => exit(eigen::run(&flags)),
            Self::Stats(flags) => exit(stats::run(&flags)),
            Self::Plan(flags) => exit(plan::run(&flags)),
            Self::Predict(flags) => exit(predict::run(&flags)),
            Self::Train(flags) => exit(train::run(&flags)),
            Self::Verify(flags) => verify::run(&flags),
            Self::Report(flags) => exit(report::run(flags)),
            Self::Completions(flags) => exit(pages::completions(&flags, line)),
            Self::Man(flags) => exit(pages::man(&flags, line)),
        }
    }
}
