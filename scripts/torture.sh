#!/usr/bin/env bash
# Takes data-example over with a fault at every file operation, in every mode, and with 2,000 kills at
# random moments; does the same to the writer's transactions; explores the live core's threads. Prints the
# totals: scripts/torture.sh [KILLS]. Takes some twenty minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --quiet --release -p streamhub-tests --bins
cargo run --quiet --release -p streamhub-tests --bin torture -- "$@"
cargo run --quiet --release -p streamhub-tests --bin torture -- live
scripts/explore.sh 200000
