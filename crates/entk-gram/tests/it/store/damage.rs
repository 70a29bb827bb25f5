//! Damaged, exchanged and missing files of a store.

use super::*;

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

/// Replaces a number of a JSON file.
fn change(folder: &Path, name: &str, from: &str, to: &str) -> io::Result<()> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path)?;
    assert!(text.contains(from), "{name}: {text}");
    std::fs::write(path, text.replace(from, to))
}

#[test]
fn a_size_is_believed_when_all_files_agree_on_it() -> TestResult {
    let case = Case::new(1)?;
    for large in ["100000", "10000000", "1000000000000", "4611686018427387904"] {
        let folder = temporary()?;
        case.assembly()?.store(folder.path(), &config())?;
        let opened = |other: &str| match Store::open(folder.path()) {
            Err(GramError::Damaged { path, reason }) => {
                assert!(path.ends_with("run.json") && reason.contains(other), "{reason}");
            }
            other => panic!("{other:?}"),
        };
        change(folder.path(), "run.json", "\"n\": 61", &format!("\"n\": {large}"))?;
        opened("zarr.json");
        change(folder.path(), "zarr.json", "61", large)?;
        opened("commit.json");
        // As of a run that was interrupted: it promises more tiles than memory has bytes.
        std::fs::remove_file(folder.path().join("commit.json"))?;
        let store = Store::open_partial(folder.path())?;
        assert!(matches!(store.finish(), Err(GramError::MissingTiles { .. })));
        assert!(store.diagonal().is_err() && store.gram().is_err() && store.rows().is_err());
        if large.len() > 8 {
            assert!(matches!(store.missing(), Err(GramError::OutOfMemory { .. })));
        }
    }
    Ok(())
}

#[test]
fn a_store_larger_than_memory_is_not_read_whole() -> TestResult {
    let (case, folder) = (Case::new(1)?, temporary()?);
    case.assembly()?.store(folder.path(), &config())?;
    let edge = 1_usize << 40;
    for name in ["run.json", "zarr.json"] {
        change(folder.path(), name, "61", &edge.to_string())?;
        change(folder.path(), name, "15", &edge.to_string())?;
    }
    change(folder.path(), "commit.json", "\"tiles\": 15", "\"tiles\": 1")?;
    let error = Store::open(folder.path())?.gram();
    let Err(error @ GramError::TooMuchMemory { .. }) = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("tile by tile"), "{error}");
    Ok(())
}

#[cfg(debug_assertions)]
#[test]
fn a_file_that_cannot_be_read_is_not_written_anew() -> TestResult {
    use entk_device::files::faults::{Fault, FaultPlan, inject};
    let (case, folder) = (Case::new(1)?, temporary()?);
    case.assembly()?.store(folder.path(), &config())?;
    for at in 0.. {
        let injection = inject(folder.path(), FaultPlan { at, fault: Fault::Denied });
        let opened = Store::open(folder.path()).and_then(|store| store.gram());
        if injection.count() <= at {
            assert!(at > 15, "{at} operations");
            break;
        }
        assert!(matches!(opened, Err(GramError::Io { .. })), "operation {at}: {opened:?}");
    }
    Ok(())
}
