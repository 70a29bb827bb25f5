#!/usr/bin/env bash
# Lints and documents everything, with what the feature `cuda` adds, without CUDA and without a GPU.
# Called by .ci/run; at a desk `cargo clippy --workspace --all-targets` says nearly all of it.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tools/cuda/variables.sh
export NVCC=$PWD/tools/cuda/nvcc_stub.sh
cargo clippy --workspace --all-targets --features cuda,entk-cli/images,entk-cli/parquet --locked -- -D warnings
# What is there without the feature alone.
if grep -rlE 'not\(feature = "cuda"\)' crates examples benches --include '*.rs' |
  grep -v '^crates/entk-device/'; then
  echo "FAILED: code without the feature cuda is linted in entk-device alone"
  exit 1
fi
cargo clippy -p entk-device --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --features cuda --locked
