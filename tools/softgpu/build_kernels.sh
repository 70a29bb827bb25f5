#!/usr/bin/env bash
# A file of kernels as a shared object: build_kernels.sh SOURCE OBJECT. Called by build.sh for
# candle's files and by the software GPU's NVRTC for ours.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
source=$(readlink -f "$1") object=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Products and sums are rounded apart, so that results do not depend on the compiler's mood.
# Vector loads reinterpret memory, which nvcc allows.
flags=(-x c++ -std=c++17 -O3 -march=native -fPIC -shared -w -fvisibility=hidden -ffp-contract=off -fno-strict-aliasing
  -I"$here/include" -include "$here/include/device.h")
grep -q '__syncthreads\|__shfl' "$source" && flags+=(-DSOFTGPU_FIBERS)
# Kernels are the functions of C linkage that are left when macros are gone.
g++ "${flags[@]}" -E "$source" -o "$work/all.ii"
{
  echo "#include \"$source\""
  grep -oP 'extern "C"\s+(static\s+)?void\s+\K\w+(?=\s*\()' "$work/all.ii" | grep -v softgpu_ |
    sort -u | sed 's/.*/SOFTGPU_KERNEL(&)/'
} >"$work/unit.cu"
g++ "${flags[@]}" -I"$(dirname "$source")" "$work/unit.cu" -o "$object"
