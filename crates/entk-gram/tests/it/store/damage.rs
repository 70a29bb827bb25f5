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
