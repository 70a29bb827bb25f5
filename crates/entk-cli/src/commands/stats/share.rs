//! What one of several processes does for the statistics: flags and what a launcher says come in,
//! its parts of every pass, how long it waits and whether it writes the results go out. Called by
//! the main.

use std::time::Duration;

use anyhow::Result;
use entk::gram::store::Part;
use entk_cli::{FolderUse, Launched, ensure_input, refused};

use crate::commands::stats::flags::Flags;

/// The share of a process in the passes.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Parts of the examples.
    pub parts: usize,
    /// Its share of them.
    pub own: Part,
    /// How long it waits in a pass for the parts of others; as long as it takes if there is no
    /// limit.
    pub wait: Option<Duration>,
    /// Whether it writes the results once all passes are done.
    pub writes: bool,
    /// Whether it says how far it is; of ranks, which run together, the first does.
    pub speaks: bool,
}

impl Share {
    /// The share of this process, and the flags with the number of parts that there are.
    ///
    /// # Errors
    /// A part that there is not, fewer parts than ranks, and waiting for nobody.
    pub fn of(flags: &Flags) -> Result<(Self, Flags)> {
        let launched = match flags.part {
            Some(_) => None,
            None => Launched::find()?,
        };
        let processes = launched.map_or(1, |launched| launched.part.count());
        let parts = flags.parts.unwrap_or(processes);
        let wait = flags.wait.map(Duration::from_secs);
        let share = match (flags.part, launched) {
            (Some(part), _) => {
                let of_parts = |_| refused(format!("--part {part}: of --parts {parts}"));
                Self::alternating(parts, Part::new(part, parts).map_err(of_parts)?, wait)
            }
            (None, Some(Launched { part, side_by_side: true })) => {
                let is_first = part.is_first();
                Self { parts, own: part, wait, writes: is_first, speaks: is_first }
            }
            (None, Some(Launched { part, .. })) => Self::alternating(parts, part, wait),
            (None, None) => Self { parts, own: Part::default(), wait, writes: true, speaks: true },
        };
        ensure_input(processes <= parts, || {
            format!("--parts {parts}: of {processes} processes; give at least as many")
        })?;
        ensure_input(wait.is_none() || !share.own.is_whole(), || {
            "--wait: no other process sums a part; give --part".to_owned()
        })?;
        Ok((share, Flags { parts: Some(parts), ..flags.clone() }))
    }

    /// Of a process beside which others may run, now or later.
    fn alternating(parts: usize, own: Part, wait: Option<Duration>) -> Self {
        Self { parts, own, wait: Some(wait.unwrap_or_default()), writes: false, speaks: true }
    }

    /// What it does with the folder of results.
    pub fn folder_use(&self, dry_run: bool) -> FolderUse {
        match dry_run {
            true => FolderUse::DryRun,
            false if self.writes && self.own.is_whole() => FolderUse::Alone,
            false => FolderUse::Shared,
        }
    }
}
