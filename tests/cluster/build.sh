#!/usr/bin/env bash
# Builds the cluster's programs, each once: kept in .cluster/programs under the checksum of its module, and in a
# folder that the machine's checkouts share (RSO_CACHE), so that a fresh clone need not wait again.
# usage: build.sh [MODULE...]   (kubernetes helm helm3 provisioner coredns csi-sanity quantity schema containerd images; default: what is needed)
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
cache=${RSO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/resize-statefulset-operator}
store=$STATE/programs
mkdir -p "$store" "$BIN" "$IMAGES"
mkdir -p "$cache" 2>/dev/null || true
exec 8>"$store/.lock"; flock 8   # two builds at once would each take twice as long

# module NAME FOLDER PROGRAMS LINKER_FLAGS PACKAGE...: builds the packages with the versions of the folder's go.mod. A program
# may be called otherwise here: helm:helm3.
module() {
  local name=$1 folder=$HERE/$2 programs=$3 flags=$4 sum kept program; shift 4
  sum=$(cd "$folder" && { cat go.mod go.sum; find . -maxdepth 1 -name '*.go' -exec cat {} +; echo "$flags $*"; uname -m; } | sha256sum)
  kept=$name-${sum:0:16}
  if [ ! -d "$store/$kept" ]; then
    rm -rf "$store/$name"-[0-9a-f]* "$store/.$kept"
    if [ -d "$cache/$kept" ]; then
      copy "$cache/$kept" "$store/$kept"
      since "$name: from $cache"
    else
      command -v go >/dev/null || die "missing: go, 1.26 or newer. Get it: https://go.dev/dl"
      echo "  $name: building $programs ..."
      mkdir "$store/.$kept"
      (cd "$folder" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags="-s -w $flags" -o "$store/.$kept/" "$@") 2> >(grep -v '^go: downloading ' >&2)
      mv "$store/.$kept" "$store/$kept"
      copy "$store/$kept" "$cache/$kept" || echo "  (not kept in $cache)"
      since "$name: built"
    fi
  fi
  for program in $programs; do ln -sfn "../programs/$kept/${program%:*}" "$BIN/${program#*:}"; done
}

# A folder appears under its name when it is whole, whoever else is at it.
copy() {
  local new; new=$(mktemp -d "$2.XXXXXX" 2>/dev/null) || return 1
  if { cp -al "$1/." "$new/" 2>/dev/null || cp -a "$1/." "$new/"; } && chmod 755 "$new" && mv -T "$new" "$2" 2>/dev/null; then return 0; fi
  rm -rf "$new"; [ -d "$2" ]
}

# version FOLDER MODULE: what its go.mod pins.
version() { awk -v path="$2" '$1 == path && $2 ~ /^v/ {print $2; exit} $2 == path && $3 ~ /^v/ {print $3; exit}' "$HERE/$1/go.mod"; }
kubernetes=$(version . k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${kubernetes#v}"

# Without these a server calls itself v0.0.0 and charts refuse it; a client says so in the audit log.
build_kubernetes() {
  local flags='' package
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor -X $package.gitCommit=$kubernetes"
  done
  module kubernetes . "cluster kubectl csi-resizer" "$flags" \
    . k8s.io/kubernetes/cmd/kubectl github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer
}
build_helm() {
  local module=helm.sh/helm/v4
  module helm helm helm "-X $module/internal/version.version=$(version helm $module)" $module/cmd/helm
}
# The Helm that most pipelines still run: three-way merges where version 4 applies on the server.
build_helm3() {
  local module=helm.sh/helm/v3
  module helm3 helm3 helm:helm3 "-X $module/internal/version.version=$(version helm3 $module)" $module/cmd/helm
}
build_provisioner() { module provisioner provisioner csi-provisioner "" github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner; }
build_coredns() { module coredns coredns coredns "" .; }
build_csi-sanity() { module csi-sanity csi-sanity csi-sanity "" github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity; }
build_quantity() { module quantity quantity quantity "" .; }
build_schema() { module schema schema schema "" .; }
build_containerd() {
  local module=github.com/containerd/containerd/v2
  module containerd containerd "containerd containerd-shim-runc-v2 ctr" "-X $module/version.Version=$(version containerd $module)" \
    -tags=no_btrfs,no_devmapper,no_zfs $module/cmd/containerd $module/cmd/containerd-shim-runc-v2 $module/cmd/ctr
}

# The two images that every cluster has.
build_images() {
  local root applet
  root=$(mktemp -d)
  if [ ! -e "$IMAGES/pause.tar" ] || [ "$HERE/pause/pause.c" -nt "$IMAGES/pause.tar" ]; then
    mkdir "$root/pause"
    cc -static -Os -s -o "$root/pause/pause" "$HERE/pause/pause.c"
    "$HERE/image.sh" localhost/pause:1 "$root/pause" "$IMAGES/pause.tar" --entrypoint /pause
    since "image localhost/pause:1"
  fi
  if [ ! -e "$IMAGES/busybox.tar" ]; then
    mkdir -p "$root"/busybox/{bin,etc,tmp,proc,sys,dev}; chmod 1777 "$root/busybox/tmp"
    cp "$(command -v busybox)" "$root/busybox/bin/busybox"
    for applet in $(busybox --list); do [ -e "$root/busybox/bin/$applet" ] || ln -s busybox "$root/busybox/bin/$applet"; done
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/busybox/etc/passwd"
    "$HERE/image.sh" localhost/busybox:1 "$root/busybox" "$IMAGES/busybox.tar"
    since "image localhost/busybox:1"
  fi
  rm -rf "$root"
}

if [ $# = 0 ]; then
  set -- kubernetes helm helm3 provisioner coredns csi-sanity images
  fit_containerd || set -- "$@" containerd
fi
for wanted in "$@"; do
  declare -F "build_$wanted" >/dev/null || die "build.sh does not know '$wanted'"
  "build_$wanted"
done
