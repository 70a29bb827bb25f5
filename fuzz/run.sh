#!/usr/bin/env bash
# Long runs of the fuzzers, one target after the other, on one core at low priority.
#   fuzz/run.sh [RUNS [TARGET ...]]     RUNS of each target [default: 1000000, all targets]
# Needs the stable toolchain and a C++ compiler, with which libFuzzer is built. Finds go to
# fuzz/artifacts/TARGET, new inputs to fuzz/corpus/TARGET; `BINARY -merge=1 SMALL LARGE` copies those
# of a corpus that add coverage.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-1000000}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls fuzz/fuzz_targets | sed 's/\.rs$//')

# Counters of edges and traces of comparisons, as libFuzzer reads them, in every dependency; overflow
# and debug assertions are on. The libraries forbid unsafe code, so that the address sanitizer,
# which needs a nightly toolchain and halves the speed, is left out.
flags=(--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done
flags+=(-Cllvm-args=-simplifycfg-branch-fold-threshold=0)
# With a target given, build scripts and macros are not instrumented.
host=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-target/fuzz}
RUSTFLAGS="${flags[*]}" cargo build --release --manifest-path fuzz/Cargo.toml --target "$host" \
  --target-dir "$folder" "${targets[@]/#/--bin=}"

for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
  printf '== %s\n' "$target"
  nice -n 15 "$folder/$host/release/$target" -runs="$runs" -timeout=10 -rss_limit_mb=2048 \
    -malloc_limit_mb=0 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="fuzz/artifacts/$target/" "fuzz/corpus/$target"
done
rm -rf /dev/shm/entk-fuzz-*
