#!/usr/bin/env bash
# Measures every goal of speed and writes docs/BENCHMARKS.md: scripts/bench.sh [BENCH...]
#
# Each goal is compared with a baseline of the same run, so that figures of different machines can be compared. It
# takes about ten minutes and should have the machine to itself. With names of benches only those are run, and the
# report stays as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

benches=(lease reads open writes create idle split many http)
docs=docs
if (($#)); then
    benches=("$@")
    docs=$(mktemp -d)
    trap 'rm -rf "$docs"' EXIT
fi

cargo build --quiet --release --package streamhub-tests --bin bench-report
cargo bench --quiet --package streamhub-tests --no-run "${benches[@]/#/--bench=}"
for bench in "${benches[@]}"; do
    echo "== $bench"
    cargo bench --quiet --package streamhub-tests --bench "$bench"
done | "${CARGO_TARGET_DIR:-target}/release/bench-report" "$docs"
