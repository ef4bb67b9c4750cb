# shellcheck shell=bash
# Sourced by every script here: names, places and addresses of cluster number CLUSTER_ID (0 to 15), and how they speak.
export CLUSTER_ID=${CLUSTER_ID:-0}
[[ $CLUSTER_ID =~ ^([0-9]|1[0-5])$ ]] || { echo "CLUSTER_ID is '$CLUSTER_ID': use a number from 0 to 15" >&2; exit 2; }

# The profile: how often the kubelet synchronizes its Pods.
[[ ${SYNC:-2s} =~ ^(2s|1m)$ ]] || { echo "SYNC is '$SYNC': use 2s (for tests) or 1m (the kubelet's defaults)" >&2; exit 2; }

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
TOP=$(readlink -f "$HERE/../..")
export HERE TOP
export STATE=$TOP/.cluster           # all that is kept in the checkout
export BIN=$STATE/bin                # programs: links into $STATE/programs
export IMAGES=$STATE/images          # archives that every cluster gets at its start
export BUILT=$STATE/images.built     # archives of this project, by `make image`
export RUN=$STATE/run/$CLUSTER_ID    # a running cluster: gone after `down`
export LOG=$STATE/log/$CLUSTER_ID    # its logs: kept after `down`, begun anew by `up`
suffix=; [ "$CLUSTER_ID" = 0 ] || suffix=-$CLUSTER_ID
export ADMIN=$STATE/kubeconfig$suffix AUDIT_LINK=$STATE/audit$suffix.log

export NETNS=rso$CLUSTER_ID LINK=rso$CLUSTER_ID-host CGROUP=rso$CLUSTER_ID
export HOST_IP=10.87.$CLUSTER_ID.1 NODE_IP=10.87.$CLUSTER_ID.2
export SERVICES=10.$((96 + CLUSTER_ID)) PODS=10.$((112 + CLUSTER_ID))    # the first two bytes of a /16
export SOCKET=$RUN/containerd.sock

export CSI_NAME=local.csi.resize-statefulset-operator

die() { echo "$*" >&2; exit 1; }

# since WHAT: prints WHAT with the seconds since the last step and since the script began.
EPOCH=$EPOCHREALTIME STEP=$EPOCHREALTIME
since() {
  local now=$EPOCHREALTIME
  printf '  %-46s %6s s   (at %s s)\n' "$*" "$(seconds "$STEP" "$now")" "$(seconds "$EPOCH" "$now")"
  STEP=$now
}
seconds() { local ms=$(((${2/./} - ${1/./}) / 1000)); printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100)); }

# wait_for SECONDS COMMAND...: tries it ten times a second.
wait_for() {
  local tries=$(($1 * 10)); shift
  while ! "$@" >/dev/null 2>&1; do ((tries-- > 0)) || return 1; sleep 0.1; done
}

# init_pid: the host's number for pid 1 of this cluster; fails when there is none.
init_pid() {
  local holder=
  [ -r "$RUN/pid" ] && holder=$(<"$RUN/pid")
  [ -n "$holder" ] && grep -qszxF "$RUN" "/proc/$holder/cmdline" || return 1
  tr -d ' ' <"/proc/$holder/task/$holder/children" | grep .
}

# The profile of a running cluster is in $RUN/sync; SYNC, if set, is the wanted one.
profile_is_wanted() {
  [ -e "$RUN/control-plane-only" ] || [ -z "${SYNC:-}" ] || [ "$SYNC" = "$(<"$RUN/sync")" ] ||
    die "cluster $CLUSTER_ID runs with profile SYNC=$(<"$RUN/sync"), not SYNC=$SYNC: stop it with make cluster-down, and start it again"
}
profile() { [ -e "$RUN/control-plane-only" ] || printf ', profile SYNC=%s' "$(<"$RUN/sync")"; }

# refuse_foreign: ends the script when a cluster of this number runs from another checkout.
refuse_foreign() {
  local process other
  while read -r process; do
    other=$(tr '\0' '\n' 2>/dev/null <"$process" | grep -xE "/.*/\.cluster/run/$CLUSTER_ID" | head -n 1) || continue
    [ "$other" = "$RUN" ] || die "cluster $CLUSTER_ID belongs to another checkout (${other%/.cluster/*}): use another CLUSTER_ID, 0 to 15"
  done < <(grep -lzxE "/.*/\.cluster/run/$CLUSTER_ID" /proc/[0-9]*/cmdline 2>/dev/null)
}

# inside COMMAND...: runs it in the cluster's namespaces.
inside() { local pid; pid=$(init_pid) || return 1; nsenter --target "$pid" --mount --pid --net -- "$@"; }

# fit_containerd: has the distribution one that this kubelet can talk to? If not, ours is built.
fit_containerd() {
  local version
  version=$(containerd --version 2>/dev/null | grep -oE '[ v][0-9]+\.[0-9]+' | head -n 1 | tr -d ' v') && command -v ctr >/dev/null || return 1
  [ "${version%.*}" -ge 2 ] || [ "${version#*.}" -ge 6 ]
}

# ask PATH: the API server's answer, as the administrator.
ask() { curl -sf --max-time 2 --cacert "$RUN/pki/ca.crt" --cert "$RUN/pki/admin.crt" --key "$RUN/pki/admin.key" "https://$NODE_IP:6443$1"; }
