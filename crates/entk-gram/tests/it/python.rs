//! What we write, as zarr and numpy read it. Skipped, with a message, where Python lacks them.

use std::{
    io,
    process::{Command, Output},
};

use candle_core::{DType, Device};
use entk_gram::{Assembly, GramConfig, StoreConfig};
use entk_models::{Activation, Model};
use entk_testing::{TestResult, networks, normal};

/// 5 x 5 tiles of 8, the last ones of 5 examples.
const N: usize = 37;
const EDGE: usize = 8;

/// The interpreter; another one than `python3` is named in this variable.
fn python(script: &str, arguments: &[&std::path::Path]) -> io::Result<Output> {
    let name = std::env::var("ENTK_PYTHON").unwrap_or_else(|_| "python3".into());
    Command::new(name).arg("-c").arg(script).args(arguments).output()
}

const READ: &str = r#"
import sys, numpy, zarr
store, exported = sys.argv[1:]
array = zarr.open(store, mode="r")
square = numpy.load(exported, mmap_mode="r")
n, edge = 37, 8
assert array.shape == square.shape == (n, n) and array.dtype == square.dtype == numpy.float32
assert array.chunks == (edge, edge)
tiles = array[:]
row, col = numpy.indices((n, n))
lower = row // edge >= col // edge
assert numpy.array_equal(tiles[lower], square[lower])
assert numpy.isnan(tiles[~lower]).all()
assert numpy.array_equal(square, square.T) and numpy.isfinite(square).all()
print(float(square[36, 3]).hex())
"#;

const READ_DAMAGED: &str = r#"
import sys, zarr
try:
    zarr.open(sys.argv[1], mode="r")[8:16, 0:8]
except Exception as error:
    print("refused:", error)
"#;

#[test]
fn zarr_and_numpy_read_the_store_and_its_export() -> TestResult {
    match python("import numpy, zarr; assert zarr.__version__ >= '3'", &[]) {
        Ok(output) if output.status.success() => {}
        _ => {
            eprintln!(
                "skipped: no Python with numpy and zarr 3; `pip install zarr numpy`, or set ENTK_PYTHON"
            );
            return Ok(());
        }
    }
    let network = networks::mlp([1, 4, 5], &[30], 1, Activation::Relu)?;
    let theta = network.init(1, DType::F32, &Device::Cpu)?;
    let x = normal(&[N, 1, 4, 5], 3)?.to_dtype(DType::F32)?;
    let folder = tempfile::tempdir()?;
    let (path, exported) = (folder.path().join("gram.zarr"), folder.path().join("gram.npy"));
    let config = StoreConfig { edge: EDGE, ..StoreConfig::default() };
    let assembly = Assembly::new(&network, &theta, &x, &GramConfig::default())?;
    let store = assembly.store(&path, &config)?.store;
    store.export(&exported)?;

    let output = python(READ, &[&path, &exported])?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let expected = python(&format!("print(float({:e}).hex())", store.get(36, 3)?), &[])?;
    assert_eq!(output.stdout, expected.stdout);

    let tile = path.join("c/1/0");
    let mut bytes = std::fs::read(&tile)?;
    bytes[9] ^= 4;
    std::fs::write(&tile, bytes)?;
    let output = python(READ_DAMAGED, &[&path])?;
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("refused:"));
    Ok(())
}
