#!/usr/bin/env bash
# Lints all that the feature `cuda` adds, without CUDA and without a GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tools/cuda/variables.sh
export NVCC=$PWD/tools/cuda/nvcc_stub.sh
cargo clippy --workspace --all-targets --features cuda --locked -- -D warnings
