#!/usr/bin/env bash
# Plays stories under containerlab itself, on Docker: lab/containerlab.sh
# [STORY...], failover by default. It shows that what netlab understands by a
# topology is what containerlab does.
#
# Docker and all networks live in namespaces made for this run: no daemon,
# image, bridge, firewall rule or host name of this machine is touched, and
# all of it ends with them. Images come from no registry: their base is made
# from Debian's packages. What stays are the Debian packages named below and
# bin/containerlab-*, so that the next run need not build it.
#
# Where Docker cannot start it says "skipped" with the reason and exits 0.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$(dirname "$here")/bin
limit=600 # seconds, for everything
skip() {
	echo "lab-containerlab: skipped: $*"
	exit 0
}
say() { printf '%4d s  %s\n' $SECONDS "$*"; }
# within COMMAND...: runs it for what is left of the time, then kills it; and
# at once when this script is told to stop (ALRM is timeout's own signal).
# as_root does the same in namespaces of its own, all of which end with it.
child=""
within() { wait_for timeout -s KILL $((limit > SECONDS ? limit - SECONDS : 1)) "$@"; }
as_root() { wait_for "${sudo[@]}" timeout -s KILL $((limit > SECONDS ? limit - SECONDS : 1)) "${unshare[@]}" "$@"; }
wait_for() {
	"$@" &
	child=$!
	local status=0
	wait $child 2>/dev/null || status=$?
	child=""
	[ $status -ne 137 ] || say "not done after $limit s"
	return $status
}
stop() { # exit status
	trap '' INT TERM
	[ -z "$child" ] || { "${sudo[@]}" kill -ALRM "$child" && wait "$child"; } || true
	exit "$1"
}

[ "$(uname -s)" = Linux ] || skip "Docker's containers need Linux"
sudo=()
if [ "$(id -u)" -ne 0 ]; then
	sudo -n true 2>/dev/null || skip "Docker needs root, or sudo without a password"
	sudo=(sudo)
fi
unshare=(unshare --mount --ipc --uts --pid --fork --kill-child --mount-proc)
"${sudo[@]}" "${unshare[@]}" --net true 2>/dev/null || skip "this machine lets nobody make namespaces"
"$here/deps.sh" dockerd docker.io mmdebstrap mmdebstrap ip iproute2 \
	/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring ||
	skip "docker.io and mmdebstrap are not here and cannot be installed"
"$here/deps.sh" docker docker-cli || skip "there is no docker command"

work=$(mktemp -d "${TMPDIR:-/tmp}/catchment-containerlab.XXXXXX")
chmod 755 "$work"
group=catchment-lab-$$ # the cgroup of all containers
clean() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do # the last process may still be ending
		"${sudo[@]}" find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} \; 2>/dev/null || true
		[ -n "$(find /sys/fs/cgroup -maxdepth 2 -name "$group" 2>/dev/null)" ] || break
		sleep 0.2
	done
	"${sudo[@]}" rm -rf --one-file-system "$work"
}
trap clean EXIT
trap 'stop 130' INT
trap 'stop 143' TERM

# containerlab, pinned in lab/clab/go.mod. It insists on /proc/modules, which
# a kernel without modules has not: for such a kernel the build reads an empty
# file instead.
module=github.com/srl-labs/containerlab
program=$bin/containerlab-$(cat "$here"/clab/go.{mod,sum} | sha256sum | cut -c1-12)
[ -e /proc/modules ] || program+=-nomod
if [ ! -x "$program" ]; then
	say "build containerlab, some minutes the first time"
	cp -r "$here/clab" "$work/clab"
	if [ ! -e /proc/modules ]; then
		source=$(go mod download -C "$work/clab" -json $module | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
		cp -r "$source" "$work/clab/source"
		chmod -R u+w "$work/clab/source"
		sed -i 's|os.Open("/proc/modules")|os.Open(os.DevNull)|' "$work/clab/source/utils/kernel_module.go"
		go mod edit -C "$work/clab" -replace=$module=./source
	fi
	CGO_ENABLED=0 within go build -C "$work/clab" -mod=readonly -trimpath -ldflags '-s -w' -o "$work/containerlab" $module
	mkdir -p "$bin"
	mv "$work/containerlab" "$program"
fi

# The base of all images, under the name the Dockerfiles ask for: Debian with
# a folder of the packages that they install, as its only source.
say "make debian:bookworm-slim from packages"
packages=$(sed -n 's/.*--no-install-recommends \([^&]*\) &&.*/\1/p' "$here"/images/{frr,bird,pop,client}/Dockerfile | tr '\n' ' ')
as_root env TMPDIR="$work" mmdebstrap --quiet --mode=root --variant=minbase \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io \
	--customize-hook="$here/clab/packages.sh \"\$1\" $packages" bookworm "$work/base.tar"

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} "$here/../configs/packaging/image.sh" "$bin" "$work/image"
cp "$here/../configs/minimal.yaml" "$work/"

say "start Docker in namespaces of its own"
[ $# -gt 0 ] || set -- "$here/testdata/failover.txt"
status=0
as_root --net "$here/clab/inside.sh" "$work" "$program" "$group" "$@" || status=$?
case $status in
0) say "containerlab: all stories were seen" ;;
77) skip "$("${sudo[@]}" cat "$work/reason")" ;;
*) exit "$status" ;;
esac
