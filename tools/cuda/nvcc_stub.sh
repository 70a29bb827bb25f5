#!/usr/bin/env bash
# Answers candle's build script in place of nvcc where Rust is type-checked and nothing runs on a
# GPU: every PTX file and object comes out empty. Refuses an architecture whose PTX runs on one
# generation of GPUs only, which such a build would not notice.
set -euo pipefail

kind=ptx output= folder=. source=
while (($#)); do
  case $1 in
    --version) echo "Cuda compilation tools, release 13.0, V13.0.88"; exit ;;
    -o) output=$2; shift ;;
    --output-directory) folder=$2; shift ;;
    -c) kind=object ;;
    --lib | -lib) kind=archive ;;
    *sm_*[af])
      echo "$1: no other generation of GPUs runs this; set CUDA_COMPUTE_CAP=80" >&2
      exit 1
      ;;
    *.cu) source=$(basename "$1" .cu) ;;
  esac
  shift
done

case $kind in
  ptx) echo "// empty" >"${output:-$folder/$source.ptx}" ;;
  object) : >"$output" ;;
  archive) rm -f "$output" && ar crs "$output" ;;
esac
