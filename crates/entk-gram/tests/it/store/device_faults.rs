//! Faults of a GPU in the middle of an assembly, put in by the software GPU (tools/softgpu): memory
//! that is refused, launches that fail, a device that is lost, a bit that flips. Each in a child
//! process, since a broken GPU stays so until its program ends.

use entk_device::DeviceProperties;
use entk_gram::{DeviceConfig, Engine};
use entk_testing::more_test_devices;

use super::*;
use crate::common::{SINGLE, distance};

/// Tells a child the store, and whether it checks its entries in f64.
const CHILD: &str = "ENTK_GRAM_TEST_DEVICE_FAULT";

/// What is refused or fails: memory once, the others from then on.
const KINDS: [&str; 3] = ["memory", "launch", "lost"];

/// Tiles of the kernel.
const TILES: usize = 15;

/// Pairs of 61 rows, four times as many as there are, so that hardly an entry is not looked at.
const PAIRS: usize = 8_000;

/// Flips that are tried until three have changed an entry.
const TRIES: usize = 60;

/// Errors that pass for round-off, with those of the kernel without a fault.
const UNSEEN: f64 = 1e-3 + 2.0 * SINGLE;

fn is_software_gpu() -> TestResult<bool> {
    let gpu = DeviceProperties::of(test_device())?;
    Ok(gpu.is_some_and(|gpu| gpu.name.starts_with("Software GPU")))
}

/// The work of a child: two tiles at a time, with sweeps of their own, on all devices.
fn assemble(folder: &Path, checks: bool) -> TestResult {
    let mut case = Case::new(1)?;
    let gpus = entk_device::device_count();
    let device = DeviceConfig {
        devices: more_test_devices(gpus.saturating_sub(1)),
        resident_tiles: Some(2),
        ..DeviceConfig::default()
    };
    case.config.micro_batch = Some(8);
    let by = |device: &DeviceConfig| GramConfig {
        engine: Engine::Tensors(device.clone()),
        ..case.config.clone()
    };
    let needs = Assembly::new(
        &case.network,
        &case.theta,
        &case.x,
        &by(&DeviceConfig { memory: Some(1), ..device.clone() }),
    );
    // As little memory as there can be, so that the tiles are resident.
    let Err(GramError::Memory { needed, .. }) = needs?.store(folder, &config()) else {
        return Err("a kernel in one byte".into());
    };
    let device = DeviceConfig { memory: Some(needed), ..device };
    let assembly = Assembly::new(&case.network, &case.theta, &case.x, &by(&device))?;
    let store = assembly.store(folder, &config())?.store;
    if checks {
        let estimate = assembly.estimate_error(PAIRS, 1, |i, j| store.get(i, j))?;
        if let Err(wrong) = assembly.ensure_right(&estimate) {
            store.discard(estimate.at)?;
            return Err(wrong.into());
        }
    }
    Ok(())
}

#[test]
fn child_of_a_device_fault() -> TestResult {
    let Ok(order) = std::env::var(CHILD) else { return Ok(()) };
    let (folder, checks) = order.split_once(',').ok_or("FOLDER,CHECKS")?;
    assemble(Path::new(folder), checks == "true").map_err(|error| error.to_string().into())
}

/// A run in a process of its own: whether it succeeded, and what it said.
fn run(
    folder: &Path,
    devices: usize,
    fault: Option<&str>,
    checks: bool,
) -> TestResult<(bool, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", "store::device_faults::child_of_a_device_fault", "--nocapture"])
        .env(CHILD, format!("{},{checks}", folder.display()))
        .env("SOFTGPU_DEVICES", devices.to_string())
        .env("SOFTGPU_STATS", folder.with_extension("counts"))
        .env_remove("SOFTGPU_FAULT");
    if let Some(fault) = fault {
        command.env("SOFTGPU_FAULT", fault);
    }
    let output = command.output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains("panicked") && !said.contains("softgpu:"), "{said}");
    Ok((output.status.success(), said))
}

/// What the software GPU has counted in a run.
fn counted(folder: &Path, what: &str) -> TestResult<usize> {
    let counts = std::fs::read_to_string(folder.with_extension("counts"))?;
    let line = counts.lines().find_map(|line| line.split_once('\t').filter(|(_, of)| *of == what));
    Ok(line.ok_or(what)?.0.parse()?)
}

/// How many calls of a kind a run made that a fault could have hit.
fn chances(folder: &Path, kind: &str) -> TestResult<usize> {
    counted(folder, &format!("chances of {kind}"))
}

/// The command of a run that a fault ended, again: it keeps what was finished, and gives the bits
/// of one without.
fn goes_on(
    folder: &Path,
    devices: usize,
    expected: &BTreeMap<PathBuf, Vec<u8>>,
) -> TestResult<usize> {
    let missing = match Store::open_partial(folder) {
        Ok(store) => store.missing()?.len(),
        Err(_) => TILES,
    };
    let (succeeded, said) = run(folder, devices, None, true)?;
    assert!(succeeded, "{said}");
    assert!(snapshot(folder)? == *expected, "other bits than without the fault");
    Ok(TILES - missing)
}

#[test]
fn a_fault_of_the_device_names_it_and_loses_nothing() -> TestResult {
    if !is_software_gpu()? {
        return Ok(());
    }
    for devices in [1, 2] {
        let root = temporary()?;
        let undisturbed = root.path().join("undisturbed");
        let (succeeded, said) = run(&undisturbed, devices, None, false)?;
        assert!(succeeded, "{said}");
        let expected = snapshot(&undisturbed)?;
        let mut kept = Vec::new();
        for kind in KINDS {
            let all = chances(&undisturbed, kind)?;
            // Within the sweeps of the first and of later tiles, and at the last calls.
            for at in [all / 2, 3 * all / 4, all - all / 10] {
                let folder = root.path().join(format!("{kind}{at}"));
                let fault = format!("{kind}:{at}");
                let (succeeded, said) = run(&folder, devices, Some(&fault), false)?;
                // Two devices make no equal number of calls in every run; the last may do nothing.
                assert!(devices > 1 || !succeeded, "{fault}: no error");
                let named = said.contains("cuda:") && said.contains("failed at tile (");
                assert!(succeeded || named, "{devices} devices, {fault}: {said}");
                kept.extend((!succeeded).then_some(goes_on(&folder, devices, &expected)?));
            }
        }
        assert!(kept.iter().any(|kept| *kept > 0), "no tile was ever finished: {kept:?}");
    }
    Ok(())
}

#[test]
fn inputs_and_parameters_go_to_another_device_once() -> TestResult {
    if !is_software_gpu()? {
        return Ok(());
    }
    let (root, case) = (temporary()?, Case::new(1)?);
    let folder = root.path().join("gram");
    let (succeeded, said) = run(&folder, 2, None, false)?;
    assert!(succeeded, "{said}");
    let entries = case.x.elem_count() + case.theta.count();
    let bytes = entries * case.theta.dtype().size_in_bytes();
    assert_eq!(counted(&folder, "bytes by cuMemcpyPeerAsync")?, bytes);
    Ok(())
}

#[test]
fn one_flipped_bit_is_found_by_entries_in_f64() -> TestResult {
    if !is_software_gpu()? {
        return Ok(());
    }
    let root = temporary()?;
    let undisturbed = root.path().join("undisturbed");
    let (succeeded, said) = run(&undisturbed, 1, None, true)?;
    assert!(succeeded, "{said}");
    let expected = snapshot(&undisturbed)?;
    let clean = root.path().join("clean");
    run(&clean, 1, None, false)?;
    let all = chances(&clean, "flip")?;
    let bits = Store::open(&undisturbed)?.gram()?;
    let mut found = 0;
    // Most products are of units that are off, or of examples that only fill up a micro-batch.
    for at in (all / 2..all).rev().step_by(9).take(TRIES) {
        let (folder, fault) = (root.path().join(format!("flip{at}")), format!("flip:{at}"));
        let (succeeded, said) = run(&folder, 1, Some(&fault), false)?;
        assert!(succeeded, "{said}");
        if distance(&Store::open(&folder)?.gram()?, &bits) <= UNSEEN {
            continue;
        }
        std::fs::remove_dir_all(&folder)?;
        let (succeeded, said) = run(&folder, 1, Some(&fault), true)?;
        assert!(!succeeded && said.contains("computed on cuda:0, is off by"), "{fault}: {said}");
        goes_on(&folder, 1, &expected)?;
        found += 1;
        if found == 3 {
            break;
        }
    }
    assert!(found >= 2, "{found} flips were found");
    Ok(())
}
