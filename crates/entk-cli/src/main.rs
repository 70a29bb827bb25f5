//! The command `entk`: a line of flags comes in, one of the [`commands`] runs, an exit code goes
//! out.

#![forbid(unsafe_code)]

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use commands::Command;
use entk_cli::{try_parse, with_defaults};

/// Kernels, spectra and training of linearized neural networks.
///
/// Each command reads its flags, calls the library, and writes numbers, pictures and a record of
/// settings, versions and times into a folder. What is stopped or killed goes on when the same
/// command is given again.
#[derive(Parser)]
#[command(name = "entk", version)]
struct Entk {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let mut line = line();
    match try_parse::<Entk>(&mut line, std::env::args_os()) {
        Ok(entk) => entk.command.run(line),
        Err(error) => error.exit(),
    }
}

/// The whole command line, with the defaults of each command.
fn line() -> clap::Command {
    let defaults = commands::train::DEFAULTS;
    let line = Entk::command().mut_subcommand("train", |train| with_defaults(train, &defaults));
    line.mut_subcommands(in_a_list)
}

/// A line of the list of commands has no full stop; text that keeps its lines has one.
fn in_a_list(command: clap::Command) -> clap::Command {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    command.about(about.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        line().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_how_it_ends() {
        for command in line().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(command.get_about().is_some(), "{}", command.get_name());
            let computes = !["completions", "man", "help"].contains(&command.get_name());
            assert!(!computes || help.contains("Exit codes:"), "{help}");
        }
    }
}
