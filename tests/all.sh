#!/usr/bin/env bash
# The half of `make test` that needs root and a cluster: the driver's conformance, the cluster, the tests in it.
# A cluster that was running before is used and left; one that this script started is stopped, however it ends.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.." || exit
phase=tests/phase.sh

# Takes down what it started, and keeps the exit code of what failed.
started=no
finish() {
    code=$?
    trap - EXIT
    if [ "$started" = yes ]; then $phase "stop the cluster" make cluster-down || code=1; fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

set -e
$phase "build the cluster's programs" make cluster-programs
$phase "build the images" make image
$phase "driver conformance (csi-sanity)" env RSO="$PWD/.cluster/bin/rso" tests/cluster/sanity.sh
$phase "faults at every write (a sample)" tests/faults/sweep.sh
$phase "load (a sample)" tests/scale/scale.sh
$phase "build the tests" cargo test --locked --test e2e --no-run
if ! SYNC='' tests/cluster/status.sh >/dev/null 2>&1; then
    started=yes
    $phase "start the cluster" make cluster-up SYNC=2s
fi
$phase "check the cluster" env SYNC=2s tests/cluster/status.sh
$phase "install the operator" make deploy
$phase "tests on the cluster, side by side" cargo test --locked --test e2e parallel:: -- --test-threads=4
# These take the operator away from all others.
$phase "tests on the cluster, one at a time" cargo test --locked --test e2e serial:: -- --test-threads=1 --nocapture
