#!/usr/bin/env bash
# Takes a copy of data-example over and serves it: scripts/example.sh [arguments of `streamhub serve`]
#
# The copy lies below target/ and is made afresh each time; no tracked file changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for need in cargo cc; do
    command -v "$need" >/dev/null 2>&1 || {
        echo "$need is missing: install Rust (https://rustup.rs) and a C compiler, then try again." >&2
        exit 1
    }
done

cargo build --quiet --package streamhub-cli --bin streamhub
copy=${CARGO_TARGET_DIR:-target}/example
rm -rf "$copy"
cp -R data-example "$copy"
exec "${CARGO_TARGET_DIR:-target}/debug/streamhub" serve --data-dir "$copy" "$@"
