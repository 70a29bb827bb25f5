//! Flags that are given where nothing reads them: what was parsed comes in, with the rules of a
//! command; a mistake of the command line goes out, so that none is ignored without a word. Called
//! by `try_parse` for every program and command.

use clap::{ArgMatches, Command, error::ErrorKind, parser::ValueSource};

/// Flags that some other flag leaves without a meaning.
#[derive(Clone, Copy, Debug)]
pub struct Unused {
    /// The flags, by the names of their fields, in groups.
    pub flags: &'static [&'static [&'static str]],
    /// Whether nothing reads them.
    pub beside: fn(&ArgMatches) -> bool,
    /// Of what they are, and what to do.
    pub why: &'static str,
}

/// Rules of flags that several programs have.
const SHARED: [Unused; 3] = [
    Unused {
        flags: &[&["width"]],
        beside: |line| !reads(line, "model", "resnet18"),
        why: "is of --model resnet18, and other networks have none to choose; leave it out",
    },
    Unused {
        flags: &[&["learning_rate"]],
        beside: |line| reads(line, "optimizer", "adam"),
        why: "is of --optimizer sgd; give --adam-rate",
    },
    Unused {
        flags: &[&["adam_rate"]],
        beside: |line| reads(line, "optimizer", "sgd"),
        why: "is of --optimizer adam; give --learning-rate",
    },
];

/// Whether a flag has this value, given or by default.
pub fn reads(line: &ArgMatches, flag: &str, value: &str) -> bool {
    let values = line.try_get_raw(flag).ok().flatten();
    values.is_some_and(|mut values| values.any(|found| found == value))
}

/// Whether a flag was given on the command line, whatever its default.
pub fn is_given(line: &ArgMatches, flag: &str) -> bool {
    line.ids().any(|id| id == flag) && line.value_source(flag) == Some(ValueSource::CommandLine)
}

/// Refuses flags that nothing reads; `rules` are those of a command by its name, beside those that
/// all share.
///
/// # Errors
/// The first of them, with the usage of the command.
pub fn refuse_unused(
    command: &mut Command,
    line: &ArgMatches,
    rules: fn(&str) -> &'static [Unused],
) -> clap::error::Result<()> {
    if let Some((name, below)) = line.subcommand() {
        let own = rules(name);
        if let Some(command) = command.find_subcommand_mut(name) {
            return refuse(command, below, own);
        }
    }
    refuse(command, line, &[])
}

fn refuse(command: &mut Command, line: &ArgMatches, own: &[Unused]) -> clap::error::Result<()> {
    for rule in SHARED.iter().chain(own).filter(|rule| (rule.beside)(line)) {
        if let Some(flag) = rule.flags.iter().copied().flatten().find(|flag| is_given(line, flag)) {
            let message = format!("--{} {}", flag.replace('_', "-"), rule.why);
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
    }
    Ok(())
}
