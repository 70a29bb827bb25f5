//! Stores: the same bits as in memory, after any interruption, damage and division of the work.

mod damage;
#[cfg(feature = "cuda")]
mod device_faults;
#[cfg(debug_assertions)] // a release build cannot inject
mod faults;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use candle_core::{DType, Tensor};
use entk_gram::{
    Accumulate, Assembly, GramConfig, GramError, Outputs, Store, StoreConfig,
    store::{Grid, Part, TileIndex},
};
use entk_models::{Model, Network, Params};
use entk_testing::{TestResult, kernel_cases, needs_cpu, networks, normal, test_device};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::common::same;

/// Prime, so that no edge divides it.
pub(super) const N: usize = 61;
/// 5 x 5 tiles, 15 of them on and below the diagonal, the last ones of one example.
pub(super) const EDGE: usize = 15;

pub(super) struct Case {
    pub(super) network: Network,
    pub(super) theta: Params,
    pub(super) x: Tensor,
    pub(super) config: GramConfig,
}

impl Case {
    pub(super) fn new(seed: u64) -> Result<Self, GramError> {
        let network = networks::named("mlp")?;
        let theta = network.init(seed, DType::F32, test_device())?;
        let x = normal(&[N, 1, 4, 5], 3)?.to_dtype(DType::F32)?;
        Ok(Self { network, theta, x, config: GramConfig::default() })
    }

    pub(super) fn assembly(&self) -> Result<Assembly<'_>, GramError> {
        Assembly::new(&self.network, &self.theta, &self.x, &self.config)
    }
}

pub(super) fn config() -> StoreConfig {
    StoreConfig { edge: EDGE, ..StoreConfig::default() }
}

/// A temporary folder, in memory where there is one, so that syncing is free.
pub(super) fn temporary() -> io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// Every file but the journal, whose lines depend on the order of the work.
pub(super) fn contents(folder: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
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

/// The contents with names relative to the store.
pub(super) fn snapshot(folder: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let relative = |path: PathBuf| path.strip_prefix(folder).map(Path::to_path_buf).unwrap_or(path);
    Ok(contents(folder)?.into_iter().map(|(path, bytes)| (relative(path), bytes)).collect())
}

/// The bytes of an undisturbed run.
pub(super) fn reference(
    case: &Case,
) -> Result<BTreeMap<PathBuf, Vec<u8>>, Box<dyn std::error::Error>> {
    let folder = temporary()?;
    case.assembly()?.store(folder.path(), &config())?;
    Ok(snapshot(folder.path())?)
}

pub(super) fn tile_path(folder: &Path, TileIndex(row, col): TileIndex) -> PathBuf {
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
            let read = store.gram()?;
            assert!(same(&read, &memory), "edge {edge}");
            assert_eq!(store.diagonal()?, read.diagonal());
            for (i, j) in [(0, 0), (60, 0), (3, 59), (60, 60)] {
                assert_eq!(store.get(i, j)?, read.get(i, j));
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
    let orders: [&[_]; 4] = [
        &[(1, 1)],
        &[(2, 2), (1, 2)],
        &[(3, 3), (1, 3), (2, 3)],
        &[(2, 4), (4, 4), (1, 4), (3, 4)],
    ];
    for order in orders {
        let folder = temporary()?;
        let (mut computed, last) = (0, order.len() - 1);
        for (at, &(index, count)) in order.iter().enumerate() {
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
fn parts_that_sweep_some_examples_have_the_bits_of_all() -> TestResult {
    for case in kernel_cases()? {
        let (theta, x) = case.to_dtype(DType::F32)?;
        for outputs in [Outputs::Trace, Outputs::Full] {
            let config = GramConfig { outputs, ..GramConfig::default() };
            let assembly = Assembly::new(&case.network, &theta, &x, &config)?;
            let folder = temporary()?;
            for index in 1..=6 {
                let part = Part::new(index, 6)?;
                let edge = 12 * outputs.rows_per_example(case.network.outputs());
                assembly.store(folder.path(), &StoreConfig { edge, part })?;
            }
            let store = Store::open_partial(folder.path())?;
            store.finish()?;
            assert!(same(&store.gram()?, &assembly.gram()?), "{} {outputs:?}", case.name);
        }
    }
    Ok(())
}

#[test]
fn another_run_is_refused_field_by_field() -> TestResult {
    if needs_cpu("the micro-batch of the CPU's engine") {
        return Ok(());
    }
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
    case.config.micro_batch = Some(10);
    case.x = (case.x * 2.0)?;
    let message = refused(&case, &config())?;
    assert!(message.contains("micro_batch: 31 -> 10") && message.contains("inputs: "), "{message}");
    assert!(snapshot(folder.path())? == before, "left as it is");

    let other = temporary()?;
    std::fs::create_dir(other.path().join("c"))?;
    let error = case.assembly()?.store(other.path(), &config());
    assert!(matches!(error, Err(GramError::NotAStore { .. })), "{error:?}");
    Ok(())
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
