#!/usr/bin/env bash
# Installs the operator, or brings an installed one up to this checkout's chart and image.
# usage: deploy.sh [HELM FLAG...]   With CLUSTER=current: into the cluster of your kubeconfig, with the image named in IMAGE.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/env.sh"
export PATH=$BIN:$PATH

values=()
if [ "${CLUSTER:-}" = current ]; then
  [ -n "${IMAGE:-}" ] || die "CLUSTER=current needs an image that cluster can pull: make deploy CLUSTER=current IMAGE=registry.example/rso:tag [AGENT_IMAGE=…]"
else
  export KUBECONFIG=$ADMIN
  "$HERE/load.sh" "$BUILT/rso.tar" "$BUILT/rso-agent.tar"
  IMAGE=localhost/rso:dev AGENT_IMAGE=localhost/rso-agent:dev
  # The tag stays the same, so the content decides whether the pods are replaced.
  sum=$(sha256sum "$BUILT/rso.tar")
  values+=(--set-string "podAnnotations.image-checksum=${sum:0:16}")
fi
values+=(--set-string "image.repository=${IMAGE%:*},image.tag=${IMAGE##*:}")
[ -z "${AGENT_IMAGE:-}" ] || values+=(--set-string "agent.image.repository=${AGENT_IMAGE%:*},agent.image.tag=${AGENT_IMAGE##*:}")

helm upgrade --install rso "$TOP/chart" --namespace rso-system --create-namespace --wait --timeout 2m "${values[@]}" "$@"
since "deployed"
