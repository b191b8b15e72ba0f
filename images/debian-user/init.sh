#!/bin/sh
# The guest's first program: runs the checks named in verify=NAME,... in that order (all without it), tells of each on the console, powers off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
ulimit -c 0
cd /tmp || exit 1
uptime() { cut -d ' ' -f 1 /proc/uptime; }
echo "verify begin $(uname -r)"
for name in $(echo "${verify:-$(ls /verify/checks | sed 's/\.sh$//')}" | tr , ' '); do
  echo "verify start $name"
  from=$(uptime)
  { sh "/verify/checks/$name.sh" 2>/tmp/errors; echo $? >/tmp/status; } | tee /tmp/output | sed -u 's/^/verify line /'
  status=$(cat /tmp/status)
  echo "verify output $name"
  base64 /tmp/output
  echo "verify errors $name"
  tail -c 2000 /tmp/errors | base64
  echo "verify end $name $status $from $(uptime)"
done
echo "verify done"
busybox poweroff -f
