#!/usr/bin/env bash
# Takes data-example over with a fault at every file operation, in every mode, and with 2,000 kills at
# random moments, and prints the totals: scripts/torture.sh [KILLS]. Takes some ten minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec cargo run --quiet --release -p streamhub-tests --bin torture -- "$@"
