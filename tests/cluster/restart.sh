#!/usr/bin/env bash
# Ends one component of the running cluster; the cluster starts it again within a second or two.
# usage: restart.sh COMPONENT [SIGNAL]   e.g. `restart.sh csi-driver` after a new `rso` was built
# With STOP it stands still instead, until CONT.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
init_pid >/dev/null || die "cluster $CLUSTER_ID is not up: run 'make cluster-up' first"
name=${1:-}
pid=$(inside cat "/run/component/$name" 2>/dev/null) || die "no component '$name'; there are: $(inside ls /run/component | tr '\n' ' ')"
inside kill "-${2:-TERM}" "$pid"
case ${2:-} in STOP | CONT) exit 0 ;; esac
again() { local now; now=$(inside cat "/run/component/$name") && [ "$now" != "$pid" ]; }
wait_for 30 again || die "$name (process $pid in the cluster) did not end"
since "$name was restarted"
