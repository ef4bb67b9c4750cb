#!/usr/bin/env bash
# Starts cluster number CLUSTER_ID in network, mount and process namespaces of its own. Says what it does and how long
# each step took; does nothing when the cluster is up and well.
# SYNC=2s (default): a kubelet that synchronizes every Pod every two seconds, so that tests are fast. SYNC=1m: with the
# kubelet's own defaults, as on a standard node.
# CONTROL_PLANE_ONLY=1: etcd, API server and controller-manager alone, for tests that stand in for the node themselves. There
# AUDIT=operator keeps an audit log of what the operator asks for.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
export KUBECONFIG=$ADMIN
kubectl() { "$BIN/kubectl" --request-timeout=5s "$@"; }

driver_registered() { kubectl get csinode node1 -o 'jsonpath={.spec.drivers[*].name}' | grep -qwF "$CSI_NAME"; }

[ "$(id -u)" = 0 ] || die "a cluster needs root, for its namespaces and mounts: run it with sudo, or use CLUSTER=current with a cluster you have"
mkdir -p "$STATE/run" "$STATE/log"
exec 9>"$STATE/run/.lock-$CLUSTER_ID"
flock --wait 300 9 || die "another cluster-up of cluster $CLUSTER_ID has been at it for 5 minutes"

if [ -e "$RUN" ]; then
  ! init_pid >/dev/null || profile_is_wanted
  # A cluster that has just lost its breath (the machine slept, a component is being started again) gets ten seconds.
  for _ in {1..10}; do
    ! reason=$("$HERE/status.sh" 2>&1) || { echo "$reason"; exit 0; }
    init_pid >/dev/null || break
    sleep 1
  done
  echo "cluster $CLUSTER_ID is broken: $reason; it is taken down and started anew (its logs: $LOG.old)"
  rm -rf "$LOG.old"; [ ! -e "$LOG" ] || cp -a "$LOG" "$LOG.old"
  "$HERE/down.sh"
fi
refuse_foreign
if [ -e "/run/netns/$NETNS" ] || [ -e "/sys/class/net/$LINK" ]; then "$HERE/down.sh" >/dev/null; fi   # left by a crash

echo "starting cluster $CLUSTER_ID"
rm -rf "$LOG"; mkdir -p "$RUN" "$LOG"; chmod 700 "$RUN"
[ -z "${CONTROL_PLANE_ONLY:-}" ] || touch "$RUN/control-plane-only"
[ "${AUDIT:-}" != operator ] || touch "$RUN/audit-operator"
echo "${SYNC:-2s}" >"$RUN/sync"
explain() { # when the start fails
  local status=$? log
  [ "$status" != 0 ] || return 0
  echo "cluster $CLUSTER_ID did not start; the last words of each component:"
  for log in "$LOG"/*.log; do echo "  $(basename "$log" .log): $(tail -n 1 "$log" | cut -c -300)"; done
  "$HERE/down.sh" >/dev/null || true
  echo "their logs are in $LOG"
}
trap 'explain >&2' EXIT

# One veth pair joins it to this host, and it has no default route: nothing in it can leave the machine.
ip netns add "$NETNS"
ip link add "$LINK" type veth peer name node0 netns "$NETNS"
ip addr add "$HOST_IP/30" dev "$LINK"; ip link set "$LINK" up
ip -n "$NETNS" addr add "$NODE_IP/30" dev node0; ip -n "$NETNS" link set node0 up; ip -n "$NETNS" link set lo up
# A service address asked for by the node itself needs some route, to get as far as the hook that rewrites it.
ip -n "$NETNS" link add services type bridge; ip -n "$NETNS" link set services up
ip -n "$NETNS" route add "$SERVICES.0.0/16" dev services
for net in "$SERVICES.0.0/16" "$PODS.0.0/16"; do
  ip route add "$net" via "$NODE_IP" || die "this host has a route for $net already ($(ip route show "$net")): use another CLUSTER_ID, 0 to 15"
done
# There are no pods to have their addresses: tests may stand in for them.
[ -z "${CONTROL_PLANE_ONLY:-}" ] || ip -n "$NETNS" route add local "$PODS.0.0/16" dev lo

# A cgroup of its own, or the kubelets of two clusters would end each other's pods.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  for controller in $(</sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true; done
  mkdir -p "/sys/fs/cgroup/$CGROUP"
else
  for controller in /sys/fs/cgroup/*/; do mkdir -p "$controller$CGROUP"; done
  for file in cpus mems; do cat "/sys/fs/cgroup/cpuset/cpuset.$file" >"/sys/fs/cgroup/cpuset/$CGROUP/cpuset.$file"; done
fi
"$HERE/certs.sh" "$RUN/pki"
since "network, cgroup and certificates"

# The one process that matters: with it ends everything in the cluster, and the mounts go with their namespace.
setsid nohup nsenter --net="/run/netns/$NETNS" unshare --mount --pid --fork --kill-child --mount-proc \
  "$HERE/init.sh" "$RUN" </dev/null >"$LOG/init.log" 2>&1 9>&- &
echo $! >"$RUN/pid"
disown   # or this shell would tell of its end

until_ready() { # seconds what command...
  local seconds=$1 what=$2; shift 2
  wait_for "$seconds" "$@" || die "timeout after $seconds s: $what"
  since "$what"
}
until_ready 60 "API server answers" ask /readyz
install -m 600 "$RUN/pki/admin.kubeconfig" "$ADMIN"
[ -n "${CONTROL_PLANE_ONLY:-}" ] && [ -z "${AUDIT:-}" ] || ln -sfn "log/$CLUSTER_ID/audit.log" "$AUDIT_LINK"
storage() { kubectl apply -f "$HERE/manifests/storage.yaml" >/dev/null; }
up() {
  echo "cluster $CLUSTER_ID is up$(profile) after $(seconds "$EPOCH" "$EPOCHREALTIME") s. To use it:"
  echo "  export KUBECONFIG=$ADMIN PATH=$BIN:\$PATH"
}
if [ -e "$RUN/control-plane-only" ]; then
  until_ready 60 "storage classes" storage
  up; exit 0
fi
until_ready 60 "default service account" kubectl -n default get serviceaccount default
storage
until_ready 60 "node Ready" kubectl wait --for=condition=Ready node/node1 --timeout=1s
if [ -e "$RUN/with-csi" ]; then
  until_ready 30 "CSI driver registered" driver_registered
else
  echo "  no CSI driver: $BIN/rso does not know the verb csi"
fi
up
