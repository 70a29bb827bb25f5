//! Faults for tests: which operation on files fails, and how.
//!
//! In come a [`FaultPlan`] for everything below a folder, or for a whole program the environment
//! variable [`ORDER`]; out go an error, a shorter transfer or the end of the process. Compiled with
//! debug assertions only.

use std::{
    fmt::Debug,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The environment variable with the plan of a program, as `enospc@17`.
pub const ORDER: &str = "ENTK_FAULT";
/// The environment variable with the path of a file that gets a line for each operation.
pub const LOG: &str = "ENTK_FAULT_LOG";

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full.
    Full,
    /// The device fails.
    Broken,
    /// Permission is denied.
    Denied,
    /// Half of the bytes are transferred, which is no error.
    Short,
    /// Half of the bytes are transferred; then the disk is full.
    Half,
    /// The process ends as by a kill: nothing of it runs any more.
    Kill,
    /// Half of the bytes are transferred; then the process ends.
    HalfKill,
    /// From here on every operation that writes finds a full disk.
    FullFromHere,
}

const NAMES: [(&str, Fault); 8] = [
    ("enospc", Fault::Full),
    ("eio", Fault::Broken),
    ("eacces", Fault::Denied),
    ("short", Fault::Short),
    ("half", Fault::Half),
    ("kill", Fault::Kill),
    ("halfkill", Fault::HalfKill),
    ("full", Fault::FullFromHere),
];

/// Which operation, counted from 0, meets which fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultPlan {
    /// The operation.
    pub at: usize,
    /// What happens to it.
    pub fault: Fault,
}

impl FaultPlan {
    /// No fault, to count operations.
    pub const NONE: Self = Self { at: usize::MAX, fault: Fault::Broken };
}

impl FromStr for FaultPlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known =
            || format!("{text:?} is no fault; use {:?} with @N", NAMES.map(|(name, _)| name));
        let (name, at) = text.split_once('@').ok_or_else(known)?;
        let (_, fault) = NAMES.iter().find(|(found, _)| *found == name).ok_or_else(known)?;
        Ok(Self { at: at.parse().map_err(|_| known())?, fault: *fault })
    }
}

/// A plan at work, until it is dropped.
#[derive(Debug)]
pub struct Injection(Arc<Active>);

#[derive(Debug)]
struct Active {
    folder: PathBuf,
    plan: FaultPlan,
    count: AtomicUsize,
}

static ACTIVE: LazyLock<Mutex<Vec<Arc<Active>>>> = LazyLock::new(|| {
    let order = std::env::var(ORDER).ok().and_then(|order| order.parse().ok());
    let everywhere =
        |plan| Arc::new(Active { folder: PathBuf::new(), plan, count: AtomicUsize::new(0) });
    Mutex::new(order.map(everywhere).into_iter().collect())
});

fn active() -> MutexGuard<'static, Vec<Arc<Active>>> {
    ACTIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the plan count and disturb operations below `folder`.
pub fn inject(folder: &Path, plan: FaultPlan) -> Injection {
    let new = Active { folder: folder.to_owned(), plan, count: AtomicUsize::new(0) };
    let new = Arc::new(new);
    active().push(Arc::clone(&new));
    Injection(new)
}

impl Injection {
    /// Operations so far.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        active().retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

/// Asks whether an operation may take place.
pub(super) fn allow(operation: &'static str, path: &Path) -> io::Result<()> {
    allow_bytes(operation, path, 0).map(|_| ())
}

/// Asks how many of so many bytes may be transferred.
pub(super) fn allow_bytes(
    operation: &'static str,
    path: &Path,
    length: usize,
) -> io::Result<usize> {
    let plans: Vec<_> =
        active().iter().filter(|plan| path.starts_with(&plan.folder)).map(Arc::clone).collect();
    log(operation, path);
    plans.iter().try_fold(length, |length, plan| plan.meet(operation, length))
}

impl Active {
    fn meet(&self, operation: &'static str, length: usize) -> io::Result<usize> {
        let FaultPlan { at, fault } = self.plan;
        let now = self.count.fetch_add(1, Ordering::SeqCst);
        let is_write = !["open", "measure", "read", "list", "remove"].contains(&operation);
        match fault {
            Fault::FullFromHere if now >= at && is_write => Err(full()),
            Fault::Short | Fault::Half | Fault::HalfKill if now == at => Ok(length.div_ceil(2)),
            Fault::Half if now == at.saturating_add(1) => Err(full()),
            Fault::HalfKill if now == at.saturating_add(1) => std::process::abort(),
            Fault::Full if now == at => Err(full()),
            Fault::Broken if now == at => Err(io::Error::other("input/output error")),
            Fault::Denied if now == at => Err(ErrorKind::PermissionDenied.into()),
            Fault::Kill if now == at => std::process::abort(),
            _ => Ok(length),
        }
    }
}

fn full() -> io::Error {
    ErrorKind::StorageFull.into()
}

fn log(operation: &str, path: &Path) {
    static FILE: LazyLock<Option<std::fs::File>> = LazyLock::new(|| {
        let path = std::env::var_os(LOG)?;
        std::fs::OpenOptions::new().append(true).create(true).open(path).ok()
    });
    if let Some(mut file) = FILE.as_ref() {
        let _ = file.write_all(format!("{operation} {}\n", path.display()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{read, write};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn each_fault_is_met_by_its_operation_alone() -> TestResult {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a");
        let inject = |text: &str| Ok::<_, String>(inject(folder.path(), text.parse()?));
        let counted = inject("eio@1000000")?;
        write(&path, b"first")?;
        let operations = counted.count();
        drop(counted);
        assert_eq!(operations, 6, "list, create, write, sync, rename, sync of the folder");
        for at in 0..operations {
            for (fault, kind) in [("enospc", ErrorKind::StorageFull), ("eio", ErrorKind::Other)] {
                let injection = inject(&format!("{fault}@{at}"))?;
                let result = write(&path, b"other");
                drop(injection);
                // What is left over from before is tidied up as well as may be.
                assert!(at == 0 || result.is_err_and(|e| e.source.kind() == kind), "{at}");
            }
            assert!([&b"first"[..], b"other"].contains(&&read(&path)?[..]));
            write(&path, b"first")?;
            assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        }
        for at in 0..operations {
            let _injection = inject(&format!("short@{at}"))?;
            write(&path, b"other")?;
            assert_eq!(read(&path)?, b"other");
        }
        Ok(())
    }

    #[test]
    fn orders_are_a_name_and_a_number() {
        let plan = FaultPlan { at: 17, fault: Fault::HalfKill };
        assert_eq!("halfkill@17".parse(), Ok(plan));
        for text in ["", "eio", "eio@", "eio@x", "other@1"] {
            assert!(text.parse::<FaultPlan>().is_err(), "{text}");
        }
    }
}
