#!/usr/bin/env bash
# Runs the load test on a control plane of its own, inside its network namespace, and stops it however it ends. A sample;
# SCALE=full: all of it. The operator is .cluster/bin/rso, as `make binaries` built it.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
export CLUSTER_ID=${SCALE_CLUSTER_ID:-14}
profile=${SCALE_PROFILE:-dev}

make cluster-programs
cargo test --locked --quiet --profile "$profile" --test scale --no-run
trap 'tests/cluster/down.sh' EXIT
CONTROL_PLANE_ONLY=1 tests/cluster/up.sh
nsenter --net="/run/netns/rso$CLUSTER_ID" cargo test --locked --offline --quiet --profile "$profile" --test scale
