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
cargo build --workspace --features cuda --example cuda_check
cargo test --workspace --features cuda --no-run --test it --message-format json >tests.json
engine=$(python3 -c '
import json, sys
for line in open("tests.json"):
    message = json.loads(line)
    if message.get("executable") and "/entk-gram/tests/it/" in message["target"]["src_path"]:
        print(message["executable"])')

# The first check that fails, with its exit code; 97 is a complaint of the software GPU.
found_by() {
  local status=0
  ENTK_MUTANT=$1 timeout 600 "$CARGO_TARGET_DIR/debug/examples/cuda_check" --quick --only verify \
    --out out >out.log 2>&1 || status=$?
  ((status)) && echo "cuda_check ($status)" && return
  (cd crates/entk-gram && ENTK_MUTANT=$1 timeout 600 "$engine" device:: >../../out.log 2>&1) || status=$?
  ((status)) && echo "tests of the engine ($status)" && return
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
