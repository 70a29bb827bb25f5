#!/usr/bin/env bash
# Formats all code: rustfmt.toml, and one style of imports and one width of comments, which the
# stable rustfmt has but does not offer. `tools/fmt.sh --check` changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

style=unstable_features=true,imports_granularity=Crate,group_imports=StdExternalCrate
style+=,wrap_comments=true,comment_width=100
RUSTC_BOOTSTRAP=1 cargo fmt --all -- --config "$style" "$@"
RUSTC_BOOTSTRAP=1 cargo fmt --manifest-path python/Cargo.toml -- --config "$style" "$@"
