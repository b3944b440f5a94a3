#!/usr/bin/env bash
# Explores how the threads of the live core (the writer's queue, the cache's slots) can interleave, with a
# model checker's locks in place of the standard library's: scripts/explore.sh [SCHEDULES of each model]
#
# A failure prints the schedule that led to it; shuttle::replay repeats that one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

EXPLORE_SCHEDULES=${1:-2000} exec cargo test --package streamhub-engine --features explore --lib explore
