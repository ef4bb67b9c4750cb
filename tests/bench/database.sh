#!/bin/sh
# A database that needs 4 MB of room to start. The first time it fills its disk after START seconds, and fails; with ENDS it
# ends when it could start again, as an init container does. /state outlives the container: the times are written there.
trap 'exit 0' TERM

# Writes a word and the centiseconds since the machine started.
record() { read -r up _ </proc/uptime; echo "$1 ${up%.*}${up#*.}" >>/state/times; }

fail() { record failed; exit 1; }

fill() {
  # shellcheck disable=SC2046
  set -- $(stat -f -c '%f %S' /data)
  # All but the last 8 MiB costs nothing.
  fallocate -l $(($1 * $2 - 8388608)) /data/most
  dd if=/dev/zero of=/data/rest bs=1M
}

dd if=/dev/zero of=/data/room bs=1M count=4 conv=fsync || fail
rm /data/room
record wrote
if [ ! -e /state/filled ]; then
  sleep "$START"
  touch /state/filled
  fill
  fail
fi
[ -n "$ENDS" ] || while :; do sleep 1; done
