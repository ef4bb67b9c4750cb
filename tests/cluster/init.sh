#!/usr/bin/env bash
# Process 1 of the cluster's namespaces: starts every component, starts again what ends, reaps.
# The folder of the running cluster is its argument, so that its command line tells whose cluster it is.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
pki=$RUN/pki
export PATH=$BIN:$PATH

# Half a cluster, for tests that stand in for the node themselves: `CONTROL_PLANE_ONLY=1 up.sh`. Nobody makes service
# accounts, root certificates or volumes there, so nothing must wait for them; nor does anybody ask who used which right,
# unless AUDIT=operator: then what the operator asks for is kept, and nothing else.
only_control_plane() { [ -e "$RUN/control-plane-only" ]; }
admission=() controllers=() policy=audit-policy
[ ! -e "$RUN/audit-operator" ] || policy='audit-operator'
audit=(--audit-policy-file="$HERE/manifests/$policy.yaml" --audit-log-path="$LOG/audit.log" --audit-log-maxsize=200 --audit-log-maxbackup=1)
if only_control_plane; then
  admission=(--disable-admission-plugins=ServiceAccount)
  controllers=("--controllers=statefulset-controller,replicaset-controller,garbage-collector-controller,namespace-controller,resourcequota-controller,disruption-controller,persistentvolumeclaim-protection-controller")
  [ -e "$RUN/audit-operator" ] || audit=()
fi

# Own mounts: every component has its standard paths, and the host sees none of it.
mount --make-rshared /                  # the kubelet and the CSI driver pass mounts to pods
mount -t tmpfs -o mode=755 tmpfs /run   # containerd's state, network namespaces, locks
mkdir -p /run/lock /run/component /run/etcd; chmod 700 /run/etcd
for folder in /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods /var/log/containers /etc/cni/net.d; do
  mkdir -p "$folder" "$RUN/fs$folder"; mount --bind "$RUN/fs$folder" "$folder"
done
sysctl -qw net.ipv4.ip_forward=1
sysctl -qw fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=524288 || true

# run NAME COMMAND...: keeps a component alive; its process id (here, not on the host) is in /run/component/NAME.
run() {
  local name=$1; shift
  while :; do
    "$@" >>"$LOG/$name.log" 2>&1 &
    echo $! >"/run/component/$name"
    wait $! || true
    echo "$(date -Is) $name ended; it is started again"
    sleep 1
  done &
}

run etcd cluster etcd --name=rso --data-dir=/run/etcd --unsafe-no-fsync --log-level=warn \
  --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
  --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 --initial-cluster=rso=http://127.0.0.1:2380

run kube-apiserver cluster kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
  --bind-address=0.0.0.0 --advertise-address="$NODE_IP" --secure-port=6443 --service-cluster-ip-range="$SERVICES.0.0/16" \
  --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-key-file="$pki/service-account.pub" --service-account-signing-key-file="$pki/service-account.key" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction,PodSecurity "${admission[@]}" --allow-privileged=true \
  --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
  --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
  --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
  --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User \
  --proxy-client-cert-file="$pki/front-proxy-client.crt" --proxy-client-key-file="$pki/front-proxy-client.key" \
  "${audit[@]}"

controller_manager() {
  wait_for 60 ask /readyz
  # The default limits of requests per second make the start five seconds slower.
  run kube-controller-manager cluster kube-controller-manager --kubeconfig="$pki/kube-controller-manager.kubeconfig" \
    --kube-api-qps=500 --kube-api-burst=1000 --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials \
    --service-account-private-key-file="$pki/service-account.key" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" "${controllers[@]}"
}
if only_control_plane; then
  controller_manager
  while :; do wait -n || true; done
fi

# containerd: the form of its configuration changed with 1.x, 2.0 and 2.4; version 3 is read by every 2.x.
cni=; for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do [ ! -x "$folder/ptp" ] || { cni=$folder; break; }; done
case $(containerd --version) in
  *" 1."* | *" v1."*) cat >/run/containerd.toml <<END
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$cni"
    conf_dir = "/etc/cni/net.d"
END
    ;;
  *) cat >/run/containerd.toml <<END
version = 3
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'localhost/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['$cni']
    conf_dir = '/etc/cni/net.d'
[plugins.'io.containerd.nri.v1.nri']
  disable = true
END
    ;;
esac
# ptp, not bridge: no br_netfilter is needed.
cat >/etc/cni/net.d/10-rso.conflist <<END
{"cniVersion": "1.0.0", "name": "rso", "plugins": [{"type": "ptp", "ipMasq": false, "ipam": {
  "type": "host-local", "ranges": [[{"subnet": "$PODS.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni-ipam"}}]}
END
run containerd containerd --config /run/containerd.toml --address "$SOCKET"
wait_for 30 ctr --address "$SOCKET" version
for archive in "$IMAGES"/*.tar; do ctr --address "$SOCKET" --namespace k8s.io images import "$archive"; done

# The CSI driver: the project's own.
plugin=/var/lib/kubelet/plugins/$CSI_NAME
if [ -x "$BIN/rso" ] && "$BIN/rso" csi --help >/dev/null 2>&1; then
  mkdir -p "$plugin" /var/lib/kubelet/plugins_registry "$RUN/volumes"
  run csi-driver rso csi --endpoint "unix://$plugin/csi.sock" --node-id node1 --state-dir "$RUN/volumes" \
    --registration-dir /var/lib/kubelet/plugins_registry
  touch "$RUN/with-csi"
fi

controller_manager
run kube-scheduler cluster kube-scheduler --kubeconfig="$pki/kube-scheduler.kubeconfig" \
  --kube-api-qps=500 --kube-api-burst=1000 --bind-address=127.0.0.1 --leader-elect=false

# syncFrequency decides how soon an expanded volume is larger in a running Pod, volumeStatsAggPeriod how soon the kubelet
# knows what is used. Profile 1m is the kubelet's own defaults. An image that is collected could never be pulled again,
# hence 100.
sync=$(<"$RUN/sync")
case $sync in 1m) stats=1m ;; *) stats=5s ;; esac
echo "nameserver $NODE_IP" >"$RUN/resolv.conf"
cat >/run/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true, cacheTTL: 5s}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 5s, cacheUnauthorizedTTL: 1s}}
tlsCertFile: $pki/kubelet-server.crt
tlsPrivateKeyFile: $pki/kubelet-server.key
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix://$SOCKET
clusterDomain: cluster.local
clusterDNS: [$NODE_IP]
resolvConf: $RUN/resolv.conf
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
volumeStatsAggPeriod: $stats
syncFrequency: $sync
nodeStatusUpdateFrequency: 5s
registryPullQPS: 0
maxPods: 250
END
run kubelet cluster kubelet --config=/run/kubelet.yaml --kubeconfig="$pki/kubelet.kubeconfig" --root-dir=/var/lib/kubelet \
  --hostname-override=node1 --node-ip="$NODE_IP"

cat >/run/kube-proxy.yaml <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $PODS.0.0/16
hostnameOverride: node1
clientConnection: {kubeconfig: $pki/kube-proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END
run kube-proxy cluster kube-proxy --config=/run/kube-proxy.yaml

cat >/run/Corefile <<END
cluster.local:53 {
  bind $NODE_IP
  errors
  cache 5
  kubernetes cluster.local {
    kubeconfig $pki/coredns.kubeconfig rso-$CLUSTER_ID
  }
}
END
run coredns coredns -conf /run/Corefile

if [ -e "$RUN/with-csi" ]; then
  run csi-provisioner csi-provisioner --kubeconfig="$pki/csi-provisioner.kubeconfig" --csi-address="$plugin/csi.sock" \
    --feature-gates=Topology=true --leader-election=false --volume-name-prefix=pvc
  # Without the limits, a resizer sends 5 requests a second, after a burst of 10. These are the ones of the chart of
  # aws-ebs-csi-driver (429e202), the lowest of a driver that sets them; vsphere-csi-driver has 100 and 100.
  run csi-resizer csi-resizer --kubeconfig="$pki/csi-resizer.kubeconfig" --csi-address="$plugin/csi.sock" --leader-election=false \
    --kube-api-qps=20 --kube-api-burst=100
fi

while :; do wait -n || true; done
