#!/usr/bin/env bash
# Brings image archives into the running cluster.
# usage: load.sh ARCHIVE...
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
init_pid >/dev/null || die "cluster $CLUSTER_ID is not up: run 'make cluster-up' first"
[ $# -gt 0 ] || die "name an archive, as 'docker save' writes it: make image-load TAR=my-image.tar"
for archive in "$@"; do
  [ -r "$archive" ] || die "cannot read $archive"
  inside "$(PATH=$BIN:$PATH command -v ctr)" --address "$SOCKET" --namespace k8s.io images import "$(readlink -f "$archive")"
done
