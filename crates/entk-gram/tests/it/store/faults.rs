//! Operations that fail, kills at any moment, and requests to stop.

use super::*;

/// Which step of which operation fails, and how.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The file system refuses, as when it is full.
    Refusal,
    /// The process is killed.
    Kill,
}

/// A file system whose operation number `at` fails: not begun, half done, or done but not told.
#[derive(Debug)]
struct Faulty {
    at: usize,
    half: bool,
    fault: Fault,
    /// Before every operation.
    pause: Duration,
    count: AtomicUsize,
}

impl Faulty {
    fn new(at: usize, half: bool, fault: Fault) -> Self {
        Self { at, half, fault, pause: Duration::ZERO, count: AtomicUsize::new(0) }
    }

    fn step(&self, half: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        std::thread::sleep(self.pause);
        if self.count.fetch_add(1, Ordering::SeqCst) != self.at {
            return Ok(());
        }
        if self.half {
            half()?;
        }
        if matches!(self.fault, Fault::Kill) {
            let _ = Command::new("kill").args(["-9", &std::process::id().to_string()]).status();
            std::process::abort();
        }
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}

impl FileSystem for Faulty {
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(|| OsFiles.create(path, &bytes[..bytes.len() / 2]))?;
        OsFiles.create(path, bytes)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(|| OsFiles.append(path, &bytes[..bytes.len() / 2]))?;
        OsFiles.append(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| OsFiles.rename(from, to))?;
        OsFiles.rename(from, to)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.step(|| Ok(()))?;
        OsFiles.sync_folder(path)
    }
}

fn run_on(case: &Case, folder: &Path, disk: Faulty) -> (Result<usize, GramError>, usize) {
    let disk = Arc::new(disk);
    let config = StoreConfig { disk: Arc::clone(&disk) as Arc<dyn FileSystem>, ..config() };
    let run = || Ok(case.assembly()?.store(folder, &config)?.computed);
    (run(), disk.count.load(Ordering::SeqCst))
}

/// Resumes, and checks that what was finished is kept and the bytes are those of `expected`.
fn resume(case: &Case, folder: &Path, expected: &BTreeMap<PathBuf, Vec<u8>>) -> TestResult {
    let finished = match Store::open_partial(folder) {
        Ok(store) => 15 - store.missing()?.len(),
        Err(_) => 0,
    };
    let named = |(name, _): &(&PathBuf, &Vec<u8>)| {
        name.starts_with("c") && !name.to_string_lossy().contains(".tmp")
    };
    let files = snapshot(folder)?;
    assert_eq!(finished, files.iter().filter(named).count(), "a named tile is a finished tile");
    let stored = case.assembly()?.store(folder, &config())?;
    assert_eq!((stored.kept, stored.computed), (finished, 15 - finished));
    assert!(snapshot(folder)? == *expected);
    Ok(())
}

#[test]
fn every_operation_may_fail() -> TestResult {
    let case = Case::new(1)?;
    let expected = reference(&case)?;
    let folder = temporary()?;
    let (_, operations) =
        run_on(&case, folder.path(), Faulty::new(usize::MAX, false, Fault::Refusal));
    assert!(operations > 4 * 15, "{operations} operations");
    for at in 0..operations {
        for half in [false, true] {
            let folder = temporary()?;
            match run_on(&case, folder.path(), Faulty::new(at, half, Fault::Refusal)).0 {
                Err(GramError::Io { source, .. }) => {
                    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                }
                other => panic!("operation {at}, half {half}: {other:?}"),
            }
            resume(&case, folder.path(), &expected)?;
        }
    }
    Ok(())
}

/// Tells a child process the store, the operation that kills it, whether that is done by half, and
/// the milliseconds before each.
const CHILD: &str = "ENTK_GRAM_TEST_CHILD";

fn child(order: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", "store::faults::child_that_is_killed", "--test-threads", "1"])
        .env(CHILD, order)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}

#[test]
fn child_that_is_killed() -> TestResult {
    let Ok(order) = std::env::var(CHILD) else { return Ok(()) };
    let parts: Vec<_> = order.split(',').collect();
    let case = Case::new(1)?;
    let mut disk = Faulty::new(parts[1].parse()?, parts[2].parse()?, Fault::Kill);
    disk.pause = Duration::from_millis(parts[3].parse()?);
    run_on(&case, Path::new(parts[0]), disk).0?;
    Ok(())
}

#[test]
fn kills_at_every_operation() -> TestResult {
    let case = Case::new(1)?;
    let expected = reference(&case)?;
    let mut kills = 0;
    for at in 0.. {
        let folder = temporary()?;
        let order = format!("{},{at},{},0", folder.path().display(), at % 2 == 1);
        let status = child(&order)?.status()?;
        resume(&case, folder.path(), &expected)?;
        if status.success() {
            break;
        }
        kills += 1;
    }
    assert!(kills > 4 * 15, "{kills} kills");
    Ok(())
}

#[test]
fn kills_at_random_moments() -> TestResult {
    let case = Case::new(1)?;
    let expected = reference(&case)?;
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut interrupted = 0;
    for _ in 0..50 {
        let folder = temporary()?;
        // No operation of its own kills it; all together they take about 0.1 s.
        let order = format!("{},{},false,1", folder.path().display(), usize::MAX);
        let mut child = child(&order)?.spawn()?;
        std::thread::sleep(Duration::from_millis(rng.random_range(0..100)));
        child.kill()?;
        interrupted += usize::from(!child.wait()?.success());
        resume(&case, folder.path(), &expected)?;
    }
    assert!(interrupted > 0);
    Ok(())
}

#[test]
fn a_request_to_stop_keeps_what_is_finished() -> TestResult {
    let case = Case::new(1)?;
    let expected = reference(&case)?;
    let (folder, stop) = (temporary()?, AtomicBool::new(false));
    let entries = AtomicUsize::new(0);
    let observe = |done: usize, total: usize| {
        entries.store(total, Ordering::Relaxed);
        stop.store(done > total / 2, Ordering::Relaxed);
    };
    let assembly = case.assembly()?.stoppable(&stop).observed(&observe);
    assert!(matches!(assembly.store(folder.path(), &config()), Err(GramError::Stopped)));
    let finished = 15 - Store::open_partial(folder.path())?.missing()?.len();
    assert!((1..15).contains(&finished), "{finished}");
    resume(&case, folder.path(), &expected)
}
