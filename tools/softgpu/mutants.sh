#!/usr/bin/env bash
# Puts faults into the device code, one at a time, and says which check finds each:
#
#   tools/softgpu/mutants.sh [NAME..]       # by default all of mutants.py
#
# A copy of the project has all of them behind a variable, so that it is built once. Fails where a
# fault survives, and where the checks fail without one.
set -euo pipefail
cd "$(dirname "$0")/../.."

variables=$(tools/softgpu/build.sh)
eval "$variables"
list=$PWD/tools/softgpu/mutants.py
copy=$PWD/target/softgpu/mutants
# A build folder of its own: cargo tells packages by their path within the workspace, and would take
# the programs with faults for the others.
export CARGO_TARGET_DIR=$copy/target SOFTGPU_DEVICES=2

mkdir -p "$copy"
find "$copy" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
git ls-files -z | xargs -0 cp --parents -t "$copy"
python3 "$list" "$copy"
cd "$copy"
# An example beside it: without one, dependencies would have other features than in tests.
cargo build --workspace --features cuda --bin entk --example fig10
cargo test --workspace --features cuda --no-run --lib --test it --test device_memory \
  --message-format json >tests.json

# The test program of entk-gram whose source ends so.
program() {
  python3 -c '
import json, sys
for line in open("tests.json"):
    message = json.loads(line)
    if message.get("executable") and message["target"]["src_path"].endswith(sys.argv[1]):
        print(message["executable"])' "crates/entk-gram/$1"
}
units=$(program src/lib.rs) engine=$(program tests/it/main.rs) memory=$(program tests/device_memory.rs)

# ended MUTANT PROGRAM ARGUMENTS: the exit code of a check; 97 is a complaint of the software GPU.
ended() {
  local status=0 name=$1
  shift
  (cd crates/entk-gram && ENTK_MUTANT=$name timeout 600 "$@") >out.log 2>&1 || status=$?
  echo "$status"
}

# The first check that fails, with its exit code.
found_by() {
  local check=$PWD/target/out status
  status=$(ended "$1" "$CARGO_TARGET_DIR/debug/entk" verify --quick --only verify --out "$check")
  ((status)) && echo "verify ($status)" && return
  status=$(ended "$1" "$engine" device:: device_operators:: go_to_another_device --test-threads 1)
  ((status)) && echo "tests of the engine ($status)" && return
  status=$(ended "$1" "$units" multi_device:: --test-threads 1)
  ((status)) && echo "unit tests ($status)" && return
  status=$(SOFTGPU_ORDER=eager SOFTGPU_DEVICES=1 ended "$1" "$memory" --test-threads 1)
  ((status)) && echo "memory of plans ($status)" && return
  echo none
}

if (($#)); then names=("$@"); else mapfile -t names < <(python3 "$list" --names); fi
test "$(found_by '')" = none
survived=0
for name in "${names[@]}"; do
  found=$(found_by "$name")
  printf '%-44s %-28s %s\n' "$name" "$found" "$(grep -m1 -oE 'softgpu: .*' out.log || true)"
  [[ $found != none ]] || survived=1
done
exit "$survived"
