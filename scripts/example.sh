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

target=${CARGO_TARGET_DIR:-target}
echo "building streamhub (a few minutes the first time)" >&2
cargo build --package streamhub-cli --bin streamhub
copy=$target/example
if [[ -e $copy/streamhub.lock ]] && command -v flock >/dev/null 2>&1 && ! flock --nonblock "$copy/streamhub.lock" true; then
    echo "an example server is running already (pid $(cat "$copy/streamhub.lock")); stop it first" >&2
    exit 75
fi
rm -rf "$copy"
cp -R data-example "$copy"
echo "the data is in $(cd "$copy" && pwd)" >&2
exec "$target/debug/streamhub" serve --data-dir "$copy" "$@"
