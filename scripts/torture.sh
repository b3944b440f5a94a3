#!/usr/bin/env bash
# Takes data-example over with a fault at every file operation, in every mode, and with 2,000 kills at
# random moments; does the same to the writer's transactions and to each step in an app's life; explores the live core's threads; asks
# a server 20,000 made-up requests, races for its last places, and kills it. Prints the totals: scripts/torture.sh [KILLS]. Takes some
# forty minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --quiet --release -p streamhub-tests --bins
cargo run --quiet --release -p streamhub-tests --bin torture -- "$@"
cargo run --quiet --release -p streamhub-tests --bin torture -- live
cargo run --quiet --release -p streamhub-tests --bin torture -- life

# Copies of apps, and ten minutes of very many apps in a process that may open few files.
scratch=$(mktemp -d -p "${CARGO_TARGET_DIR:-target}")
trap 'rm -rf "$scratch"' EXIT
probe() { cargo run --quiet --release -p streamhub-tests --bin "$1" -- "${@:2}"; }
probe copy-probe live "$scratch/live" 200
probe copy-probe sealing "$scratch/sealing" 200
probe copy-probe sealed "$scratch/sealed" 200
probe copy-probe move "$scratch/move"
probe crowd-probe make "$scratch/crowd" 3000
probe crowd-probe open "$scratch/crowd" 3000
probe crowd-probe storm "$scratch/crowd" 3000 600 "$RANDOM"
scripts/explore.sh 200000
asked() { scripts/test.sh --release -p streamhub-tests --test it -- "$@" --nocapture; }
STREAMHUB_TEST_CASES=20000 asked http::schemathesis
STREAMHUB_TEST_ROUNDS=1000 asked http::quotas
STREAMHUB_TEST_ROUNDS=500 asked http::kill
