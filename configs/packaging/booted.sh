#!/usr/bin/env bash
# Plays booted/story.sh, the life of the Debian package under systemd, on a
# machine that is clean and booted: booted.sh OLD.deb NEW.deb.
#
# The machine is Debian made from its packages, with systemd as process 1, in
# namespaces and a cgroup of its own and all in memory: no file, unit, user,
# route or process of this machine is touched, and all of it ends with this
# script. BASE names the tar of such a Debian, to save the half minute that
# making one takes; it is made there if it is not there.
#
# Where nobody may make namespaces or cgroups it says "skipped" with the reason
# and exits 0.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
limit=180 # seconds, for the story
skip() {
	echo "test-package: skipped: $*"
	exit 0
}
say() { printf '%4d s  %s\n' $SECONDS "$*"; }
[ $# -eq 2 ] || { echo "usage: booted.sh OLD.deb NEW.deb" >&2; exit 2; }

[ "$(uname -s)" = Linux ] || skip "systemd needs Linux"
sudo=()
if [ "$(id -u)" -ne 0 ]; then
	sudo -n true 2>/dev/null || skip "this needs root, or sudo without a password"
	sudo=(sudo)
fi
own=(unshare --mount --pid --fork --kill-child)
"${sudo[@]}" "${own[@]}" --uts --ipc --net --cgroup true 2>/dev/null || skip "this machine lets nobody make namespaces"
cgroups=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
[ -n "$cgroups" ] || skip "no cgroup2 is mounted here"
group=$cgroups/catchment-booted-$$
"${sudo[@]}" mkdir "$group" 2>/dev/null || skip "$cgroups cannot be written to"

work=$(mktemp -d "${TMPDIR:-/tmp}/catchment-booted.XXXXXX")
chmod 755 "$work"
clean() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do # the last process may still be ending
		"${sudo[@]}" find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
		[ -e "$group" ] || break
		sleep 0.2
	done
	"${sudo[@]}" rm -rf --one-file-system "$work"
}
trap clean EXIT

base=${BASE:-$work/base.tar}
if [ ! -e "$base" ]; then
	"$here/../../lab/deps.sh" mmdebstrap mmdebstrap \
		/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring || skip "mmdebstrap cannot be installed"
	say "make a Debian with systemd, from packages"
	# The package's own dependencies are what dpkg would ask for; bird2 is the
	# router beside it.
	"${sudo[@]}" "${own[@]}" --mount-proc env TMPDIR="$work" mmdebstrap --quiet --mode=root --variant=minbase \
		--dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/locale/*' \
		--include=systemd,systemd-sysv,adduser,iproute2,iputils-ping,bird2 bookworm "$base"
fi

mkdir "$work/share" "$work/root"
cp "$1" "$work/share/old.deb"
cp "$2" "$work/share/new.deb"
cp "$here/booted/story.sh" "$work/share/"
: >"$work/share/log"
say "boot it"
tail -n +1 -f "$work/share/log" &
tail=$!
status=0
# Joins the cgroup first: what is made next shows it as the whole.
# shellcheck disable=SC2016
"${sudo[@]}" sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" \
	timeout --foreground -s KILL $limit "${own[@]}" --uts --ipc --net --cgroup \
	"$here/booted/init.sh" "$base" "$work/root" "$work/share" || status=$?
sleep 0.3
kill $tail
wait $tail 2>/dev/null || true
if [ $status -ne 0 ] || [ ! -e "$work/share/seen" ]; then
	grep -v 'web@' "$work/share/journal" 2>/dev/null | tail -n 300 || true
	say "test-package: FAILED with status $status"
	exit 1
fi
say "test-package: all was seen"
