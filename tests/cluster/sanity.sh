#!/bin/bash
# sanity.sh: does the CSI driver keep CSI's rules and its own promises? Runs tests/csi and the real csi-sanity against
# `rso csi`, as root, with real mounts, in namespaces of its own: what is mounted or started ends with them. Fails when a
# test fails, or a volume or a loop device is left.
#   [RSO=<program>] [CSI_SANITY=<program>] sanity.sh [arguments for csi-sanity]
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")

fail() {
  echo "sanity: $*" >&2
  exit 1
}

# Inside the namespaces: the driver, csi-sanity, and what they leave.
conformance() {
  "$RSO" csi --endpoint "unix://$WORK/csi.sock" --node-id node1 --state-dir "$WORK/state" 2>"$WORK/driver.log" &
  local driver=$! i left status=0
  for ((i = 0; i < 100; i++)); do
    [ ! -S "$WORK/csi.sock" ] || break
    sleep 0.1
  done
  "$CSI_SANITY" --csi.endpoint "$WORK/csi.sock" --csi.mountdir "$WORK/mount" --csi.stagingdir "$WORK/staging" \
    --csi.testvolumesize $((1 << 30)) --csi.testvolumeexpandsize $((2 << 30)) --ginkgo.no-color "$@" || status=$?
  kill "$driver"
  wait "$driver" || status=$?
  [ "$status" = 0 ] || {
    tail -n 40 "$WORK/driver.log" >&2
    fail "see above, and the last lines of the driver's log"
  }
  left=$(find "$WORK/state" -type f ! -name lock)
  [ -z "$left" ] || fail "volumes are left: $left"
}

if [ "${1-}" = --inside ]; then
  shift
  TMPDIR=$WORK "$CSI_TESTS"
  conformance "$@"
  exit
fi

[ "$(id -u)" = 0 ] || fail "mounting needs root"
: "${CSI_SANITY:=$top/.cluster/bin/csi-sanity}"
for program in "$CSI_SANITY" mkfs.xfs xfs_growfs mkfs.ext4 resize2fs losetup; do
  command -v "$program" >/dev/null || fail "$program is not there (see tests/cluster/deps.sh and build.sh)"
done
cd "$top"
CSI_TESTS=$(cargo test --locked --test csi --no-run --message-format=json 2>/dev/null |
  sed -n 's/.*"name":"csi".*"executable":"\([^"]*\)".*/\1/p')
[ -x "$CSI_TESTS" ] || fail "tests/csi does not build: cargo test --test csi --no-run"
# Cargo has built the program for the tests; it lies beside them.
: "${RSO:=$(dirname "$(dirname "$CSI_TESTS")")/rso}"

WORK=$(mktemp -d "${TMPDIR:-/tmp}/rso-sanity.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
export WORK RSO CSI_SANITY CSI_TESTS
unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0" --inside "$@" || exit
# The last process of the namespace is gone before its mounts are.
for ((i = 0; i < 50; i++)); do
  left=$(losetup --list --noheadings --output NAME,BACK-FILE | grep -F "$WORK/" || true)
  [ -n "$left" ] || exit 0
  sleep 0.1
done
fail "loop devices are left: $left"
