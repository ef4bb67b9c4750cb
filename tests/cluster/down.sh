#!/usr/bin/env bash
# Ends cluster number CLUSTER_ID and removes all it made on this host; fails when anything is left.
set -uo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
[ "$(id -u)" = 0 ] || die "taking a cluster down needs root"
refuse_foreign

cgroups() { find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "$CGROUP" 2>/dev/null; }
# Loop devices over files in the cluster's folder, or freshly bound by it.
loops() { grep -lsF "$RUN/" /sys/block/loop*/loop/backing_file | cut -d/ -f4; }
processes() { [ -n "${namespace:-}" ] && for p in /proc/[0-9]*/ns/pid; do [ "$(readlink "$p" 2>/dev/null)" != "$namespace" ] || echo "$p"; done; }

was_up=no
if init=$(init_pid); then
  was_up=yes
  namespace=$(readlink "/proc/$init/ns/pid")
  kill -KILL "$(<"$RUN/pid")"   # --kill-child: takes process 1 of the namespace along, and that every other
  wait_for 30 test ! -e "/proc/$init" || die "process $init, the first of cluster $CLUSTER_ID, does not end"
fi
[ ! -e "/sys/class/net/$LINK" ] || ip link del "$LINK"          # its routes go with it
[ ! -e "/run/netns/$NETNS" ] || ip netns del "$NETNS"

# The last unmount frees a loop device by itself; one that was never mounted is freed here.
none_left() { [ -z "$(loops)" ]; }
wait_for 3 none_left || for device in $(loops); do losetup -d "/dev/$device"; done
wait_for 5 none_left

no_cgroups() {
  local top
  for top in $(cgroups); do find "$top" -depth -type d -exec rmdir {} + 2>/dev/null; done
  [ -z "$(cgroups)" ]
}
wait_for 10 no_cgroups
rm -rf "$RUN"; rm -f "$ADMIN"

left=
report() { local count; count=$(grep -c . <<<"$2"); [ "$count" = 0 ] || left+=" $count $1;"; }
report processes "$(processes)"
report mounts "$(grep -F "$RUN" /proc/mounts)"
report "loop devices" "$(loops)"
report "network namespaces" "$(ip netns list | grep -w "$NETNS")"
report cgroups "$(cgroups)"
report routes "$(ip route show | grep -E "^($SERVICES|$PODS)\.|dev $LINK")"
report folders "$(ls -d "$RUN" 2>/dev/null)"
[ -z "$left" ] || die "cluster $CLUSTER_ID is down, but this is left:${left%;}"
if [ "$was_up" = yes ]; then
  echo "cluster $CLUSTER_ID is down after $(seconds "$EPOCH" "$EPOCHREALTIME") s; no process, mount, loop device, network namespace, cgroup or route is left"
else
  echo "cluster $CLUSTER_ID is not up"
fi
