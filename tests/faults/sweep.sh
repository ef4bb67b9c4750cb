#!/usr/bin/env bash
# Runs the sweep of faults on a control plane of its own, and stops it however it ends. A sample; FAULTS=full: all of it.
# RESUME=1: what is left of a full sweep that was interrupted. ONLY='one replica|quota': the scenarios so called.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
export CLUSTER_ID=${FAULTS_CLUSTER_ID:-15}
profile=${FAULTS_PROFILE:-dev}

make cluster-programs
cargo test --locked --quiet --profile "$profile" --test faults --no-run
CONTROL_PLANE_ONLY=1 tests/cluster/up.sh
trap 'tests/cluster/down.sh' EXIT
cargo test --locked --quiet --profile "$profile" --test faults "$@" -- --nocapture --test-threads=1
