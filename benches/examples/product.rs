//! Wall seconds of one product of a stored Gram with 1,000 columns, in blocks of 128: what an
//! eigensolver's time is a multiple of.
//!
//!     cargo run --release -p entk-benches --example product -- out/gram.zarr
#![allow(clippy::print_stdout)]

use std::{env, time::Instant};

use entk::{gram::Store, spectral::SymmetricOperator};

const COLUMNS: usize = 1000;
const BLOCK: usize = 128;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = env::args().nth(1).ok_or("say which store")?;
    let store = Store::open(folder)?;
    let operator = store.operator()?;
    let n = operator.n();
    let columns = vec![1.0; n * BLOCK];
    let mut images = vec![0.0; n * BLOCK];
    let start = Instant::now();
    for first in (0..COLUMNS).step_by(BLOCK) {
        let count = BLOCK.min(COLUMNS - first) * n;
        operator.apply(&columns[..count], &mut images[..count])?;
    }
    println!("{COLUMNS} columns of {n}: {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}
