#!/usr/bin/env bash
# Records the demo on a terminal of 90 columns, and draws docs/images/demo.svg from the recording, for the README.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
recording=$(mktemp)
trap 'rm -f "$recording"' EXIT
TERM=xterm-256color script --quiet --return --command 'stty cols 90 rows 50; tests/e2e/demo.sh' "$recording" </dev/null
RECORDING=$recording cargo test --locked --quiet --test picture
