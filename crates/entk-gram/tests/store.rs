//! Stores: the same bits as in memory, after any interruption, damage and division of the work.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use candle_core::{DType, Device, Tensor};
use entk_device::files::{FileSystem, OsFiles};
use entk_gram::{
    Accumulate, Assembly, GramConfig, GramError, Store, StoreConfig,
    store::{Grid, Part, TileIndex},
};
use entk_models::{Model, Network, Params};
use entk_testing::{TestResult, networks, normal};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// Prime, so that no edge divides it.
const N: usize = 61;
/// 5 x 5 tiles, 15 of them on and below the diagonal, the last ones of one example.
const EDGE: usize = 15;

struct Case {
    network: Network,
    theta: Params,
    x: Tensor,
    config: GramConfig,
}

impl Case {
    fn new(seed: u64) -> Result<Self, GramError> {
        let network = networks::named("mlp")?;
        let theta = network.init(seed, DType::F32, &Device::Cpu)?;
        let x = normal(&[N, 1, 4, 5], 3)?.to_dtype(DType::F32)?;
        Ok(Self { network, theta, x, config: GramConfig::default() })
    }

    fn assembly(&self) -> Result<Assembly<'_>, GramError> {
        Assembly::new(&self.network, &self.theta, &self.x, &self.config)
    }
}

fn config() -> StoreConfig {
    StoreConfig { edge: EDGE, ..StoreConfig::default() }
}

/// A temporary folder, in memory where there is one, so that syncing is free.
fn temporary() -> io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// Every file but the journal, whose lines depend on the order of the work.
fn contents(folder: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("journal") {
            files.extend(contents(&path)?);
        } else if path.is_file() {
            files.insert(path.clone(), std::fs::read(path)?);
        }
    }
    Ok(files)
}

/// The same with names relative to the store.
fn snapshot(folder: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let relative = |path: PathBuf| path.strip_prefix(folder).map(Path::to_path_buf).unwrap_or(path);
    Ok(contents(folder)?.into_iter().map(|(path, bytes)| (relative(path), bytes)).collect())
}

/// The bytes of an undisturbed run.
fn reference(case: &Case) -> Result<BTreeMap<PathBuf, Vec<u8>>, Box<dyn std::error::Error>> {
    let folder = temporary()?;
    case.assembly()?.store(folder.path(), &config())?;
    Ok(snapshot(folder.path())?)
}

fn tile_path(folder: &Path, TileIndex(row, col): TileIndex) -> PathBuf {
    folder.join("c").join(row.to_string()).join(col.to_string())
}

#[test]
fn a_store_holds_the_bits_of_memory_at_any_edge() -> TestResult {
    let mut case = Case::new(1)?;
    for accumulate in [Accumulate::Native, Accumulate::F64] {
        case.config.accumulate = accumulate;
        let memory = case.assembly()?.gram()?;
        for edge in [1, 7, EDGE, 60, 61, 2048] {
            let folder = temporary()?;
            let config = StoreConfig { edge, ..StoreConfig::default() };
            let stored = case.assembly()?.store(folder.path(), &config)?;
            let tiles = Grid::new(N, edge).lower().count();
            assert_eq!((stored.computed, stored.kept), (tiles, 0));
            assert_eq!(stored.commit.map(|commit| commit.tiles), Some(tiles));
            let store = Store::open(folder.path())?;
            assert!(store.gram()? == memory, "edge {edge}");
            assert_eq!(store.diagonal()?, memory.diagonal());
            for (i, j) in [(0, 0), (60, 0), (3, 59), (60, 60)] {
                assert_eq!(store.get(i, j)?, memory.get(i, j));
            }
            let again = case.assembly()?.store(folder.path(), &config)?;
            assert_eq!((again.computed, again.kept), (0, tiles));
        }
    }
    Ok(())
}

#[test]
fn export_is_the_full_square_as_numpy_writes_it() -> TestResult {
    let case = Case::new(1)?;
    let folder = temporary()?;
    let store = case.assembly()?.store(folder.path(), &config())?.store;
    let path = folder.path().join("gram.npy");
    store.export(&path)?;
    let bytes = std::fs::read(&path)?;
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(header % 64, 0);
    let text = std::str::from_utf8(&bytes[10..header])?;
    assert!(text.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (61, 61), }"));
    let gram = store.gram()?;
    let values =
        bytes[header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let expected = (0..N).flat_map(|i| (0..N).map(move |j| (i, j)));
    assert!(values.map(f64::from).eq(expected.map(|(i, j)| gram.get(i, j))));
    Ok(())
}

#[test]
fn parts_in_any_order_and_number_give_the_same_bytes() -> TestResult {
    let case = Case::new(1)?;
    let expected = reference(&case)?;
    for order in [vec![(1, 1)], vec![(2, 2), (1, 2)], vec![(3, 3), (1, 3), (2, 3)]] {
        let folder = temporary()?;
        let (mut computed, last) = (0, order.len() - 1);
        for (at, (index, count)) in order.into_iter().enumerate() {
            let part = Part::new(index, count)?;
            let stored =
                case.assembly()?.store(folder.path(), &StoreConfig { part, ..config() })?;
            computed += stored.computed;
            if at < last {
                assert!(matches!(stored.store.finish(), Err(GramError::MissingTiles { .. })));
                assert!(matches!(Store::open(folder.path()), Err(GramError::NotAStore { .. })));
            }
        }
        assert_eq!(computed, 15, "no tile twice");
        Store::open_partial(folder.path())?.finish()?;
        assert!(snapshot(folder.path())? == expected);
    }
    // A part is lost after another division has begun: the rest is done by one.
    let folder = temporary()?;
    let part = Part::new(2, 3)?;
    case.assembly()?.store(folder.path(), &StoreConfig { part, ..config() })?;
    let rest = case.assembly()?.store(folder.path(), &config())?;
    assert_eq!((rest.computed, rest.kept), (10, 5));
    assert!(snapshot(folder.path())? == expected);
    Ok(())
}

#[test]
fn another_run_is_refused_field_by_field() -> TestResult {
    let (mut case, folder) = (Case::new(1)?, temporary()?);
    case.assembly()?.store(folder.path(), &config())?;
    let before = snapshot(folder.path())?;
    let refused = |case: &Case, config: &StoreConfig| -> Result<String, GramError> {
        match case.assembly()?.store(folder.path(), config) {
            Err(error @ GramError::OtherRun { .. }) => Ok(error.to_string()),
            other => panic!("{other:?}"),
        }
    };
    let message = refused(&Case::new(2)?, &config())?;
    assert!(message.contains("weights: ") && !message.contains("inputs: "), "{message}");
    let message = refused(&case, &StoreConfig { edge: 16, ..config() })?;
    assert!(message.contains("edge: 15 -> 16"), "{message}");
    case.config.micro_batch = 10;
    case.x = (case.x * 2.0)?;
    let message = refused(&case, &config())?;
    assert!(message.contains("micro_batch: 64 -> 10") && message.contains("inputs: "), "{message}");
    assert!(snapshot(folder.path())? == before, "left as it is");

    let other = temporary()?;
    std::fs::create_dir(other.path().join("c"))?;
    let error = case.assembly()?.store(other.path(), &config());
    assert!(matches!(error, Err(GramError::NotAStore { .. })), "{error:?}");
    Ok(())
}

#[test]
fn flips_truncations_and_exchanges_are_found_and_only_they_recomputed() -> TestResult {
    let (case, folder) = (Case::new(1)?, temporary()?);
    let store = case.assembly()?.store(folder.path(), &config())?.store;
    let expected = snapshot(folder.path())?;
    let tiles: Vec<_> = store.grid().lower().collect();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for round in 0..1_000 {
        let [a, b] = [0, 1].map(|_| tiles[rng.random_range(0..tiles.len())]);
        let path = tile_path(folder.path(), a);
        let mut bytes = std::fs::read(&path)?;
        let mut bad = vec![a];
        match round % 10 {
            0 => bytes.truncate(rng.random_range(0..bytes.len())),
            1 if a != b => {
                let other = tile_path(folder.path(), b);
                std::fs::write(&path, std::fs::read(&other)?)?;
                std::fs::write(&other, &bytes)?;
                bytes = std::fs::read(&path)?;
                bad.push(b);
            }
            2 => bytes.push(0),
            _ => {
                let bit = rng.random_range(0..8 * bytes.len());
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        std::fs::write(&path, bytes)?;
        bad.sort();
        assert_eq!(store.missing()?, bad, "round {round}");
        assert!(matches!(store.gram(), Err(GramError::Damaged { .. })), "round {round}");
        assert!(matches!(store.finish(), Err(GramError::MissingTiles { .. })));
        if round % 50 < 3 {
            let repaired = case.assembly()?.store(folder.path(), &config())?;
            assert_eq!((repaired.computed, repaired.kept), (bad.len(), 15 - bad.len()));
            assert!(snapshot(folder.path())? == expected);
        } else {
            for tile in bad {
                let name = tile_path(Path::new(""), tile);
                std::fs::write(folder.path().join(&name), &expected[&name])?;
            }
        }
    }
    Ok(())
}

#[test]
fn damaged_records_are_errors_or_written_anew() -> TestResult {
    let (case, folder) = (Case::new(1)?, temporary()?);
    case.assembly()?.store(folder.path(), &config())?;
    let expected = snapshot(folder.path())?;
    let damage = |name: &str| std::fs::write(folder.path().join(name), b"{\"format\":");
    for name in ["zarr.json", "commit.json"] {
        damage(name)?;
        let again = case.assembly()?.store(folder.path(), &config())?;
        assert_eq!(again.computed, 0);
        assert!(snapshot(folder.path())? == expected, "{name}");
    }
    damage("run.json")?;
    let error = case.assembly()?.store(folder.path(), &config());
    assert!(matches!(error, Err(GramError::Damaged { .. })), "{error:?}");
    Ok(())
}

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
        .args(["--exact", "child_that_is_killed", "--test-threads", "1"])
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

#[test]
fn kernels_that_overflow_are_no_tiles() -> TestResult {
    let mut case = Case::new(1)?;
    case.theta = case.theta.scale(1e12)?; // outputs are finite, squared gradients are not
    let folder = temporary()?;
    let error = case.assembly()?.store(folder.path(), &config());
    assert!(matches!(error, Err(GramError::NonFinite { .. })), "{error:?}");
    Ok(())
}
