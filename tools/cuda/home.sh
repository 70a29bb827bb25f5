#!/usr/bin/env bash
# A CUDA 13.0 compiler and headers from the Python package index, for a machine without CUDA:
#
#   eval "$(tools/cuda/home.sh [FOLDER])"     # by default target/cuda/home; 105 MB, once
#
# prints the variables that a build with the feature `cuda` reads. The libraries that a GPU needs
# are not in it: programs open them when they run (lazy_libraries.py). 13.0 and no newer, because a
# driver of the 580 series refuses what newer compilers write.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
source "$tools/variables.sh"
folder=${1:-$tools/../../target/cuda/home}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
home=$folder/nvidia/cu13

if [[ ! -e $home/.complete ]]; then
  {
    python3 -m pip install --quiet --no-deps --only-binary=:all: --upgrade --target "$folder" \
      nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
      nvidia-cuda-cccl==13.0.85 nvidia-cuda-runtime==13.0.96
    cargo fetch --locked
    cudarc=$(cargo metadata --locked --format-version 1 --features cuda |
      python3 -c 'import json, sys, pathlib
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "cudarc":
        print(pathlib.Path(package["manifest_path"]).parent)')
    rm -f "$home"/lib/lib*.so
    ln -sfn lib "$home/lib64"
    ln -sf libcudart_static.a "$home/lib/libcudart.a"
    python3 "$tools/lazy_libraries.py" "$cudarc" "$home/lib"
    touch "$home/.complete"
  } >&2
fi

cat <<EOF
export CUDA_HOME=$home CUDA_PATH=$home NVCC=$tools/nvcc_lean.sh
export CUDA_COMPUTE_CAP=$CUDA_COMPUTE_CAP CUDARC_CUDA_VERSION=$CUDARC_CUDA_VERSION CUDAFORGE_THREADS=$(nproc)
EOF
