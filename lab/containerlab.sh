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
# within COMMAND...: what is left of the time; its end is a kill.
within() { timeout --foreground -s KILL $((limit > SECONDS ? limit - SECONDS : 1)) "$@"; }

[ "$(uname -s)" = Linux ] || skip "Docker's containers need Linux"
sudo=()
if [ "$(id -u)" -ne 0 ]; then
	sudo -n true 2>/dev/null || skip "Docker needs root, or sudo without a password"
	sudo=(sudo)
fi
unshare=(unshare --mount --net --ipc --uts --pid --fork --kill-child --mount-proc)
"${sudo[@]}" "${unshare[@]}" true 2>/dev/null || skip "this machine lets nobody make namespaces"
"$here/deps.sh" dockerd docker.io mmdebstrap mmdebstrap ip iproute2 \
	/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring ||
	skip "docker.io and mmdebstrap are not here and cannot be installed"
"$here/deps.sh" docker docker-cli || skip "there is no docker command"

work=$(mktemp -d "${TMPDIR:-/tmp}/catchment-containerlab.XXXXXX")
export CATCHMENT_LAB_GROUP="catchment-lab-$$" # the cgroup of all containers
clean() {
	"${sudo[@]}" find /sys/fs/cgroup -depth -type d -path "*/$CATCHMENT_LAB_GROUP*" -exec rmdir {} \; 2>/dev/null || true
	"${sudo[@]}" rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# containerlab, pinned in lab/clab/go.mod. It insists on /proc/modules, which
# a kernel without modules has not: for such a kernel the build reads an empty
# file instead.
module=github.com/srl-labs/containerlab
program=$bin/containerlab-$(cat "$here"/clab/go.{mod,sum} | sha256sum | cut -c1-12)
[ -e /proc/modules ] || program+=-nomod
if [ ! -x "$program" ]; then
	say "build containerlab, some minutes the first time"
	cp -r "$here/clab" "$work/clab"
	cd "$work/clab"
	if [ ! -e /proc/modules ]; then
		cp -r "$(go mod download -json $module | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')" source
		chmod -R u+w source
		sed -i 's|os.Open("/proc/modules")|os.Open(os.DevNull)|' source/utils/kernel_module.go
		go mod edit -replace=$module=./source
	fi
	CGO_ENABLED=0 within go build -mod=readonly -trimpath -ldflags '-s -w' -o "$program.new" $module
	mv "$program.new" "$program"
	cd "$here"
fi

# The base of all images, under the name the Dockerfiles ask for: Debian with
# a folder of the packages that they install, as its only source.
say "make debian:bookworm-slim from packages"
packages=$(sed -n 's/.*--no-install-recommends \([^&]*\) &&.*/\1/p' "$here"/images/{frr,bird,pop,client}/Dockerfile | tr '\n' ' ')
within "${sudo[@]}" mmdebstrap --quiet --mode=root --variant=minbase \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io \
	--customize-hook="$here/clab/packages.sh \"\$1\" $packages" bookworm "$work/base.tar"

say "start Docker in namespaces of its own"
[ $# -gt 0 ] || set -- "$here/testdata/failover.txt"
status=0
within "${sudo[@]}" "${unshare[@]}" "$here/clab/inside.sh" "$work" "$program" "$CATCHMENT_LAB_GROUP" "$@" || status=$?
case $status in
0) say "containerlab: all stories were seen" ;;
77) skip "$("${sudo[@]}" cat "$work/reason")" ;;
137) say "stopped: not done after $limit s"; exit 1 ;;
*) exit "$status" ;;
esac
