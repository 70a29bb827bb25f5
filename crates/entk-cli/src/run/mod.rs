//! A program's run: the folder comes in; tables, figures and `record.json` are written there. It
//! times the stages, shows their progress and owns the cache. Started first by every program that
//! computes.

pub(crate) mod cache;
pub(crate) mod csv_table;
pub(crate) mod launcher;
mod lock;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod stderr;

use std::{
    cell::{OnceCell, RefCell},
    fmt::Display,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use entk::device::{files, memory::ensure};
use serde::Serialize;

use crate::{
    cli::refused::refused,
    plot::drawing::Drawing,
    run::{
        cache::ResultCache,
        csv_table::write_csv,
        lock::FolderLock,
        progress::{Progress, Stage},
        record::{ArchiveRecord, Record, Stages},
        stderr::say,
    },
};

/// Written last; a folder without it was not finished.
const RECORD: &str = "record.json";

/// A folder that exists and can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes `out`, or `results/<figure>` if `None`, and checks by writing that it can be written.
    ///
    /// # Errors
    ///
    /// When it cannot; nothing has been computed by then.
    pub fn create(figure: &str, out: Option<&Path>) -> Result<Self> {
        let Self { path } = Self::at(figure, out);
        let advice = || {
            let shown = path.display();
            format!(
                "cannot write results to {shown}: choose another folder with --out or change its permissions"
            )
        };
        files::create_folder(&path).with_context(advice)?;
        files::check_writable(&path).with_context(advice)?;
        Ok(Self { path })
    }

    /// The folder of results, which is not made.
    pub fn at(figure: &str, out: Option<&Path>) -> Self {
        Self { path: out.map_or_else(|| Path::new("results").join(figure), Path::to_path_buf) }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// What a run does with its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderUse {
    /// Writes results; no other run may.
    Alone,
    /// Writes its share of results, beside others that do so.
    Shared,
    /// Writes nothing.
    DryRun,
}

/// A program's run: its folder, its progress and its times.
#[derive(Debug)]
pub struct Run {
    program: String,
    folder: RunFolder,
    /// Held until the run ends.
    _lock: Option<FolderLock>,
    progress: Progress,
    stages: Stages,
    cache: ResultCache,
    archive: OnceCell<ArchiveRecord>,
    notes: RefCell<Vec<String>>,
}

impl Run {
    /// Starts the clock, makes the folder, `results/<program>` if `out` is `None`, and holds it
    /// against other runs.
    ///
    /// The results of an earlier run stay until this one [begins to replace
    /// them](Self::begin_results).
    ///
    /// # Errors
    ///
    /// When the folder cannot be written, or another run writes to it; call this before any work.
    pub fn start(program: &str, out: Option<&Path>) -> Result<Self> {
        Self::start_in(program, out, FolderUse::Alone)
    }

    /// As [`start`](Self::start), for a run that does not need its folder alone.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), unless nothing is to be written.
    pub fn start_in(program: &str, out: Option<&Path>, folder_use: FolderUse) -> Result<Self> {
        // Products of matrices need workspace wherever they are called.
        ensure("this program", 1, None, "see `ulimit -a`")?;
        ensure_path(out)?;
        let held = |hold: fn(&Path) -> Result<FolderLock>| -> Result<_> {
            let folder = RunFolder::create(program, out)?;
            let lock = hold(folder.path())?;
            Ok((folder, Some(lock)))
        };
        let (folder, lock) = match folder_use {
            FolderUse::DryRun => (RunFolder::at(program, out), None),
            FolderUse::Alone => held(FolderLock::alone)?,
            FolderUse::Shared => held(FolderLock::shared)?,
        };
        let cache = out.map_or_else(|| Path::new("results/cache").into(), |out| out.join("cache"));
        Ok(Self {
            program: program.to_owned(),
            folder,
            _lock: lock,
            cache: ResultCache::new(cache),
            progress: Progress::new(),
            stages: Stages::start(),
            archive: OnceCell::new(),
            notes: RefCell::default(),
        })
    }

    /// Shows no progress and no notes, beside another process of the same run that does.
    #[must_use]
    pub fn silent(self) -> Self {
        Self { progress: Progress::Silent, ..self }
    }

    /// Removes the `record.json` of an earlier run: until [`finish`](Self::finish) writes it, the
    /// folder does not look whole. Says so where it is that of another program. Tables and figures
    /// call it; call it before other results are written, and after everything that may refuse
    /// the flags.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn begin_results(&self) -> Result<()> {
        let path = self.folder.file(RECORD);
        let other = Record::read(&path).ok().filter(|record| record.program != self.program);
        if let (Some(record), true) = (other, self.progress != Progress::Silent) {
            say(format_args!(
                "{}: replaces the record of `{}`, whose other files stay",
                self.folder.path.display(),
                record.program
            ));
        }
        remove_if_present(&path)
    }

    /// The folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Uses another cache, if one is given; else it is `cache` in `out`, or
    /// `results/cache`, which all programs share.
    #[must_use]
    pub fn with_cache(self, folder: Option<&Path>) -> Self {
        Self { cache: folder.map_or(self.cache, ResultCache::new), ..self }
    }

    /// The cache, with what earlier runs have left.
    pub fn cache(&self) -> &ResultCache {
        &self.cache
    }

    /// Keeps what is known of the network's archive for the record; the first is kept.
    pub(crate) fn note_archive(&self, archive: ArchiveRecord) {
        self.archive.get_or_init(|| archive);
    }

    /// Says on stderr what was taken for granted, and keeps it for the record; twice is once.
    pub fn note(&self, note: impl Display) {
        let note = note.to_string();
        if !self.notes.borrow().contains(&note) {
            if self.progress != Progress::Silent {
                say(&note);
            }
            self.notes.borrow_mut().push(note);
        }
    }

    /// The times so far.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Runs `work` as a stage of `total` steps: with progress, and timed under `name`.
    ///
    /// # Errors
    ///
    /// When `work` fails; the message begins with the stage's name.
    pub fn stage<T>(
        &self,
        name: &str,
        total: u64,
        work: impl FnOnce(&Stage) -> Result<T>,
    ) -> Result<T> {
        let stage = self.progress.stage(name, total);
        let result = self
            .stages
            .time(name, || work(&stage))
            .with_context(|| format!("stage {name:?} failed"))?;
        stage.finish();
        Ok(result)
    }

    /// Writes `<stem>.svg`, `<stem>.png`, and every number drawn to `<stem>.csv`.
    ///
    /// # Errors
    ///
    /// When the figure has nothing to draw or a file cannot be written.
    pub fn save_figure(&self, stem: &str, figure: &impl Drawing) -> Result<()> {
        self.begin_results()?;
        write_csv(&self.folder.file(&format!("{stem}.csv")), &figure.numbers())?;
        figure.save(self.folder.path(), stem)?;
        Ok(())
    }

    /// Writes `rows` to `<stem>.csv`.
    ///
    /// # Errors
    ///
    /// As [`write_csv`].
    pub fn save_table<R: Serialize>(&self, stem: &str, rows: &[R]) -> Result<()> {
        self.begin_results()?;
        write_csv(&self.folder.file(&format!("{stem}.csv")), rows)
    }

    /// Writes `record.json` and says on stderr where the results are. A folder without it was not
    /// finished.
    ///
    /// `results` are numbers that belong to no table; `&()` for none.
    ///
    /// # Errors
    ///
    /// As [`Record::new`] and [`Record::write`].
    pub fn finish(
        self,
        seed: u64,
        settings: &impl Serialize,
        results: &impl Serialize,
    ) -> Result<Record> {
        let mut record = Record::new(&self.program, seed, settings, results, &self.stages)?;
        record.cache = self.cache.uses();
        record.archive = self.archive.into_inner();
        record.notes = self.notes.into_inner();
        record.write(&self.folder.file(RECORD))?;
        let (shown, wall_s) = (self.folder.path().display(), record.total.wall_s);
        say(format_args!("results: {shown} ({wall_s:.1} s)"));
        Ok(record)
    }
}

fn remove_if_present(path: &Path) -> Result<()> {
    match files::remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Refuses an address: results are renamed into place, which object stores do not do.
fn ensure_path(out: Option<&Path>) -> Result<()> {
    let is_address = |path: &&Path| path.to_string_lossy().contains("://");
    let Some(address) = out.filter(is_address) else { return Ok(()) };
    Err(refused(format!(
        "--out {}: expected a folder; mount the store, or copy the finished folder there",
        address.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_made_with_its_parents_and_left_empty() -> Result<()> {
        let root = tempfile::tempdir()?;
        let out = root.path().join("a/b");
        let folder = RunFolder::create("fig02", Some(&out))?;
        assert_eq!(folder.file("x.csv"), out.join("x.csv"));
        assert_eq!(std::fs::read_dir(&out)?.count(), 0);
        Ok(())
    }

    #[test]
    fn a_file_in_the_way_is_refused_with_advice() -> Result<()> {
        let root = tempfile::tempdir()?;
        let out = root.path().join("taken");
        std::fs::write(&out, b"x")?;
        let error =
            RunFolder::create("fig02", Some(&out)).expect_err("a file is no folder").to_string();
        assert!(error.contains("cannot write results to") && error.contains("--out"), "{error}");
        Ok(())
    }

    #[test]
    fn a_record_is_gone_from_the_first_new_result_to_the_end() -> Result<()> {
        let root = tempfile::tempdir()?;
        let record = root.path().join("record.json");
        Run::start("fig02", Some(root.path()))?.finish(1, &(), &())?;
        let before = std::fs::read(&record)?;
        drop(Run::start("fig02", Some(root.path()))?); // refused flags, for instance
        assert_eq!(std::fs::read(&record)?, before);
        let run = Run::start("fig02", Some(root.path()))?;
        run.save_table("tasks", &[1])?;
        assert!(!record.exists());
        assert_eq!(run.finish(1, &(), &())?, Record::read(&record)?);
        Ok(())
    }

    #[test]
    fn a_folder_is_for_one_run_and_a_dry_run_leaves_no_trace() -> Result<()> {
        let root = tempfile::tempdir()?;
        let absent = root.path().join("absent");
        Run::start_in("gram", Some(&absent), FolderUse::DryRun)?;
        assert!(!absent.exists());
        let first = Run::start("gram", Some(root.path()))?;
        let error = Run::start("gram", Some(root.path())).map(|_| ()).expect_err("held");
        assert!(format!("{error:#}").contains("is being written to"), "{error:#}");
        drop(first);
        let parts = FolderUse::Shared;
        let _first = Run::start_in("gram", Some(root.path()), parts)?;
        Run::start_in("gram", Some(root.path()), parts)?;
        Ok(())
    }

    #[test]
    fn a_failed_stage_is_named_and_timed() -> Result<()> {
        let root = tempfile::tempdir()?;
        let run = Run::start("fig02", Some(root.path()))?;
        let failed: Result<()> = run.stage("gram", 1, |_| anyhow::bail!("no memory"));
        let error = failed.map_err(|error| format!("{error:#}"));
        assert_eq!(error, Err("stage \"gram\" failed: no memory".to_owned()));
        assert!(run.stages().of("gram").is_some());
        Ok(())
    }
}
