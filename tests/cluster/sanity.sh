#!/bin/bash
# sanity.sh: does the CSI driver keep CSI's rules? Runs the real csi-sanity against `rso csi`, as root, with real mounts,
# in a mount namespace of its own, and fails when a spec fails or a loop device is left.
#   RSO=<program> CSI_SANITY=<program> sanity.sh [arguments for csi-sanity]
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
: "${CSI_SANITY:=$top/.cluster/bin/csi-sanity}"
: "${RSO:=${CARGO_TARGET_DIR:-$top/target}/debug/rso}"

if [ "${1-}" != --inside ]; then
  [ "$(id -u)" = 0 ] || { echo "sanity: mounting needs root" >&2; exit 1; }
  for program in "$CSI_SANITY" "$RSO" mkfs.xfs xfs_growfs losetup; do
    command -v "$program" >/dev/null || { echo "sanity: $program is not there" >&2; exit 1; }
  done
  work=$(mktemp -d "${TMPDIR:-/tmp}/rso-sanity.XXXXXX")
  # The namespace's mounts end with it; a device that is still attached then is a leak of the driver's.
  trap 'rm -rf "$work"' EXIT
  status=0
  WORK=$work RSO=$RSO CSI_SANITY=$CSI_SANITY unshare --mount --propagation private "$0" --inside "$@" || status=$?
  if losetup --list --noheadings --output NAME,BACK-FILE | grep -F "$work/"; then
    echo "sanity: loop devices are left" >&2
    exit 1
  fi
  exit "$status"
fi

shift
"$RSO" csi --endpoint "unix://$WORK/csi.sock" --node-id node1 --state-dir "$WORK/state" 2>"$WORK/driver.log" &
driver=$!
stop() {
  kill "$driver" 2>/dev/null || true
  wait "$driver" || { echo "sanity: the driver did not stop cleanly" >&2; tail -n 20 "$WORK/driver.log" >&2; }
}
trap stop EXIT
for ((i = 0; i < 100; i++)); do
  [ ! -S "$WORK/csi.sock" ] || break
  sleep 0.1
done

"$CSI_SANITY" --csi.endpoint "$WORK/csi.sock" --csi.mountdir "$WORK/mount" --csi.stagingdir "$WORK/staging" \
  --csi.testvolumesize 1073741824 --csi.testvolumeexpandsize 2147483648 --ginkgo.no-color "$@" ||
  { tail -n 40 "$WORK/driver.log" >&2; exit 1; }
left=$(ls -A "$WORK/state/volumes" "$WORK/state/trash" | grep -E '\.(img|json|new)' || true)
[ -z "$left" ] || { echo "sanity: volumes are left: $left" >&2; exit 1; }
