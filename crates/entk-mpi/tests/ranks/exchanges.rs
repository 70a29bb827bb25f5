//! What ranks say to each other, and that none waits for one that has left.

use entk_mpi::on_threads;
use entk_spectral::{Ranks, Result, SpectralError};

use crate::problems::RANKS;

const REASON: &str = "the disk is gone";

fn failure() -> SpectralError {
    SpectralError::Operator { reason: REASON.into() }
}

#[test]
fn every_rank_gets_the_numbers_of_all_in_their_order() {
    for size in RANKS {
        let all = on_threads(size, |thread| {
            let ranks = Ranks::new(thread);
            assert_eq!(ranks.size(), size);
            // Many rounds, each of another length on each rank, some of none.
            (0..200)
                .map(|round| {
                    let own = vec![(100 * round + ranks.rank()) as f64; (round + ranks.rank()) % 4];
                    ranks.all_gather(&own)
                })
                .collect::<Result<Vec<_>>>()
        });
        let expected = |round: usize| -> Vec<f64> {
            let of = |rank: usize| vec![(100 * round + rank) as f64; (round + rank) % 4];
            (0..size).flat_map(of).collect()
        };
        for found in all {
            let found = found.unwrap();
            assert!((0..200).all(|round| found[round] == expected(round)));
        }
    }
}

#[test]
fn bits_of_every_number_pass() {
    let numbers = [f64::NAN, -0.0, f64::INFINITY, -1.0, 5e-324];
    let all = on_threads(2, |thread| Ranks::new(thread).all_gather(&numbers));
    for found in all {
        let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found.unwrap()), [bits(&numbers), bits(&numbers)].concat());
    }
}

#[test]
fn any_is_of_all_and_first_is_of_rank_0() {
    for (set, any, first) in [(0, true, true), (2, true, false), (9, false, false)] {
        let said = on_threads(3, |thread| {
            let ranks = Ranks::new(thread);
            let here = ranks.rank() == set;
            Ok::<_, SpectralError>((ranks.any(here)?, ranks.first(here)?))
        });
        assert!(said.iter().all(|said| *said == Ok((any, first))));
    }
}

#[test]
fn one_that_fails_ends_all_wherever_they_are() {
    // In its first round, between two exchanges, or after the last one of the others.
    for failing in [0, 1, 5] {
        let ends = on_threads(3, |thread| {
            let ranks = Ranks::new(thread);
            let end = ranks.jointly(|| {
                for round in 0..5 {
                    if ranks.rank() == 1 && round == failing {
                        return Err(failure());
                    }
                    ranks.all_gather(&[1.0])?;
                }
                if ranks.rank() == 1 { Err(failure()) } else { Ok(()) }
            });
            // A failure is for good.
            assert_eq!(ranks.any(false), Err(SpectralError::OtherRank { rank: 1 }));
            end
        });
        let other = Err(SpectralError::OtherRank { rank: 1 });
        assert_eq!(ends, [other.clone(), Err(failure()), other]);
    }
}

#[test]
fn failures_pass_through_work_within_work() {
    let ends = on_threads(2, |thread| {
        let ranks = Ranks::new(thread);
        ranks.jointly(|| {
            ranks.jointly(|| if ranks.rank() == 0 { Err(failure()) } else { Ok(()) })?;
            ranks.all_gather(&[1.0]).map(|_| ())
        })
    });
    assert_eq!(ends, [Err(failure()), Err(SpectralError::OtherRank { rank: 0 })]);
}

#[test]
fn a_thread_that_panics_ends_the_others() {
    let panicked = std::panic::catch_unwind(|| {
        on_threads(3, |thread| {
            let ranks = Ranks::new(thread);
            ranks.all_gather(&[1.0]).unwrap();
            assert!(ranks.rank() != 2, "meant");
            assert_eq!(ranks.all_gather(&[1.0]), Err(SpectralError::OtherRank { rank: 2 }));
        })
    });
    assert!(panicked.is_err());
}
