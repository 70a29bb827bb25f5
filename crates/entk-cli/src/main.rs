//! The command `entk`: a line of flags comes in, one of the [`commands`] runs, an exit code goes
//! out.

#![forbid(unsafe_code)]

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use commands::Command;
use entk_cli::{exit_without_flags, try_parse_with, with_defaults};

/// Empirical neural tangent kernels (NTK), their spectra, and training of linearized neural
/// networks.
///
/// Most commands write arrays, pictures and record.json (settings, versions, times) into the
/// folder --out, in place of what an earlier run left there. `eigen`, `stats`, `train` and
/// `gram --store`, stopped or killed, go on when the same command is given again.
///
/// A first kernel: entk gram --model lenet5 --n 500 --out out
///
/// "The paper" is What can linearized neural networks actually say about generalization?
/// (NeurIPS 2021).
#[derive(Parser)]
#[command(name = "entk", version)]
struct Entk {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let mut line = line();
    match try_parse_with::<Entk>(&mut line, std::env::args_os(), commands::unused) {
        Ok(entk) => entk.command.run(line),
        Err(error) => exit_without_flags(&error),
    }
}

/// The whole command line, with the defaults of each command.
fn line() -> clap::Command {
    let defaults = commands::train::DEFAULTS;
    let line = Entk::command().mut_subcommand("train", |train| {
        let out = "Folder for the results, in place of those of an earlier run [default: \
                   results/train]";
        with_defaults(train, &defaults).mut_arg("out", |arg| arg.help(out))
    });
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
            assert!(command.get_name() == "help" || help.contains("Exit codes:"), "{help}");
        }
    }

    fn refused(words: &str) -> String {
        let words = words.split_whitespace();
        match try_parse_with::<Entk>(&mut line(), words, commands::unused) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn flags_that_nothing_reads_are_refused_and_those_of_the_same_line_are_not() {
        for (words, expected) in [
            ("eigen --gram g.npy --activation gelu", "--activation is of --inputs"),
            ("eigen --gram g.npy --model lenet5", "--model is of --inputs"),
            ("eigen --gram g.npy --matrix-free", "--matrix-free is of --inputs"),
            ("eigen --gram g.npy --verify v.safetensors", "--verify is of --inputs"),
            ("train --inputs x --labels y --train 50", "--train chooses from a data set"),
            ("train --inputs x --labels y --data mnist", "--data chooses from a data set"),
            ("train --index 3", "--index is of --task eigenfunction or nad"),
            ("train --layout nhwc", "--layout is of --inputs"),
            ("train --compare 5", "--compare is of --dual"),
            ("train --optimizer adam --learning-rate 0.3", "give --adam-rate"),
            ("train --adam-rate 0.3", "give --learning-rate"),
            ("train --model mlp --width 8", "--width is of --model resnet18"),
            ("gram --model mlp --width 8", "--width is of --model resnet18"),
            ("gram --inputs x.npy finish", "--inputs says nothing to `finish`"),
            ("gram --n 5 missing --parts 2", "--n says nothing to `finish`"),
            ("gram --no-eigen --top 5", "--top is of eigenpairs"),
            ("gram --layout nhwc", "--layout is of --inputs"),
            ("gram --edge 16", "--store"),
            ("predict --gram g --cross c --labels y --test-labels z --train 5", "--train is of"),
            ("predict --gram g --cross c --labels y --test-labels z --model mlp", "--model is of"),
        ] {
            let said = refused(&format!("entk {words}"));
            assert!(said.contains(expected), "{words}: {said}");
            let command = words.split(' ').next().unwrap_or_default();
            assert!(said.contains(&format!("Usage: entk {command}")), "{words}: {said}");
        }
        for words in [
            "eigen --gram g.npy --classes 3 --outputs sum",
            "eigen --inputs x.npy --activation gelu --matrix-free",
            "train --inputs x --labels y --index 1 --task nad",
            "train --task nad --index 3",
            "train --inputs x --labels y --epochs 3 --quick",
            "train --optimizer adam --adam-rate 0.3",
            "train --model resnet18 --width 8 --learning-rate 0.1",
            "gram --out o finish --export",
            "gram --store --edge 16",
            "predict --model mlp --train 5",
        ] {
            let said = refused(&format!("entk {words}"));
            assert!(!said.contains("is of") && !said.contains("nothing"), "{words}: {said}");
        }
    }

    #[test]
    fn a_file_that_is_no_network_is_refused_with_the_usage_of_its_command() {
        let said = refused("entk gram --model my.pt");
        assert!(said.contains("--model my.pt is neither a name nor FILE.pt2"), "{said}");
        assert!(said.contains("Usage: entk gram"), "{said}");
    }

    #[test]
    fn folders_of_results_are_named_as_they_are() {
        for command in ["gram", "eigen", "stats", "predict", "train", "verify"] {
            let mut line = line();
            let help = line.find_subcommand_mut(command).map(|c| c.render_help().to_string());
            let folder = format!("[default: results/{command}]");
            let help = help.unwrap_or_default();
            assert!(help.contains(&folder) && help.contains("of an earlier run"), "{help}");
        }
    }
}
