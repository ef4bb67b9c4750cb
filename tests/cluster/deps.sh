#!/usr/bin/env bash
# Looks for what the cluster needs from the machine. As root on Debian or Ubuntu it installs what is missing;
# elsewhere it says in one line each what that is and how to get it.
# usage: deps.sh [build]   (build: only what is needed to compile and check, not to run a cluster)
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"

cni_plugins() { [ -x /usr/lib/cni/ptp ] || [ -x /opt/cni/bin/ptp ] || [ -x /usr/libexec/cni/ptp ]; }
static_busybox() { local path; path=$(command -v busybox) && ! ldd "$path" >/dev/null 2>&1; }
static_c() { local path; path=$(command -v cc) && "$path" -print-file-name=libc.a | grep -q /; }
python_venv() { python3 -c 'import venv, ensurepip' 2>/dev/null; }
program() { command -v "$1" >/dev/null; }

# what is asked | Debian's package | where else to get it; a dash: it is built here
to_build=(
  "program cc|gcc|your distribution's C compiler"
  "static_c|libc6-dev|your distribution's static libc (glibc-static)"
  "program musl-gcc|musl-tools|your distribution's musl-gcc; ring's C parts need it for the static binaries"
  "program python3|python3|your distribution's python3"
  "python_venv|python3-venv|your distribution's python3 with venv and pip"
  "program curl|curl|your distribution's curl"
)
to_run=(
  "fit_containerd|containerd|-"
  "program runc|runc|https://github.com/opencontainers/runc/releases"
  "cni_plugins|containernetworking-plugins|https://github.com/containernetworking/plugins/releases, into /opt/cni/bin"
  "program mkfs.xfs|xfsprogs|your distribution's xfsprogs"
  "program nft|nftables|your distribution's nftables"
  "program ip|iproute2|your distribution's iproute2 or iproute"
  "program nsenter|util-linux|your distribution's util-linux"
  "program losetup|mount|your distribution's util-linux"
  "program sysctl|procps|your distribution's procps or procps-ng"
  "program modprobe|kmod|your distribution's kmod"
  "program openssl|openssl|your distribution's openssl"
  "static_busybox|busybox-static|https://busybox.net/downloads/binaries, as busybox in PATH"
)
only=${1:-}
needs=("${to_build[@]}")
[ "$only" = build ] || needs+=("${to_run[@]}")
missing() { local need; for need in "${needs[@]}"; do ${need%%|*} || echo "$need"; done; }

lacking=$(missing)
if [ -n "$lacking" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  # shellcheck disable=SC2046  # words on purpose: a need may be two packages
  set -- $(cut -d'|' -f2 <<<"$lacking" | tr ' ' '\n' | sort -u)
  echo "  installing $* ..."
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"${TMPDIR:-/tmp}/rso-apt.log" 2>&1 ||
    { cat "${TMPDIR:-/tmp}/rso-apt.log" >&2; die "apt-get could not install: $*"; }
  since "installed $*"
  lacking=$(missing)
fi

wrong=
while IFS='|' read -r need package elsewhere; do
  [ -z "$need" ] || [ "$elsewhere" = - ] || { wrong=yes; echo "missing: ${need#program }. On Debian: apt-get install $package. Elsewhere: $elsewhere" >&2; }
done <<<"$lacking"
program go || { wrong=yes; echo "missing: go, 1.26 or newer, which builds Kubernetes. Get it: https://go.dev/dl" >&2; }
program cargo || { wrong=yes; echo "missing: cargo, which builds this project. Get it: https://rustup.rs" >&2; }

[ "$only" != build ] || { [ -z "$wrong" ]; exit; }

# What the kernel must bring.
program modprobe && for module in loop xfs overlay veth nf_tables; do modprobe -q "$module" 2>/dev/null || true; done
for filesystem in xfs overlay; do
  grep -qw "$filesystem" /proc/filesystems || { wrong=yes; echo "missing: the filesystem $filesystem in this kernel (modprobe $filesystem)" >&2; }
done
[ -e /dev/loop-control ] || { wrong=yes; echo "missing: loop devices in this kernel (modprobe loop)" >&2; }
[ -z "$wrong" ]
