//! Progress on stderr: counts of a stage come in; a bar with the time left goes to a terminal, and
//! a line a minute to a log. Called by `Run`, which hands a [`Stage`] to the work.

use std::{
    fmt,
    io::IsTerminal,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::run::stderr::say;

/// In a log, at most one line a minute.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Stages shorter than this end silently: some programs have dozens.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

const BAR: &str = "{prefix:>20} [{bar:30}] {pos}/{len}  {elapsed_precise}{left}  {wide_msg}";

/// The first report of a stage: when, and how many steps were done. Steps before it may be those of
/// an earlier run, and took no time.
type FirstReport = OnceLock<(Instant, u64)>;

/// The time left in words, by the mean rate since the first report: steps come in bursts, whose own
/// rates say little. Nothing until there is a second report.
fn time_left(first: &FirstReport, done: u64, total: u64) -> Option<String> {
    let (since, from) = first.get()?;
    time_of(total.saturating_sub(done), since.elapsed(), done.checked_sub(*from)?)
}

/// The time that `left` steps take where `steps` took `elapsed`.
fn time_of(left: u64, elapsed: Duration, steps: u64) -> Option<String> {
    let seconds = elapsed.as_secs_f64() / steps as f64 * left as f64;
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    Some(format!(", {:#} left", HumanDuration(time)))
}

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
        let first = Arc::new(FirstReport::new());
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            let first = Arc::clone(&first);
            let left = move |state: &ProgressState, out: &mut dyn fmt::Write| {
                let left = time_left(&first, state.pos(), state.len().unwrap_or(0));
                // A bar without room for the time is still a bar.
                let _ = out.write_str(&left.unwrap_or_default());
            };
            bar.set_style(style.progress_chars("=> ").with_key("left", left));
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
            first,
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
    first: Arc<FirstReport>,
    last_line: Mutex<Instant>,
}

impl Stage {
    /// Counts `steps` more as done.
    pub fn advance(&self, steps: u64) {
        self.bar.inc(steps);
        self.reported();
    }

    /// Says that `done` steps are done in all.
    pub fn set_done(&self, done: u64) {
        self.bar.set_position(done);
        self.reported();
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

    fn reported(&self) {
        self.first.get_or_init(|| (Instant::now(), self.bar.position()));
        self.maybe_line();
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
        let left = time_left(&self.first, done, total).unwrap_or_default();
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
        assert_eq!((stage.done(), stage.line().as_str()), (3, "gram: 3/10  tile 3"));
        stage.advance(1);
        let line = stage.line();
        assert!(line.starts_with("gram: 4/10, ") && line.ends_with("left  tile 3"), "{line}");
        stage.finish();
    }

    #[test]
    fn the_time_left_is_that_of_the_mean_step() {
        let four_hours = Duration::from_secs(4 * 3600);
        assert_eq!(time_of(3, four_hours, 2).as_deref(), Some(", 6h left"));
        assert_eq!(time_of(0, four_hours, 2).as_deref(), Some(", 0s left"));
        // Of no step, nothing is known.
        assert_eq!(time_of(3, four_hours, 0), None);
        assert_eq!(time_of(0, four_hours, 0), None);
        assert_eq!(time_of(u64::MAX, four_hours, 1), None);
        let first = FirstReport::from((Instant::now(), 517));
        assert_eq!(time_left(&first, 10, 522), None);
        assert_eq!(time_left(&FirstReport::new(), 3, 522), None);
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
