#!/usr/bin/env bash
# Packs a folder as a container image, without a container program: the archive `docker save` would write.
# The same folder gives the same bytes.
# usage: image.sh NAME:TAG FOLDER ARCHIVE [--entrypoint PROGRAM] [--user ID]
set -euo pipefail
[ $# -ge 3 ] || { sed -n '4s/^# //p' "$0" >&2; exit 2; }
name=$1 folder=$2 archive=$3; shift 3
entrypoint='' user=''
while [ $# -gt 0 ]; do
  case $1 in
    --entrypoint) entrypoint="\"Entrypoint\":[\"$2\"],"; shift 2 ;;
    --user) user="\"User\":\"$2\","; shift 2 ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
done
case $(uname -m) in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; *) machine=$(uname -m) ;; esac

pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu "$@"; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
pack -C "$folder" -cf "$work/layer.tar" .
digest=$(sha256sum "$work/layer.tar"); digest=${digest%% *}
printf '{"architecture":"%s","os":"linux","config":{%s%s"Env":["PATH=/usr/local/bin:/usr/bin:/bin:/sbin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
  "$machine" "$user" "$entrypoint" "$digest" >"$work/config.json"
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" >"$work/manifest.json"
mkdir -p "$(dirname "$archive")"
pack -C "$work" -cf "$archive.new" manifest.json config.json layer.tar
mv "$archive.new" "$archive"
