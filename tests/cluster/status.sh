#!/usr/bin/env bash
# Is cluster number CLUSTER_ID up and well? If not, says what is wrong and fails.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
kubectl() { "$BIN/kubectl" --kubeconfig "$ADMIN" --request-timeout=5s "$@" 2>/dev/null; }

init_pid >/dev/null || die "it is not running"
profile_is_wanted
ask /readyz >/dev/null || die "its API server does not answer"
if [ -e "$RUN/control-plane-only" ]; then echo "control plane $CLUSTER_ID is up; kubeconfig: $ADMIN"; exit; fi
ready=$(kubectl get node node1 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') || die "its node cannot be read"
[ "$ready" = True ] || die "its node is not Ready"
if [ -e "$RUN/with-csi" ]; then
  drivers=$(kubectl get csinode node1 -o 'jsonpath={.spec.drivers[*].name}') || die "its CSI drivers cannot be read"
  grep -qwF "$CSI_NAME" <<<"$drivers" || die "its CSI driver is not registered"
fi
echo "cluster $CLUSTER_ID is up$(profile); kubeconfig: $ADMIN"
