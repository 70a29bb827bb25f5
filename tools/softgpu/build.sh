#!/usr/bin/env bash
# Builds the software GPU and candle's kernels for it, and the archives that a program is linked with:
#
#   eval "$(tools/softgpu/build.sh)"      # into target/softgpu; needs g++ and Python, no CUDA
#
# prints the variables with which a build with the feature `cuda` gives programs that run on it:
#
#   cargo test --workspace --features cuda
#
# SOFTGPU_ORDER     lazy (the default): streams run as late as the program's waits allow; eager: at
#                   once; a number: at random among what events allow, by this seed
# SOFTGPU_DEVICES   number of devices, 1
# SOFTGPU_MEMORY    bytes of each, 8 GiB
# SOFTGPU_STATS     file to which counts of all calls and kernels, and the highest bytes in use, are
#                   added when a process ends
# SOFTGPU_FAULT     KIND:N, the N-th call of its kind fails: memory, an allocation; launch, after which
#                   the device is of no use; lost, a wait of the host, likewise; flip, a product with
#                   one bit of one entry wrong
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$tools/../.." && pwd)
source "$root/tools/cuda/variables.sh"
folder=$root/target/softgpu
mkdir -p "$folder/lib" "$folder/toolkit/lib64"

package() { # where Cargo keeps the source of a package
  cargo metadata --locked --format-version 1 --features cuda --manifest-path "$root/Cargo.toml" |
    python3 -c 'import json, pathlib, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == sys.argv[1]:
        print(pathlib.Path(package["manifest_path"]).parent)' "$1"
}

# Programs open the CUDA libraries when they run; here all of them are one file.
toolkit() {
  [[ -e $folder/toolkit/lib64/libcuda.a ]] && return
  python3 "$root/tools/cuda/lazy_libraries.py" "$(package cudarc)" "$folder/toolkit/lib64"
  ar crs "$folder/toolkit/lib64/libcudart.a"
}

library() {
  cp "$tools/build_kernels.sh" "$folder/lib/"
  cp -r "$tools/include" "$folder/lib/"
  g++ -std=c++17 -O3 -march=native -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror \
    "$tools"/*.cpp -o "$folder/lib/libsoftgpu.so" -ldl
  local name
  for name in libcuda.so.1 libcublas.so.13 libcurand.so.10 libnvrtc.so.13; do
    ln -sf libsoftgpu.so "$folder/lib/$name"
  done
}

candle() {
  local source name
  source=$(package candle-kernels)/src
  for name in affine binary cast conv fill indexing reduce ternary unary; do
    echo "$name"
  done | xargs -P "$(nproc)" -I{} "$folder/lib/build_kernels.sh" "$source/{}.cu" "$folder/lib/candle_{}.so"
}

# Anew where a source is newer than what was built last.
if [[ -z $(find "$folder/lib/.complete" 2>/dev/null) ||
  -n $(find "$tools"/*.cpp "$tools"/*.h "$tools"/include "$tools"/build*.sh "$root/Cargo.lock" -newer "$folder/lib/.complete") ]]; then
  {
    rm -rf "$folder/lib" && mkdir -p "$folder/lib"
    toolkit
    library
    candle
    touch "$folder/lib/.complete"
  } >&2
fi

cat <<VARIABLES
export CUDA_HOME=$folder/toolkit CUDA_PATH=$folder/toolkit NVCC=$root/tools/cuda/nvcc_stub.sh
export CUDA_COMPUTE_CAP=$CUDA_COMPUTE_CAP CUDARC_CUDA_VERSION=$CUDARC_CUDA_VERSION CUDAFORGE_THREADS=$(nproc)
export LD_LIBRARY_PATH=$folder/lib ENTK_TEST_DEVICE=cuda
VARIABLES
