#!/usr/bin/env bash
# Builds the Python wheel, installs it in an empty environment and runs its tests.
#
#   tools/python/test.sh [--lint]    # clippy, too
#
# Says SKIPPED where Python, its venv or its packages cannot be had. torch is never downloaded: tests
# with it run where python3 has it, or with ENTK_TORCH_SITE, the folder of packages that it lies in.
# The build is in the folder of the workspace, with which it shares most crates; CARGO_TARGET_DIR says
# another one.
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v python3 >/dev/null || { echo "SKIPPED: no python3"; exit; }
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  { echo "SKIPPED: $(python3 --version), 3.10 or later is needed"; exit; }

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
work=$CARGO_TARGET_DIR/python
rm -rf "$work"
mkdir -p "$work"
python3 -m venv "$work/build" 2>"$work/log" && python3 -m venv "$work/empty" 2>>"$work/log" ||
  { echo "SKIPPED: no venv: $(tail -1 "$work/log")"; exit; }
"$work/build/bin/pip" install -q 'maturin>=1.9,<2' 2>"$work/log" &&
  "$work/empty/bin/pip" install -q numpy pytest 2>>"$work/log" ||
  { echo "SKIPPED: no packages: $(tail -1 "$work/log")"; exit; }

# Not --locked: the crates may have other dependencies than when python/Cargo.lock was written, which
# keeps the versions of all others.
if [[ ${1:-} == --lint ]]; then
  cargo clippy --manifest-path python/Cargo.toml -- -D warnings
fi
"$work/build/bin/maturin" build -q -m python/Cargo.toml --out "$work/wheels"
"$work/empty/bin/pip" install -q --no-index --no-deps "$work"/wheels/entk-*.whl

site=${ENTK_TORCH_SITE:-$(python3 -c \
  'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])' 2>/dev/null || true)}
if [[ -n $site ]]; then
  # Behind the packages of the environment itself.
  packages=$("$work/empty/bin/python" -c 'import site; print(site.getsitepackages()[0])')
  echo "$site" >"$packages/torch.pth"
fi
"$work/empty/bin/python" -m pytest -q -rs -p no:cacheprovider python/tests
