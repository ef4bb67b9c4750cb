#!/bin/sh
# Writes 50 MB/s to /data from when /tmp/go is there, until it has written 800 MiB more than the volume has room for, or a
# write fails. Prints, 50 times a second at most, when the volume is 80 % full and when it becomes larger.
trap 'exit 0' TERM

# Centiseconds since the machine started.
now() { read -r up _ </proc/uptime; now=${up%.*}${up#*.}; }

watch() {
  was='' used=0 crossed=no
  while :; do
    # shellcheck disable=SC2046
    set -- $(stat -f -c '%b %f' /data)
    if [ "$1" != "$was" ]; then
      [ -z "$was" ] || echo "larger $used"
      was=$1 crossed=no
    fi
    used=$((1000 * ($1 - $2) / $1))
    if [ $crossed = no ] && [ $used -ge 800 ]; then crossed=yes; echo crossed; fi
    usleep 20000
  done
}

write() {
  # shellcheck disable=SC2046
  set -- $(stat -f -c '%f %S' /data)
  pieces=$((($1 * $2 + 800 * 1048576) / 5000000)) written=0
  now; start=$now next=$now
  while [ $written -lt $pieces ]; do
    dd if=/dev/zero of=/data/piece.$written bs=500000 count=10 2>/tmp/error || { echo "failed $(head -n 1 /tmp/error)"; break; }
    written=$((written + 1)) next=$((next + 10))
    now
    # What is late is not caught up: never more than 50 MB/s.
    if [ "$now" -gt $next ]; then next=$now; else usleep $(((next - now) * 10000)); fi
  done
  now; echo "ended $((written * 5)) MB in $((now - start)) cs"
}

watch &
while [ ! -e /tmp/go ]; do usleep 100000; done
write
wait
