//! One error of every kind of every crate, and one inside of another.

use ErrorKind::{
    DeviceFailed, File, Input, Memory, NoDevice, NoResult, Numerical, Stopped, WrongEntry,
};

use super::*;
use crate::{device::memory::ensure, gram::store::TileIndex};

fn file(kind: io::ErrorKind) -> FileError {
    FileError { action: "read", path: "x".into(), source: kind.into() }
}

fn refused() -> FileError {
    file(io::ErrorKind::NotFound)
}

fn no_memory() -> MemoryError {
    ensure("a test", u64::MAX, None, "ask for less").expect_err("no machine has this")
}

fn candle(text: &str) -> candle_core::Error {
    candle_core::Error::Msg(text.into())
}

fn check(cases: impl IntoIterator<Item = (Error, ErrorKind)>) {
    for (error, kind) in cases {
        assert_eq!(error.kind(), kind, "{error:?}");
    }
}

#[test]
fn errors_without_a_crate_of_their_own() {
    let contents = Error::Contents { path: "x".into(), reason: "empty".into() };
    check([
        (candle("shape").into(), Input),
        (candle("CUDA_ERROR_OUT_OF_MEMORY").into(), DeviceFailed),
        (refused().into(), File),
        (file(io::ErrorKind::InvalidData).into(), Input),
        (file(io::ErrorKind::UnexpectedEof).into(), Input),
        (no_memory().into(), Memory),
        (contents, Input),
    ]);
}

#[test]
fn errors_of_devices_and_data() {
    let absent = DeviceError::Absent { ordinal: 1, reason: "no driver".into() };
    let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
    check([
        (absent.into(), NoDevice),
        (DeviceError::NotCompiled { ordinal: 0 }.into(), NoDevice),
        (DeviceError::Candle(candle("CUBLAS_STATUS_NOT_SUPPORTED")).into(), DeviceFailed),
        (DeviceError::Busy { slots: 2 }.into(), Input),
        (DataError::NoMemory(no_memory()).into(), Memory),
        (DataError::from(refused()).into(), File),
        (DataError::Gzip { file: "x.gz".into(), source: cut }.into(), Input),
        (DataError::Index { index: 3, count: 2 }.into(), Input),
    ]);
}

#[test]
fn errors_of_networks() {
    let full = || ModelError::NoMemory(no_memory());
    let graph =
        TorchError::Graph { operation: "mm".into(), place: "m".into(), source: Box::new(full()) };
    check([
        (full().into(), Memory),
        (ModelError::from(refused()).into(), File),
        (ModelError::Tensor(candle("CUDA_ERROR_LAUNCH_FAILED")).into(), DeviceFailed),
        (ModelError::ZeroVector.into(), Input),
        (TorchError::from(full()).into(), Memory),
        (graph.into(), Memory),
        (TorchError::from(refused()).into(), File),
        (TorchError::from(ModelError::ZeroVector).into(), Input),
        (LinearizeError::NoMemory(no_memory()).into(), Memory),
        (LinearizeError::Model(full()).into(), Memory),
        (LinearizeError::Empty.into(), Input),
    ]);
}

#[test]
fn errors_of_assemblies() {
    let failed = |source: GramError| GramError::Failed {
        device: "cuda:0".into(),
        tile: TileIndex(3, 1),
        source: Box::new(source),
    };
    let wrong =
        GramError::WrongEntry { device: "cuda:0".into(), at: [40, 3], error: 0.2, allowed: 1e-3 };
    let full = GramError::DiskSpace { folder: "x".into(), needed: 2, free: 1 };
    check([
        (GramError::OutOfMemory { bytes: 1 }.into(), Memory),
        (GramError::from(no_memory()).into(), Memory),
        (GramError::Memory { needed: 2, limit: 1 }.into(), Memory),
        (full.into(), File),
        (GramError::from(refused()).into(), File),
        (GramError::NonFinite { row: 0, col: 0, value: f64::NAN }.into(), Numerical),
        (failed(DeviceError::Candle(candle("no kernel")).into()).into(), DeviceFailed),
        (wrong.into(), WrongEntry),
        (GramError::Stopped.into(), Stopped),
        (GramError::from(ModelError::NoMemory(no_memory())).into(), Memory),
        (GramError::from(DeviceError::NotCompiled { ordinal: 0 }).into(), NoDevice),
        (GramError::from(SpectralError::NoConvergence { n: 3 }).into(), NoResult),
        (GramError::NotOnCpu.into(), Input),
    ]);
}

#[test]
fn errors_of_spectra() {
    let unreadable = |kind| SpectralError::Unreadable { reason: "tile".into(), kind };
    let short = SpectralError::NotConverged {
        wanted: 2,
        got: 1,
        residuals: vec![1.0; 2],
        limit: "number of products",
    };
    let untrusted =
        SpectralError::UntrustedSolution { n: 3, check: "norms", found: 1.0, bound: 0.1 };
    let indefinite = SpectralError::NotPositiveSemidefinite {
        smallest: -1.0,
        largest: 1.0,
        bound: -1e-12,
        negative: 1,
    };
    let singular = SpectralError::Singular { smallest: 0.0, largest: 1.0, floor: 1e-12 };
    check([
        (SpectralError::NoMemory(no_memory()).into(), Memory),
        (SpectralError::OutOfMemory { what: "a basis", bytes: 1 }.into(), Memory),
        (unreadable(io::ErrorKind::NotFound).into(), File),
        (unreadable(io::ErrorKind::UnexpectedEof).into(), Input),
        (SpectralError::NonFiniteImage { row: 0, value: f64::NAN }.into(), Numerical),
        (SpectralError::Overflow { quantity: "trace" }.into(), Numerical),
        (indefinite.into(), Numerical),
        (singular.into(), Numerical),
        (short.into(), NoResult),
        (SpectralError::NoConvergence { n: 3 }.into(), NoResult),
        (untrusted.into(), NoResult),
        (SpectralError::OtherRank { rank: 1 }.into(), NoResult),
        (SpectralError::Stopped { products: 8 }.into(), Stopped),
        (SpectralError::InvalidK { k: 3, available: 2 }.into(), Input),
    ]);
}

#[test]
fn errors_of_predictions_and_trainings() {
    let pivot =
        PredictError::NotPositiveDefinite { n: 2, index: 1, pivot: -1.0, ridge: 0.0, largest: 1.0 };
    let off = PredictError::Residual {
        column: 0,
        reached: 1e-3,
        asked: 1e-10,
        ridge: 0.0,
        smallest_pivot: 1e-14,
        largest_pivot: 1.0,
    };
    let slow = PredictError::NotConverged { iterations: 9, reached: 1.0, asked: 1e-8 };
    let diverged = TrainError::Diverged {
        target: None,
        epoch: 1,
        step: 2,
        steps: 3,
        what: "the loss",
        value: f64::INFINITY,
        learning_rate: 1e3,
    };
    let matrix = || SpectralError::NoConvergence { n: 3 };
    check([
        (PredictError::NoMemory(no_memory()).into(), Memory),
        (PredictError::OutOfMemory { what: "a factor", bytes: 1 }.into(), Memory),
        (pivot.into(), Numerical),
        (off.into(), Numerical),
        (PredictError::Singular { smallest: 0.0, floor: 1e-12, ridge: 0.0 }.into(), Numerical),
        (PredictError::NegativeVariance { index: 0, value: -1.0, bound: 1e-12 }.into(), Numerical),
        (PredictError::Indefinite { iteration: 1, curvature: -1.0, ridge: 0.0 }.into(), Numerical),
        (PredictError::Overflow { quantity: "variance" }.into(), Numerical),
        (slow.into(), NoResult),
        (PredictError::Stopped { iterations: 3, reached: 1.0 }.into(), Stopped),
        (PredictError::from(matrix()).into(), NoResult),
        (PredictError::NonFinite { row: 0, column: 0, value: f64::NAN }.into(), Input),
        (TrainError::NoMemory(no_memory()).into(), Memory),
        (TrainError::OutOfMemory { what: "logits", numbers: 1 }.into(), Memory),
        (TrainError::from(refused()).into(), File),
        (TrainError::NonFiniteLogit { index: 0, value: f64::NAN }.into(), Numerical),
        (diverged.into(), NoResult),
        (TrainError::from(matrix()).into(), NoResult),
        (TrainError::from(ModelError::NoMemory(no_memory())).into(), Memory),
        (TrainError::NotDual { what: "Adam" }.into(), Input),
    ]);
}

#[test]
fn other_errors_have_a_kind_by_their_causes_alone() {
    assert_eq!(ErrorKind::of(&std::fmt::Error), None);
    assert_eq!(ErrorKind::of(&io::Error::from(io::ErrorKind::StorageFull)), Some(File));
    assert_eq!(ErrorKind::of(&io::Error::from(io::ErrorKind::InvalidData)), None);
    assert_eq!(ErrorKind::of(&io::Error::other("x")), Some(File));
}
