#!/usr/bin/env bash
# Lints all that the feature `cuda` adds, without CUDA and without a GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."

export NVCC=$PWD/tools/cuda/nvcc_stub.sh CUDA_COMPUTE_CAP=80 CUDARC_CUDA_VERSION=13000
cargo clippy --workspace --all-targets --features cuda --locked -- -D warnings
