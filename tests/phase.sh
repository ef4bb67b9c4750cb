#!/usr/bin/env bash
# Runs one phase of a longer job and tells how long it took: phase.sh NAME COMMAND [ARGUMENT]...
set -uo pipefail
name=$1; shift
printf '\n==> %s\n' "$name"
begin=$SECONDS
"$@"
code=$?
took=$((SECONDS - begin))
if [ "$code" = 0 ]; then
    printf '<== %s: ok, %d s\n' "$name" "$took"
else
    printf '<== %s: FAILED with %d after %d s\n' "$name" "$code" "$took"
fi
# Whoever runs many phases can have them all on one page at the end.
if [ -n "${PHASES:-}" ]; then
    printf '%6d s  %s%s\n' "$took" "$name" "$([ "$code" = 0 ] || echo '  FAILED')" >>"$PHASES"
fi
exit "$code"
