#!/usr/bin/env bash
# The half of `make test` that needs root and a cluster: the driver's conformance, the cluster, the tests in it.
# A cluster that was running before is used and left; one that this script started is stopped, however it ends.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
phase=tests/phase.sh

# Takes down what it started, and keeps the exit code of what failed.
started=no
finish() {
    code=$?
    if [ "$started" = yes ]; then $phase "cluster down" make cluster-down || code=1; fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

set -e
$phase "build the cluster's programs" tests/cluster/build.sh
$phase "image" make image
$phase "driver conformance (csi-sanity)" tests/cluster/csi-sanity.sh
if ! tests/cluster/status.sh >/dev/null 2>&1; then
    started=yes
    $phase "cluster up" make cluster-up
fi
$phase "deploy" make deploy
$phase "tests on the cluster" cargo test --locked --test e2e -- --test-threads=4 parallel::
# These take the operator away from all others.
$phase "tests on the cluster, one at a time" cargo test --locked --test e2e -- --test-threads=1 --nocapture serial::
