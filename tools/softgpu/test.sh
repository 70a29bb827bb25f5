#!/usr/bin/env bash
# What a GPU runs, on the software GPU: golden files, the Gram engine, stores, faults, operations,
# training and `entk verify`; one and two devices, streams late and at once. Files of the features
# `images` and `parquet` too, since everything is built here with features.
#
#   tools/softgpu/test.sh            # needs g++ and Python; no CUDA, no GPU
#
# A process that the software GPU has complained about ends with 97, and so fails.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v g++ >/dev/null || ! command -v python3 >/dev/null; then
  echo "SKIPPED: no g++ or no python3"
  exit
fi
variables=$(tools/softgpu/build.sh)
eval "$variables"
export RUST_BACKTRACE=0

# All features, so that one build is enough for what needs any of them.
cargo=(--features cuda,entk-cli/images,entk-cli/parquet --locked)

# The path of a test program, or of the command.
built() {
  python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    found = message.get("reason") == "compiler-artifact" and message.get("executable")
    if found:
        name, source = message["target"]["name"], message["target"]["src_path"]
        print(name if name != "it" else source.split("/")[-4], found)'
}
cargo test --workspace "${cargo[@]}" --no-run --message-format json \
  --test golden --test archives --test it --test device --test device_memory \
  --test heavy_formats --test own_data >target/softgpu/tests.json
# An example beside it: without one, dependencies would have other features than in tests.
cargo build --workspace "${cargo[@]}" --message-format json --bin entk --example fig10 \
  >target/softgpu/command.json
declare -A program
while read -r name path; do program[$name]=$path; done < <(
  cat target/softgpu/tests.json target/softgpu/command.json | built)

out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$out"' EXIT

# run ORDER DEVICES PROGRAM ARGUMENTS: in the folder of the program's package, as cargo does.
run() {
  local order=$1 devices=$2 name=$3 folder=. start=$SECONDS log=$out/log.$BASHPID
  shift 3
  case $name in
    golden | archives | device) folder=crates/entk ;;
    device_memory) folder=crates/entk-gram ;;
    heavy_formats) folder=crates/entk-data ;;
    own_data) folder=crates/entk-cli ;;
    entk-*) folder=crates/$name ;;
  esac
  # One test at a time: plans measure what a sweep takes of the device.
  [[ $name == entk ]] || set -- "$@" --test-threads 1
  if ! (cd "$folder" && SOFTGPU_ORDER=$order SOFTGPU_DEVICES=$devices "${program[$name]}" "$@") \
    >"$log" 2>&1; then
    tail -60 "$log"
    echo "FAILED: $name $*, order $order, $devices devices"
    exit 1
  fi
  printf '%4d s  %-14s %-6s %s device(s)  %s\n' $((SECONDS - start)) "$name" "$order" "$devices" "$*"
}

verify() { run "$1" "$2" entk verify --quick --only verify --out "$out/verify.$BASHPID"; }
# Its floors are products of random numbers, since those of constant ones run faster, and copies by
# way of page-locked memory, as tiles go.
times() {
  SOFTGPU_STATS=$out/counts run lazy 1 entk verify --quick --only time --out "$out/times"
  if ! grep -q curandGenerate "$out/counts"; then
    echo "FAILED: entk verify draws no random operands"
    exit 1
  fi
  if ! grep -q "long copies into page-locked memory" "$out/counts"; then
    echo "FAILED: entk verify times copies into pageable memory"
    exit 1
  fi
}

# A GPU in software is one thread: two programs at a time.
started=()
beside() {
  if (($(jobs -rp | wc -l) >= 2)); then wait -n; fi
  "$@" &
  started+=($!)
}
# The longest first, so that both end at the same time.
beside run lazy 2 entk-gram device:: device_operators:: store:: strategies:: micro_batches:: operator::
beside run eager 2 entk-gram device::
beside run lazy 1 entk-models every_operation
beside run lazy 1 golden
# In f64: in f32 sums are as good as their order, which is the hardware's.
beside run lazy 1 archives outputs_jvp kernels_are_those
beside verify lazy 1
beside verify eager 1
beside verify lazy 2
beside verify 1 2
beside times
beside run eager 1 device_memory
beside run lazy 1 device
beside run lazy 1 entk-train
beside run lazy 1 entk-linearize
# Folders of images and Parquet, which nothing else is built with.
beside run lazy 1 heavy_formats
beside run lazy 1 own_data
for job in "${started[@]}"; do wait "$job"; done
