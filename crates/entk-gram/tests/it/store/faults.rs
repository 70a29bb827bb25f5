//! Operations that fail, kills at any moment, and requests to stop.

use entk_device::files::faults::{Fault, FaultPlan, ORDER, inject};

use super::*;

/// The tiles that a run computes under a plan of faults, and how many operations it asks for.
fn run_on(case: &Case, folder: &Path, plan: FaultPlan) -> (Result<usize, GramError>, usize) {
    let injection = inject(folder, plan);
    let run = || Ok(case.assembly()?.store(folder, &config())?.computed);
    (run(), injection.count())
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
    let (_, operations) = run_on(&case, folder.path(), FaultPlan::NONE);
    assert!(operations > 10 * 15, "{operations} operations");
    let faults = [Fault::Full, Fault::Half, Fault::Broken, Fault::Denied, Fault::FullFromHere];
    let mut failures = 0;
    for at in 0..operations {
        for fault in faults {
            let folder = temporary()?;
            match run_on(&case, folder.path(), FaultPlan { at, fault }).0 {
                Err(GramError::Io { .. }) => failures += 1,
                // Tidying up is done as well as may be.
                Ok(15) => assert!(snapshot(folder.path())? == expected),
                other => panic!("{fault:?} at {at}: {other:?}"),
            }
            resume(&case, folder.path(), &expected)?;
        }
        let folder = temporary()?;
        run_on(&case, folder.path(), FaultPlan { at, fault: Fault::Short }).0?;
        assert!(snapshot(folder.path())? == expected, "short at {at}");
    }
    assert!(failures > 4 * operations, "{failures} failures of {operations} operations");
    Ok(())
}

/// Tells a child process the store.
const CHILD: &str = "ENTK_GRAM_TEST_CHILD";

fn child(folder: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", "store::faults::child_that_is_killed", "--test-threads", "1"])
        .env(CHILD, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}

#[test]
fn child_that_is_killed() -> TestResult {
    let Ok(folder) = std::env::var(CHILD) else { return Ok(()) };
    Case::new(1)?.assembly()?.store(folder, &config())?;
    Ok(())
}

#[test]
fn kills_at_every_operation() -> TestResult {
    let case = Case::new(1)?;
    let expected = reference(&case)?;
    let mut kills = 0;
    for at in 0.. {
        let folder = temporary()?;
        let order = format!("{}@{at}", ["kill", "halfkill"][at % 2]);
        let status = child(folder.path())?.env(ORDER, order).status()?;
        resume(&case, folder.path(), &expected)?;
        if status.success() {
            break;
        }
        kills += 1;
    }
    assert!(kills > 10 * 15, "{kills} kills");
    Ok(())
}

#[test]
fn kills_at_random_moments() -> TestResult {
    let case = Case::new(1)?;
    let expected = reference(&case)?;
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for _ in 0..50 {
        let folder = temporary()?;
        let mut child = child(folder.path())?.spawn()?;
        std::thread::sleep(Duration::from_millis(rng.random_range(0..100)));
        child.kill()?;
        child.wait()?;
        resume(&case, folder.path(), &expected)?;
    }
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
