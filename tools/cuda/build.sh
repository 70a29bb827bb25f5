#!/usr/bin/env bash
# Builds programs for GPUs on a machine without CUDA, in a target folder of their own:
#
#   tools/cuda/build.sh [CARGO ARGUMENTS]     # by default the command entk
#
# The programs also run where there is no GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=$(tools/cuda/home.sh)
eval "$environment"
(($#)) || set -- -p entk-cli
cargo build --release --locked --features cuda --target-dir target/cuda/build "$@"
