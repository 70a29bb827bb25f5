#!/usr/bin/env bash
# Long runs of the fuzzers, one target after the other, on one core at low priority.
#   fuzz/run.sh [RUNS [TARGET ...]]     RUNS of each target [default: 1000000, all targets]
# Needs a nightly toolchain and `cargo install cargo-fuzz`. Finds go to fuzz/artifacts/TARGET, new
# inputs to fuzz/corpus/TARGET; `cargo +nightly fuzz cmin TARGET` makes a corpus small again.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-1000000}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls fuzz/fuzz_targets | sed 's/\.rs$//')

# Every dependency is instrumented; overflow and debug assertions are on. The libraries forbid
# unsafe code, so that the address sanitizer, which halves the speed, is left out.
build=(cargo +nightly fuzz)
options=(--sanitizer none --debug-assertions --target-dir "${CARGO_TARGET_DIR:-target/fuzz}")
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target"
  printf '== %s\n' "$target"
  nice -n 15 "${build[@]}" run "${options[@]}" "$target" -- -runs="$runs" -timeout=10 \
    -rss_limit_mb=2048 -malloc_limit_mb=0 -max_len=65536 -print_final_stats=1
done
rm -rf /dev/shm/entk-fuzz-*
