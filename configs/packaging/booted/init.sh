#!/bin/sh
# init.sh BASE ROOT SHARE: becomes systemd, process 1 of namespaces of its own.
# BASE is the tar of a Debian, ROOT where it goes, SHARE the folder that is
# /srv in there: story.sh is what it plays.
set -eu
base=$1 root=$2 share=$3
hostname lon
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
tar -C "$root" -xf "$base"
mount --bind "$share" "$root/srv"

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for d in null zero full random urandom tty; do
	touch "$root/dev/$d"
	mount --bind "/dev/$d" "$root/dev/$d"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"

rm -f "$root/usr/sbin/policy-rc.d"
echo lon >"$root/etc/hostname"
echo "127.0.0.1 localhost lon" >"$root/etc/hosts"
ln -sf /dev/null "$root/etc/systemd/system/bird.service"
# The story ends the machine with its own status.
cat >"$root/etc/systemd/system/story.service" <<'EOF'
[Unit]
Description=What test-package plays
[Service]
Type=exec
Environment=HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/bin/bash /srv/story.sh
ExecStopPost=/bin/sh -c 'journalctl -b --no-pager -o short-precise >/srv/journal; systemctl exit $EXIT_STATUS'
StandardOutput=append:/srv/log
StandardError=append:/srv/log
EOF
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../story.service "$root/etc/systemd/system/multi-user.target.wants/"

cd "$root"
mkdir old
pivot_root . old
umount -l old
rmdir old
exec env -i container=other /lib/systemd/systemd --log-target=journal --show-status=0 </dev/null >/dev/null 2>&1
