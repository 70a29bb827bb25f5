//! Solves over ranks that end early, and go on: on any number of ranks, with the same bits.

use std::{io, ops::ControlFlow, time::Duration};

use entk_spectral::{
    DistributedOperator, EigshConfig, EigshProgress, EigshRun, Solver, SpectralError, TiledOperator,
};

use crate::problems::{Case, Found, K, Laplace, RANKS, config, same, solved};

fn tiles() -> Laplace {
    Laplace::new(2100, 512)
}

/// Solves a case on so many ranks, going on from a checkpoint.
fn resumed(case: &Case, size: usize, checkpoint: &[u8]) -> Result<Found, SpectralError> {
    let run = |operator: &dyn DistributedOperator| {
        solved(operator, EigshRun::new(&config()).resumed(&mut &*checkpoint))
    };
    same(case.on(size, &run))
}

/// Ends a solve after the fourth block by the wish of rank `stopping`; every rank returns its
/// checkpoint.
fn stopped(case: &Case, size: usize, stopping: usize) -> Vec<Vec<u8>> {
    let run = |operator: &dyn DistributedOperator| {
        let rank = operator.rows().ranks().rank();
        let mut checkpoint = Vec::new();
        let mut observe = |progress: &EigshProgress<'_>| {
            if progress.any(rank == stopping && progress.products() == 16) {
                progress.write(&mut checkpoint).expect("bytes in memory");
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let end = EigshRun::new(&config()).observed(&mut observe).distributed_pairs(operator, K);
        assert_eq!(end, Err(SpectralError::Stopped { products: 16 }));
        Ok(checkpoint)
    };
    case.on(size, &run).into_iter().map(Result::unwrap).collect()
}

#[test]
fn any_rank_stops_all_and_any_number_of_ranks_goes_on() {
    for case in [Case::InMemory(tiles()), Case::RowGram { rows: 300, cols: 60, band: 50 }] {
        let run = |operator: &dyn DistributedOperator| solved(operator, EigshRun::new(&config()));
        let expected = same(case.on(1, &run)).unwrap();
        let checkpoint = stopped(&case, 1, 0).remove(0);
        for size in RANKS {
            for stopping in [0, size - 1] {
                let all = stopped(&case, size, stopping);
                assert!(all.iter().all(|one| *one == checkpoint), "checkpoints know no ranks");
            }
            assert!(resumed(&case, size, &checkpoint).unwrap() == expected);
        }
    }
}

#[test]
fn a_checkpoint_of_ranks_is_one_of_a_single_process() {
    let checkpoint = stopped(&Case::InMemory(tiles()), 3, 1).remove(0);
    let alone = TiledOperator::new(tiles()).unwrap();
    let expected = EigshRun::new(&config()).pairs(&alone, K).unwrap();
    let mut checkpoint = checkpoint.as_slice();
    let run = EigshRun::new(&config()).resumed(&mut checkpoint);
    assert_eq!(run.pairs(&alone, K).unwrap(), expected);
}

#[test]
fn a_rank_that_breaks_off_alone_stops_all() {
    let run = |operator: &dyn DistributedOperator| {
        let rank = operator.rows().ranks().rank();
        let mut observe = |_: &EigshProgress<'_>| {
            if rank == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        EigshRun::new(&config()).observed(&mut observe).distributed_pairs(operator, K)
    };
    for end in Case::InMemory(tiles()).on(3, &run) {
        assert_eq!(end, Err(SpectralError::Stopped { products: 4 }));
    }
}

#[test]
fn a_tile_that_one_rank_cannot_read_ends_all() {
    // Only the last of four ranks needs the last tile.
    for case in [Case::Read, Case::InMemory]
        .map(|case| case(Laplace { edge: 525, broken: Some((3, 3)), ..tiles() }))
    {
        let run = |operator: &dyn DistributedOperator| {
            EigshRun::new(&config()).distributed_pairs(operator, K)
        };
        let ends = case.on(4, &run);
        let reason = "tile (3, 3) is damaged".to_owned();
        assert_eq!(ends[3], Err(SpectralError::Operator { reason }));
        let other = Err(SpectralError::OtherRank { rank: 3 });
        assert!(ends[..3].iter().all(|end| *end == other), "{ends:?}");
    }
}

#[test]
fn a_checkpoint_that_one_rank_cannot_read_or_write_ends_all_in_order() {
    let case = Case::InMemory(tiles());
    let checkpoint = stopped(&case, 1, 0).remove(0);
    let read = |operator: &dyn DistributedOperator| {
        let damaged = &checkpoint[..checkpoint.len() - 9];
        let here = operator.rows().ranks().rank() == 1;
        let mut bytes = if here { damaged } else { &checkpoint };
        EigshRun::new(&config()).resumed(&mut bytes).distributed_pairs(operator, K)
    };
    let ends = case.on(2, &read);
    assert_eq!(ends[0], Err(SpectralError::OtherRank { rank: 1 }));
    assert!(matches!(ends[1], Err(SpectralError::Checkpoint { .. })));

    /// A disk that is full.
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let write = |operator: &dyn DistributedOperator| {
        let here = operator.rows().ranks().rank() == 0;
        let mut observe = |progress: &EigshProgress<'_>| {
            let written =
                if here { progress.write(&mut Full) } else { progress.write(&mut io::sink()) };
            assert_eq!(written.is_err(), here);
            if written.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        EigshRun::new(&config()).observed(&mut observe).distributed_pairs(operator, K)
    };
    for end in case.on(3, &write) {
        assert_eq!(end, Err(SpectralError::Stopped { products: 4 }));
    }
}

#[test]
fn limits_are_met_by_all() {
    let with = |config: &EigshConfig| {
        let run = |operator: &dyn DistributedOperator| {
            EigshRun::new(config).distributed_pairs(operator, K)
        };
        same(Case::InMemory(tiles()).on(3, &run)).unwrap_err()
    };
    let limit = |config: &EigshConfig| match with(config) {
        SpectralError::NotConverged { limit, .. } => limit,
        other => panic!("{other}"),
    };
    let time = EigshConfig { max_time: Some(Duration::ZERO), ..config() };
    assert_eq!(limit(&time), "limit of time");
    let products = EigshConfig { max_products: Some(12), ..config() };
    assert_eq!(limit(&products), "limit of products");
    let dense = EigshConfig { solver: Solver::Dense, ..config() };
    assert!(matches!(with(&dense), SpectralError::InvalidSetting { field: "solver", .. }));
}

#[test]
fn more_ranks_than_bands_are_refused_by_all() {
    let run = |operator: &dyn DistributedOperator| Ok(operator.rows().n());
    let end = same(Case::Read(Laplace::new(1500, 700)).on(4, &run));
    let (ranks, n, band, bands) = (4, 1500, 700, 3);
    assert_eq!(end, Err(SpectralError::TooManyRanks { ranks, n, band, bands }));
}
