#!/usr/bin/env bash
# Makes the cluster's certificate authority, every server and client certificate, and a kubeconfig per client.
# usage: certs.sh FOLDER
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
mkdir -p "$1"; cd "$1"; umask 077

authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 3650 -subj /CN=rso-test-cluster \
    -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2>/dev/null
}

certificate() { # name subject usage [alternative names]
  openssl req -x509 -CA ca.crt -CAkey ca.key -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.crt" \
    -days 3650 -subj "$2" -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
    -addext "extendedKeyUsage=$3" ${4:+-addext "subjectAltName=$4"} 2>/dev/null
}

# The certificates are inside, so the file can be copied anywhere.
client() { # name subject
  certificate "$1" "$2" clientAuth
  cat >"$1.kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: rso-$CLUSTER_ID
contexts: [{name: rso-$CLUSTER_ID, context: {cluster: rso-$CLUSTER_ID, user: $1}}]
clusters: [{name: rso-$CLUSTER_ID, cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
END
  chmod 600 "$1.kubeconfig"
}

authority
openssl ecparam -genkey -name prime256v1 -noout -out service-account.key 2>/dev/null
openssl ec -in service-account.key -pubout -out service-account.pub 2>/dev/null

api=kubernetes.default.svc
certificate apiserver /CN=kube-apiserver serverAuth \
  "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:$api,DNS:$api.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:$SERVICES.0.1"
certificate kubelet-server /CN=node1 serverAuth "DNS:node1,IP:$NODE_IP,IP:127.0.0.1"
certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
certificate front-proxy-client /CN=front-proxy-client clientAuth
client admin /O=system:masters/CN=admin
client kube-controller-manager /CN=system:kube-controller-manager
client kube-scheduler /CN=system:kube-scheduler
client kube-proxy /CN=system:kube-proxy
client kubelet /O=system:nodes/CN=system:node:node1
# Names of their own, so that the audit log tells these requests from a person's.
client coredns /O=system:masters/CN=system:coredns
client csi-provisioner /O=system:masters/CN=system:csi-provisioner
client csi-resizer /O=system:masters/CN=system:csi-resizer
