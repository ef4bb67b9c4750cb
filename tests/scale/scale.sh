#!/usr/bin/env bash
# Runs the load test on control planes of its own, inside their network namespace, and stops each however it ends. A sample;
# SCALE=full: all of it, or SCALE=load, SCALE=small, SCALE=large: a part. The operator is .cluster/bin/rso, as `make binaries`
# built it. PEER=/path/to/pvc-autoresizer: measures that one beside it.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
export CLUSTER_ID=${SCALE_CLUSTER_ID:-14} CONTROL_PLANE_ONLY=1 AUDIT=operator
case ${SCALE:-} in
  '') parts=('') profile=${SCALE_PROFILE:-dev} ;;
  # A test that holds thousands of requests should not be what the operator waits for.
  full) parts=(load small large) profile=${SCALE_PROFILE:-model} ;;
  *) parts=("$SCALE") profile=${SCALE_PROFILE:-model} ;;
esac

make cluster-programs
cargo test --locked --quiet --profile "$profile" --test scale --no-run
ulimit -n "$(ulimit -Hn)"
trap 'tests/cluster/down.sh' EXIT
for part in "${parts[@]}"; do
  tests/cluster/up.sh
  SCALE=$part nsenter --net="/run/netns/rso$CLUSTER_ID" cargo test --locked --offline --quiet --profile "$profile" --test scale
  tests/cluster/down.sh
done
