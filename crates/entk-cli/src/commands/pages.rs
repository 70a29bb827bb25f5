//! What a shell and `man` know of the command: its definition comes in, completions on stdout or
//! manual pages in a folder go out. Called by [`Command`](crate::commands::Command).

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use entk::device::files;
use entk_cli::FILE_EXIT_CODES;

/// Prints what a shell needs to complete flags and names.
///
/// bash: mkdir -p ~/.local/share/bash-completion/completions
///       entk completions bash > ~/.local/share/bash-completion/completions/entk
/// zsh: entk completions zsh > ~/.zfunc/_entk, with ~/.zfunc in fpath
/// fish: entk completions fish > ~/.config/fish/completions/entk.fish
#[derive(Args)]
#[command(verbatim_doc_comment, after_help = FILE_EXIT_CODES)]
pub(crate) struct CompletionFlags {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Writes manual pages, entk.1 and entk-COMMAND.1, into a folder.
#[derive(Args)]
#[command(after_help = FILE_EXIT_CODES)]
pub(crate) struct ManFlags {
    /// The folder, as ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn completions(flags: &CompletionFlags, mut line: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut line, "entk", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

pub(crate) fn man(flags: &ManFlags, mut line: Command) -> Result<()> {
    let shown = flags.folder.display();
    files::create_folder(&flags.folder).with_context(|| format!("cannot write to {shown}"))?;
    line = without_help(line);
    line.build();
    write_pages(flags, line)
}

/// Without the commands `help`, which have no page.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

/// The page of a command, then those of its own commands.
fn write_pages(flags: &ManFlags, command: Command) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    files::write(&flags.folder.join(format!("{name}.1")), &page)?;
    command.get_subcommands().cloned().try_for_each(|below| write_pages(flags, below))
}
