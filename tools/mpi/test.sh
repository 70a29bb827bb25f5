#!/usr/bin/env bash
# `entk eigen` under mpirun: 1 to 4 ranks, from a store read and in memory and without a Gram, must write
# the same bytes, and so must `entk stats`; a stopped solve and one whose rank was killed go on with another number of ranks.
#
#   tools/mpi/test.sh [PROGRAM]   # built with the feature `mpi` if not given
#
# Says SKIPPED without mpirun, mpicc or libclang (Debian: openmpi-bin, libopenmpi-dev, libclang-dev).
set -euo pipefail
cd "$(dirname "$0")/../.."

for tool in mpirun mpicc python3; do
  command -v "$tool" >/dev/null || { echo "SKIPPED: no $tool"; exit; }
done
if [ $# -eq 0 ]; then
  compgen -G "/usr/lib*/llvm*/lib/libclang*.so*" >/dev/null || [ -n "${LIBCLANG_PATH:-}" ] ||
    { echo "SKIPPED: no libclang"; exit; }
  cargo build --workspace --locked --features entk-cli/mpi --bin entk --example fig10
fi
entk=$(realpath "${1:-target/debug/entk}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools/random_npy.py "$work/x.npy" 2300 1 8 8
cd "$work"

export RAYON_NUM_THREADS=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
launch=(mpirun --oversubscribe --bind-to none)
ranks() { "${launch[@]}" -n "$@"; }
store=(--gram gram/gram.zarr --k 30 --block 8)
free=(--matrix-free --model mlp --inputs x.npy --k 5 --block 8)

"$entk" gram --store --edge 512 --no-eigen --model mlp --inputs x.npy --out gram 2>gram.log

same() {
  for file in eigvals.npy eigvecs.npy certificate.json; do
    cmp "$1/$file" "$2/$file" || { echo "FAILED: $1 and $2 differ in $file"; exit 1; }
  done
  echo "same bytes: $1, $2"
}

"$entk" eigen "${store[@]}" --out alone 2>/dev/null
for count in 1 2 3 4; do
  ranks "$count" "$entk" eigen "${store[@]}" --out "store-$count" 2>"store-$count.log"
  same alone "store-$count"
  ranks "$count" "$entk" eigen "${store[@]}" --in-memory --out "memory-$count" 2>/dev/null
  same alone "memory-$count"
done
for count in 2 3 4; do
  ranks "$count" "$entk" eigen "${free[@]}" --out "free-$count" 2>/dev/null
done
same free-2 free-3
same free-2 free-4

# Statistics: each rank sums its parts of every pass; the first one writes.
sums=(--model mlp --inputs x.npy --sample 100 --deflation 16 --steps 3 --parts 6)
"$entk" stats "${sums[@]}" --out stats 2>/dev/null
for count in 2 3; do
  ranks "$count" "$entk" stats "${sums[@]}" --out "stats-$count" 2>"stats-$count.log"
  cmp stats/statistics.csv "stats-$count/statistics.csv"
  echo "same bytes: stats, stats-$count"
done

# Ended: by a signal to mpirun, which passes it on (75), and by the death of one rank. Then on with
# another number of ranks.
slow=(--gram gram/gram.zarr --k 900 --block 2 --tolerance 1e-12)
begin=$(date +%s%N)
ranks 3 "$entk" eigen "${slow[@]}" --out whole 2>/dev/null
half=$(awk -v from="$begin" -v to="$(date +%s%N)" 'BEGIN { print (to - from) / 2e9 }')
for signal in USR1 KILL; do
  out=ended-$signal
  # Not by the function, whose process would be the shell's.
  "${launch[@]}" -n 2 "$entk" eigen "${slow[@]}" --out "$out" 2>"$out.log" & mpirun=$!
  if [ $signal = USR1 ]; then
    sleep "$half"
    kill -USR1 $mpirun
  else
    for _ in $(seq 600); do
      compgen -G "$out/*.checkpoint" >/dev/null && break
      sleep 0.1
    done
    rank=$(pgrep -P $mpirun | tail -n 1 || true)
    [ -n "$rank" ] || { echo "FAILED: no rank to kill"; cat "$out.log"; exit 1; }
    kill -KILL "$rank"
  fi
  code=0
  wait $mpirun || code=$?
  echo "$signal: mpirun ended with $code"
  if [ "$code" -eq 0 ] || [ -e "$out/record.json" ]; then
    echo "FAILED: the solve was over before it could be ended"; exit 1
  fi
  grep -q . "$out.log" || { echo "FAILED: no message"; exit 1; }
  ranks 3 "$entk" eigen "${slow[@]}" --out "$out" 2>>"$out.log"
  grep -q "going on from" "$out.log" || { echo "FAILED: it began anew"; exit 1; }
  same whole "$out"
done
echo done
