#!/usr/bin/env bash
# A volume that rso expands before it is full, shown to someone who does not know the project. Needs nothing to be running;
# CLUSTER=current shows it on the cluster of your own kubeconfig (which has to have the images, see docs/guide.md).
set -euo pipefail
top=$(dirname "$(readlink -f "$0")")/../..
cd "$top"
export PATH="$PWD/.cluster/bin:$PATH"
[ "${CLUSTER:-local}" = current ] || export KUBECONFIG="${KUBECONFIG:-$PWD/.cluster/kubeconfig}"
ns=rso-demo
k() { kubectl --namespace "$ns" "$@"; }

bold='' dim='' green='' plain='' terminal=no
if [ -t 1 ]; then terminal=yes bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' plain=$'\e[0m'; fi
chapter() { printf '\n%s── %s %s\n' "$bold" "$1" "$plain"; }
say() { printf '%s\n' "$1" | fold -s -w 100; }
shown() { printf '%s$ %s%s\n' "$dim" "$1" "$plain"; }

# What `rso status` prints; with colors, as on a terminal of its own, if this is one.
status() {
    if [ "$terminal" = yes ] && command -v script >/dev/null; then
        COLUMNS=$(tput cols) script --quiet --return --command "rso status shop --namespace $ns" /dev/null </dev/null | tr -d '\r'
    else
        rso status shop --namespace "$ns" 2>/dev/null
    fi
}

# The screen of `rso status`, drawn over the one before. Into a file or a pipe: every fifth of them, one below the other.
lines=0 frame=0
draw() {
    local screen; screen=$(status) || return 0
    if [ "$terminal" = yes ]; then
        [ "$lines" = 0 ] || printf '\e[%dA\e[J' "$lines"
        printf '%s\n' "$screen"
        lines=$(wc -l <<<"$screen")
    else
        [ $((frame % 5)) != 0 ] || printf '%s\n\n' "$screen"
    fi
    frame=$((frame + 1))
}

# Of every Pod: its UID and how often its containers were restarted.
pods() { k get pods -l app=shop --sort-by=.metadata.name -o 'jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].restartCount}{.status.initContainerStatuses[0].restartCount}{"\n"}{end}'; }
template() { k get statefulset shop -o 'jsonpath={.spec.volumeClaimTemplates[0].spec.resources.requests.storage}' 2>/dev/null || true; }
claims() { k get pvc -l app=shop -o 'jsonpath={range .items[*]}{.status.capacity.storage}{"\n"}{end}' | sort -u | paste -sd ' '; }
filesystem() { k exec shop-0 -c shop -- df -h /data | awk 'NR == 2 {print $2 " (" $5 " used)"}'; }
# When pod 0 said something, in seconds.
said() { k logs shop-0 -c shop --timestamps | awk -v what="$1" 'index($0, what) {print $1; exit}' | xargs -r -I{} date -d {} +%s.%N; }
# Seconds for which the name was absent, and how often, over all operators.
absent() {
    local pod
    for pod in $(kubectl -n rso-system get pods -l app.kubernetes.io/name=rso -o name); do
        kubectl get --raw "/api/v1/namespaces/rso-system/pods/${pod#pod/}:8080/proxy/metrics" 2>/dev/null || true
    done | awk '/^rso_template_absent_seconds_sum/ {sum += $NF} /^rso_template_absent_seconds_count/ {n += $NF} END {print sum + 0, n + 0}'
}
# How often the kubelet synchronizes a Pod, if you may read its settings: it expands a filesystem when it does.
sync_frequency() {
    local node; node=$(k get pod shop-0 -o 'jsonpath={.spec.nodeName}')
    kubectl get --raw "/api/v1/nodes/$node/proxy/configz" 2>/dev/null | sed -n 's/.*"syncFrequency":"\([^"]*\)".*/\1/p' || true
}
between() { awk -v a="${1:-}" -v b="${2:-}" 'BEGIN {if (a == "" || b == "") print "not seen"; else printf "%.1f s", b - a}'; }

printf '%sresize-statefulset-operator: expands volumes before they fill up%s\n\n' "$bold" "$plain"
say "A StatefulSet gives each of its Pods a volume of a fixed size, in a field that Kubernetes never lets you change. When a volume fills up, someone has to expand it, often at night. This demo shows what happens with this operator instead, on a real Kubernetes cluster, in about three minutes. Nothing is simulated."

chapter "1. A Kubernetes cluster"
if [ "${CLUSTER:-local}" = current ]; then
    say "Your cluster: $(kubectl config current-context)"
else
    say "One node on this machine, in namespaces of its own. It cannot reach the network, and leaves no trace when you stop it. (The first time, its programs are built: up to fifteen minutes.)"
fi
make --no-print-directory cluster-up

chapter "2. The operator, installed with Helm"
make --no-print-directory deploy

chapter "3. A shop whose disks fill up"
k delete namespace "$ns" --ignore-not-found --wait >/dev/null 2>&1
kubectl create namespace "$ns" >/dev/null
say "Three Pods with a volume of 400Mi each write orders at different rates. The annotations are the whole configuration:"
echo; sed -n '/annotations:/,/^spec:/p' examples/demo.yaml | grep -v '^spec:'; echo
shown "kubectl apply -f examples/demo.yaml"
k apply -f examples/demo.yaml >/dev/null
k rollout status statefulset/shop --timeout=120s >/dev/null
pods_before=$(pods) template_before=$(template) claims_before=$(claims) filesystem_before=$(filesystem)
read -r absent_before recreates_before <<<"$(absent)"

chapter "4. Watch"
say "Pod 0 writes fastest. When its volume is 80% full, rso expands all three volumes by half and then updates the template of the StatefulSet, so a fourth replica starts with the new size too."
sync=$(sync_frequency)
[ -z "$sync" ] || say "The kubelet expands a filesystem when it synchronizes the Pod: here every $sync, by default every minute."
shown "rso status shop --namespace $ns --watch"; echo
began=$SECONDS
until [ "$(template)" != "$template_before" ] && [ -n "$(template)" ] && [ -n "$(said 'larger now')" ]; do
    if [ $((SECONDS - began)) -gt 180 ]; then
        echo "No volume was expanded within three minutes. The Events:" >&2
        k get events --sort-by=.lastTimestamp >&2
        exit 1
    fi
    draw; sleep 1
done
draw; sleep 2; lines=0; frame=0; draw

chapter "5. What happened"
k get events.events.k8s.io --sort-by=.eventTime -o 'jsonpath={range .items[?(@.regarding.kind=="StatefulSet")]}{.reason}|{.note}{"\n"}{end}' |
    awk -F'|' -v dim="$dim" -v plain="$plain" '/Sync|Auto|Backup|Expanded|Resize/ {printf "  %-20s %s%s%s\n", $1, dim, $2, plain}'
pods_after=$(pods)
read -r absent_after recreates_after <<<"$(absent)"
recreates=$((recreates_after - recreates_before))
name_absent=$(awk -v a="$absent_before" -v b="$absent_after" -v n="$recreates" 'BEGIN {if (n < 1) print "not seen"; else printf "%.0f ms", (b - a) * 1000 / n}')
failed=$(k logs -l app=shop -c shop --tail=-1 --prefix | grep -c 'could not write' || true)

row() { printf '  %-34s %-24s %s\n' "$1" "$2" "$3"; }
printf '\n%s  %-34s %-24s %s%s\n' "$bold" "" before after "$plain"
while read -r name uid restarts; do
    read -r _ uid_now restarts_now < <(grep "^$name " <<<"$pods_after")
    row "Pod $name: UID, restarts" "${uid%%-*}, $((10#$restarts))" "${uid_now%%-*}, $((10#$restarts_now))"
done <<<"$pods_before"
row "size of the PVCs" "$claims_before" "$(claims)"
row "size in volumeClaimTemplates" "$template_before" "$(template)"
row "filesystem in Pod shop-0" "$filesystem_before" "$(filesystem)"
row "failed writes" "" "$failed"
echo
row "from 80% full to larger" "" "$(between "$(said 'crossed 80%')" "$(said 'larger now')")"
row "StatefulSet absent" "" "$name_absent"
[ -z "$sync" ] || row "kubelet syncFrequency" "" "$sync (default: 1m)"
echo
if [ "$pods_before" = "$pods_after" ] && [ "$failed" = 0 ]; then
    printf '%sNo Pod was restarted, no write failed, and no one was called.%s\n' "$green" "$plain"
else
    echo "This is not what should have happened. Please report it, with: kubectl -n rso-system logs -l app.kubernetes.io/name=rso" >&2
    exit 1
fi

chapter "The cluster stays up. Try it yourself"
[ "${CLUSTER:-local}" = current ] || echo "  export KUBECONFIG=$KUBECONFIG PATH=$PWD/.cluster/bin:\$PATH"
echo "  rso status -n $ns                            # usage and sizes"
echo "  rso resize shop 800Mi -n $ns --wait          # request a size yourself"
echo "  kubectl -n $ns scale statefulset shop --replicas=4   # a new replica has the new size"
printf '\nTo stop it: '
if [ "${CLUSTER:-local}" = current ]; then echo "kubectl delete namespace $ns && make undeploy CLUSTER=current"; else echo "make cluster-down"; fi
