//! Progress on stderr: counts of a stage come in; a bar with the time left goes to a terminal, and
//! a line a minute to a log. Called by `Run`, which hands a [`Stage`] to the work.

use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::stderr::say;

/// In a log, at most one line a minute.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Stages shorter than this end silently: some programs have dozens.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

const BAR: &str =
    "{prefix:>20} [{bar:30}] {pos}/{len}  {elapsed_precise} (left: {eta})  {wide_msg}";

/// How stages are reported on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A bar that moves, on a terminal.
    Bars,
    /// A line a minute, in a log.
    Lines,
    /// Not at all, beside another process that does.
    Silent,
}

impl Progress {
    /// Bars if stderr is a terminal, plain lines otherwise.
    pub fn new() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars } else { Self::Lines }
    }

    /// Starts a stage of `total` steps.
    pub fn stage(&self, name: &str, total: u64) -> Stage {
        let target = match self {
            Self::Bars => ProgressDrawTarget::stderr(),
            Self::Lines | Self::Silent => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_prefix(name.to_owned());
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        if *self == Self::Bars {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let started = Instant::now();
        Stage {
            name: name.to_owned(),
            bar,
            progress: *self,
            started,
            last_line: Mutex::new(started),
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// A stage in progress. Can be advanced from several threads.
#[derive(Debug)]
pub struct Stage {
    name: String,
    bar: ProgressBar,
    progress: Progress,
    started: Instant,
    last_line: Mutex<Instant>,
}

impl Stage {
    /// Counts `steps` more as done.
    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        self.maybe_line();
    }

    /// Says that `done` steps are done in all.
    pub fn set_done(&self, done: u64) {
        self.bar.set_position(done);
        self.maybe_line();
    }

    /// Says that `done` of `total` steps are done, where their number is learnt late.
    pub fn set_progress(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.set_done(done as u64);
    }

    /// Says what is being done, such as an epoch's loss.
    pub fn message(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
        self.maybe_line();
    }

    /// Steps done.
    pub fn done(&self) -> u64 {
        self.bar.position()
    }

    /// Ends the stage and says how long it took, if that is worth a line. A stage dropped without
    /// this, as by an error, ends silently.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        if self.progress == Progress::Silent || self.started.elapsed() < WORTH_A_LINE {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        say(format_args!("{}: done in {seconds:.1} s", self.name));
    }

    fn maybe_line(&self) {
        if self.progress != Progress::Lines {
            return;
        }
        let Ok(mut last) = self.last_line.try_lock() else { return };
        if last.elapsed() < LINE_EVERY {
            return;
        }
        *last = Instant::now();
        say(self.line());
    }

    fn line(&self) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        // Of a stage at its start nothing is known.
        let left = match done {
            0 => String::new(),
            _ => format!(", {:#} left", HumanDuration(self.bar.eta())),
        };
        let line = format!("{}: {done}/{total}{left}  {}", self.name, self.bar.message());
        line.trim_end().to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_says_how_far_it_is() {
        let stage = Progress::Lines.stage("gram", 10);
        assert_eq!(stage.line(), "gram: 0/10");
        stage.advance(3);
        stage.message("tile 3");
        assert_eq!(stage.done(), 3);
        let line = stage.line();
        assert!(line.starts_with("gram: 3/10, ") && line.ends_with("left  tile 3"), "{line}");
        stage.finish();
    }

    #[test]
    fn threads_advance_together() {
        let stage = Progress::Lines.stage("gram", 200);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..100).for_each(|_| stage.advance(1)));
            }
        });
        assert_eq!(stage.done(), 200);
    }
}
