//! What a shell and `man` know of the command: its definition comes in, completions on stdout or
//! manual pages in a folder go out. Called by [`Command`](crate::commands::Command).

use std::{io::Write, path::PathBuf};

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use entk::device::files;

/// Prints what a shell needs to complete flags and names.
///
/// bash: entk completions bash > ~/.local/share/bash-completion/completions/entk
/// zsh: entk completions zsh > a folder of $fpath, as _entk
/// fish: entk completions fish > ~/.config/fish/completions/entk.fish
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompletionFlags {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Writes manual pages, entk.1 and entk-COMMAND.1, into a folder.
#[derive(Args)]
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
    files::create_folder(&flags.folder)?;
    line.build();
    write_pages(flags, line)
}

/// The page of a command, then those of its own commands.
fn write_pages(flags: &ManFlags, command: Command) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    files::write(&flags.folder.join(format!("{name}.1")), &page)?;
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below.cloned().try_for_each(|below| write_pages(flags, below))
}
