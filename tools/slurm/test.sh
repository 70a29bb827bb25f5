#!/usr/bin/env bash
# Runs every script of docs/slurm on a Slurm of one machine: tasks that are killed, requeued, stopped
# before the time limit, preempted, submitted twice and again alone; then compares the results with
# those of one process. As root:
#
#   tools/slurm/test.sh [PROGRAM]     # by default target/debug/entk
#
# Says SKIPPED where Slurm is not installed (Debian: slurm-wlm, munge).
set -euo pipefail
cd "$(dirname "$0")/../.."

for tool in slurmctld slurmd munged sbatch python3; do
  command -v "$tool" >/dev/null || { echo "SKIPPED: no $tool"; exit; }
done
[[ $(id -u) == 0 ]] || { echo "SKIPPED: Slurm's daemons need root"; exit; }

ENTK=$(realpath "${1:-target/debug/entk}")
export ENTK
work=$(mktemp -d)
trap 'tools/slurm/cluster.sh stop "$work/slurm" 2>/dev/null; rm -rf "$work"' EXIT
eval "$(tools/slurm/cluster.sh start "$work/slurm")"

tools/random_npy.py "$work/x.npy" 1200 1 8 8
tools/random_npy.py "$work/y.npy" 1200 --classes 10

export INPUTS=$work/x.npy PARTS=4 RAYON_NUM_THREADS=1
small=(--cpus-per-task=1 --output "$work/job-%j.log")
model=(--model lenet5)
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# hurry JOB: its requeued tasks begin once their credentials have expired, not after two minutes.
hurry() {
  local task start
  while read -r task start; do
    if (($(date -d "$start" +%s 2>/dev/null || echo 0) > $(date +%s) + 8)); then
      scontrol update JobId="$task" StartTime=now+6 2>/dev/null || true
    fi
  done < <(squeue -h -r -j "$1" -t PD -o '%A %r %S' 2>/dev/null | awk '/BeginTime/ { print $1, $3 }')
}

# wait_for JOB..: until none of them is known to wait or run.
wait_for() {
  local job
  for job; do
    for _ in $(seq 600); do
      [[ -n $(squeue -h -j "$job" 2>/dev/null) ]] || continue 2
      hurry "$job"
      sleep 1
    done
    echo "FAILED: job $job did not end"
    squeue
    exit 1
  done
}

# submit SCRIPT FLAGS OF SBATCH -- FLAGS OF THE PROGRAM: the number of the job.
submit() {
  local script=$1 flags=()
  shift
  while [[ $1 != -- ]]; do flags+=("$1") && shift; done
  shift
  sbatch --parsable "${small[@]}" "${flags[@]}" "docs/slurm/$script" "$@"
}

# running JOB: until one of its tasks has computed something.
running() {
  for _ in $(seq 120); do
    [[ $(find "$OUT" -path '*/c/*' -type f 2>/dev/null | head -5 | wc -l) -ge 5 ]] && return
    sleep 0.2
  done
  echo "FAILED: $1 computes nothing"
  exit 1
}

# committed NAME: the store has the bits of one process's.
committed() {
  cmp <(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["root"])' "$OUT/gram.zarr/commit.json") \
    <(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["root"])' "$work/one/gram.zarr/commit.json")
  say "$1: the bits of one process"
}

finish() {
  local job
  job=$(submit gram-finish.sbatch --)
  wait_for "$job"
  [[ -e $OUT/gram.zarr/commit.json ]] || { cat "$work/job-$job.log" && exit 1; }
}

tiles=(--edge 16)
"$ENTK" gram "${model[@]}" --inputs "$INPUTS" --store "${tiles[@]}" --no-eigen --out "$work/one" 2>/dev/null
say "one process"

export OUT=$work/killed
job=$(submit gram-array.sbatch --array=1-4 -- "${model[@]}" "${tiles[@]}")
running "$job"
scontrol requeue "${job}_2"
scancel "${job}_3"
wait_for "$job"
missing=$("$ENTK" gram missing --parts $PARTS --out "$OUT")
say "a task requeued and one cancelled; missing: ${missing:-none}"
if [[ -n $missing ]]; then
  job=$(submit gram-array.sbatch --array="$missing" -- "${model[@]}" "${tiles[@]}")
  wait_for "$job"
fi
finish
committed "submitted again alone"

export OUT=$work/twice
first=$(submit gram-array.sbatch --array=1-4 -- "${model[@]}" "${tiles[@]}")
second=$(submit gram-array.sbatch --array=1,2 -- "${model[@]}" "${tiles[@]}")
wait_for "$first" "$second"
finish
committed "two tasks of one part"

export OUT=$work/preempted
job=$(submit gram-array.sbatch --array=1-4 --cpus-per-task=2 -- "${model[@]}" "${tiles[@]}")
running "$job"
urgent=$(sbatch --parsable --partition urgent --cpus-per-task=8 --output /dev/null --wrap 'sleep 3')
wait_for "$urgent" "$job"
grep -q 'PREEMPTION' "$work"/job-*.log && say "tasks were preempted"
finish
committed "preempted"

# The signal comes up to a minute early; the part computes for longer than that.
export OUT=$work/limited PARTS=1
job=$(submit gram-array.sbatch --array=1 --time=2 --signal=USR1@110 -- "${model[@]}" --edge 6)
wait_for "$job"
finish
PARTS=1 "$ENTK" gram "${model[@]}" --inputs "$INPUTS" --store --edge 6 --no-eigen --out "$work/whole" 2>/dev/null
cmp <(grep -o '"root": *"[^"]*"' "$OUT/gram.zarr/commit.json") \
  <(grep -o '"root": *"[^"]*"' "$work/whole/gram.zarr/commit.json")
stopped=$(cat "$work"/job-*.log | grep -c 'because: stopped' || true)
((stopped > 0))
say "time limit: the bits of one process, stopped $stopped times"

# eigen: killed and requeued, with the bytes of one process.
solve=("${model[@]}" --inputs "$INPUTS" --matrix-free --dtype f64 --k 40)
"$ENTK" eigen "${solve[@]}" --out "$work/eigen-one" 2>/dev/null
job=$(submit eigen.sbatch -- "${solve[@]}" --out "$work/eigen")
for _ in $(seq 300); do
  [[ -z $(squeue -h -j "$job") || -n $(find "$work/eigen" -name '*.checkpoint' 2>/dev/null) ]] && break
  sleep 0.2
done
scontrol requeue "$job" 2>/dev/null || true
wait_for "$job"
cmp "$work/eigen/eigvecs.npy" "$work/eigen-one/eigvecs.npy"
say "eigen: the bytes of one process"

# stats: two parts, one of them requeued.
export PARTS=2 OUT=$work/stats
sums=("${model[@]}" --labels "$work/y.npy" --sample 100 --deflation 16 --steps 4)
job=$(submit stats-array.sbatch --array=1-2 -- "${sums[@]}")
sleep 3
scontrol requeue "${job}_1" 2>/dev/null || true
wait_for "$job"
ranks=$(sbatch --parsable --ntasks=2 "${small[@]}" \
  --wrap "srun --kill-on-bad-exit=1 $ENTK stats --inputs $INPUTS --out $work/stats-ranks ${sums[*]}")
wait_for "$ranks"
for folder in "$OUT" "$work/stats-one"; do
  "$ENTK" stats --parts 2 --inputs "$INPUTS" --out "$folder" "${sums[@]}" 2>/dev/null
done
for folder in "$OUT" "$work/stats-ranks"; do
  cmp "$folder/statistics.csv" "$work/stats-one/statistics.csv"
done
say "stats of an array and of ranks: the bytes of one process"
