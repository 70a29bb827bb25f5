//! Tiles shared among several devices, each on a thread of its own.

use std::sync::mpsc;

use crate::{
    error::{GramError, Result},
    progress::Watch,
    tiles::grid::TileIndex,
};

/// Takes the entries of finished tiles, row-major.
pub(crate) type HostSink<'a, A> = dyn FnMut(TileIndex, &[A]) -> Result<()> + 'a;

/// Finished tiles that wait for the sink, for each device.
const WAITING: usize = 2;

/// Shares of some tiles for `devices` devices: consecutive tiles, with as equal sums of `work` as
/// whole tiles allow. Consecutive tiles of the lower triangle share their rows, so that a device
/// sweeps few examples besides those that all need.
pub(crate) fn partition_tiles(
    tiles: &[TileIndex],
    devices: usize,
    work: impl Fn(TileIndex) -> usize,
) -> Vec<Vec<TileIndex>> {
    let mut shares = vec![Vec::new(); devices.max(1)];
    let total: usize = tiles.iter().map(|tile| work(*tile)).sum();
    let mut before = 0;
    for &tile in tiles {
        // By the middle of the tile, so that no share is off by more than half of one at each end.
        let middle = 2 * before + work(tile);
        let device = (middle as u128 * shares.len() as u128 / (2 * total.max(1)) as u128) as usize;
        let last = shares.len() - 1;
        shares[device.min(last)].push(tile);
        before += work(tile);
    }
    shares
}

/// Runs `compute` for every share that is not empty, on a thread each, and passes the tiles to
/// `sink` on this thread. The first error, of a device or of the sink, ends the work of all devices
/// at their next look at `watch`, and is returned; tiles that were finished until then go to the
/// sink as long as that works.
pub(crate) fn run_parallel<A: Clone + Send>(
    shares: &[Vec<TileIndex>],
    watch: &Watch<'_>,
    compute: impl Fn(usize, &[TileIndex], &mut HostSink<'_, A>) -> Result<()> + Sync,
    sink: &mut HostSink<'_, A>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) =
            mpsc::sync_channel::<Result<(TileIndex, Vec<A>)>>(WAITING * shares.len());
        let compute = &compute;
        for (device, share) in shares.iter().enumerate().filter(|(_, share)| !share.is_empty()) {
            let sender = sender.clone();
            scope.spawn(move || {
                let send = |message| sender.send(message).map_err(|_| GramError::Stopped);
                let mut tiles = |tile, values: &[A]| send(Ok((tile, values.to_vec())));
                if let Err(error) = compute(device, share, &mut tiles) {
                    // Nobody takes it where the receiver has panicked, which is told by itself.
                    let _ = send(Err(error));
                }
            });
        }
        drop(sender);
        let (mut first, mut sink_works) = (Ok(()), true);
        for message in receiver {
            let taken = message.and_then(|(tile, values)| {
                let taken = if sink_works { sink(tile, &values) } else { Ok(()) };
                sink_works &= taken.is_ok();
                taken
            });
            if taken.is_err() {
                watch.fail();
            }
            first = first.and(taken);
        }
        first
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::{Duration, Instant},
    };

    use super::*;
    use crate::tiles::grid::Grid;

    /// A device that computes nothing and counts what it is asked for.
    #[derive(Default)]
    struct Mock {
        calls: AtomicUsize,
        tiles: Mutex<Vec<TileIndex>>,
    }

    impl Mock {
        fn compute(&self, tiles: &[TileIndex], sink: &mut HostSink<'_, usize>) -> Result<()> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            for &tile in tiles {
                self.tiles.lock().expect("no panic").push(tile);
                sink(tile, &[tile.0])?;
            }
            Ok(())
        }
    }

    #[test]
    fn every_tile_once_balanced_and_always_the_same() -> Result<()> {
        for (n, edge) in [(10, 10), (100, 7), (61, 15), (1000, 64)] {
            let grid = Grid::new(n, edge);
            let tiles: Vec<_> = grid.lower().collect();
            for devices in [1, 2, 3, 4, 8] {
                let work = |tile| grid.entries(tile);
                let shares = partition_tiles(&tiles, devices, work);
                assert_eq!(shares, partition_tiles(&tiles, devices, work));
                let mocks: Vec<Mock> = (0..devices).map(|_| Mock::default()).collect();
                let mut got = Vec::new();
                run_parallel(
                    &shares,
                    &Watch::new(None, &|_, _| ()),
                    |d, share, sink| mocks[d].compute(share, sink),
                    &mut |t, v| {
                        assert_eq!(v, [t.0]);
                        got.push(t);
                        Ok(())
                    },
                )?;
                got.sort_unstable();
                assert_eq!(got, tiles);
                for (mock, share) in mocks.iter().zip(&shares) {
                    assert_eq!(mock.calls.load(Ordering::Relaxed), usize::from(!share.is_empty()));
                    assert_eq!(*mock.tiles.lock().expect("no panic"), *share);
                }
                let all: usize = tiles.iter().map(|tile| work(*tile)).sum();
                for share in &shares {
                    let sum: usize = share.iter().map(|tile| work(*tile)).sum();
                    let off = (sum as f64 - all as f64 / devices as f64).abs();
                    assert!(off <= grid.edge().pow(2) as f64, "{n} {edge} {devices}: {off}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_failing_device_or_sink_ends_all_with_its_error() {
        let tiles: Vec<_> = Grid::new(100, 5).lower().collect();
        let shares = partition_tiles(&tiles, 3, |_| 1);
        let mock = Mock::default();
        let observe = |_, _| ();
        let watch = Watch::new(None, &observe);
        let broken =
            |device: usize, share: &[TileIndex], sink: &mut HostSink<'_, usize>| match device {
                1 => Err(GramError::NotOnCpu),
                _ => mock.compute(share, sink),
            };
        let failed = run_parallel(&shares, &watch, broken, &mut |_, _| Ok(()));
        assert!(matches!(failed, Err(GramError::NotOnCpu)), "{failed:?}");

        let full = |_, _: &[usize]| Err(GramError::NotOnCpu);
        let watch = Watch::new(None, &observe);
        let tiles = |_, share: &[TileIndex], sink: &mut HostSink<'_, usize>| {
            share.iter().try_for_each(|tile| {
                watch.check()?;
                mock.compute(&[*tile], sink)
            })
        };
        let failed = run_parallel(&shares, &watch, tiles, &mut { full });
        assert!(matches!(failed, Err(GramError::NotOnCpu)), "{failed:?}");
    }

    #[test]
    fn a_failing_device_ends_the_work_of_one_that_has_no_tile_finished() {
        let shares = partition_tiles(&Grid::new(100, 5).lower().collect::<Vec<_>>(), 2, |_| 1);
        let observe = |_, _| ();
        let watch = Watch::new(None, &observe);
        // Tiles that stay until the end: the first reaches the sink after all work.
        let compute = |device: usize, share: &[TileIndex], sink: &mut HostSink<'_, usize>| {
            if device == 1 {
                return Err(GramError::NotOnCpu);
            }
            let patience = Instant::now() + Duration::from_secs(20);
            while Instant::now() < patience {
                watch.check()?;
            }
            share.iter().try_for_each(|tile| sink(*tile, &[tile.0]))
        };
        let mut taken = 0;
        let failed = run_parallel(&shares, &watch, compute, &mut |_, _| {
            taken += 1;
            Ok(())
        });
        assert!(matches!(failed, Err(GramError::NotOnCpu)), "{failed:?}");
        assert_eq!(taken, 0, "the other device worked on");
    }
}
