//! Tiles shared among several devices, each on a thread of its own.

use std::sync::mpsc;

use crate::{
    error::{GramError, Result},
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
/// `sink` on this thread. The first error ends all: the others see that nobody takes their tiles.
pub(crate) fn run_parallel<A: Clone + Send>(
    shares: &[Vec<TileIndex>],
    compute: impl Fn(usize, &[TileIndex], &mut HostSink<'_, A>) -> Result<()> + Sync,
    sink: &mut HostSink<'_, A>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<(TileIndex, Vec<A>)>(WAITING * shares.len());
        let compute = &compute;
        let busy = shares.iter().enumerate().filter(|(_, share)| !share.is_empty());
        let threads: Vec<_> = busy
            .map(|(device, share)| {
                let sender = sender.clone();
                let send = move |tile, values: &[A]| {
                    sender.send((tile, values.to_vec())).map_err(|_| GramError::Stopped)
                };
                scope.spawn(move || compute(device, share, &mut { send }))
            })
            .collect();
        drop(sender);
        let mut taken = Ok(());
        for (tile, values) in receiver {
            taken = sink(tile, &values);
            if taken.is_err() {
                break; // and with it the receiver
            }
        }
        let computed = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        // After an error of the sink the devices end with `Stopped`; the sink's is returned.
        computed.fold(taken, Result::and)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
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
        let broken =
            |device: usize, share: &[TileIndex], sink: &mut HostSink<'_, usize>| match device {
                1 => Err(GramError::NotOnCpu),
                _ => mock.compute(share, sink),
            };
        let failed = run_parallel(&shares, broken, &mut |_, _| Ok(()));
        assert!(matches!(failed, Err(GramError::NotOnCpu)), "{failed:?}");

        let full = |_, _: &[usize]| Err(GramError::Stopped);
        let failed =
            run_parallel(&shares, |_, share, sink| mock.compute(share, sink), &mut { full });
        assert!(matches!(failed, Err(GramError::Stopped)), "{failed:?}");
    }
}
