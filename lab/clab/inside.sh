#!/usr/bin/env bash
# inside.sh WORK CONTAINERLAB CGROUP STORY...: the part of lab/containerlab.sh
# that is PID 1 of namespaces of its own. Exits with 77 and $WORK/reason where
# Docker cannot start.
set -euo pipefail
work=$1 containerlab=$2 group=$3
shift 3
lab=$(cd "$(dirname "$0")/.." && pwd)
bin=$(dirname "$lab")/bin
say() { printf '        %s\n' "$*"; }

# Only the files below /run and these two may change, and none is the host's.
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
cp /etc/hosts "$work/hosts"
cp /etc/hosts "$work/hosts.before"
mount --bind "$work/hosts" /etc/hosts
if [ -d /etc/ssh/ssh_config.d ]; then mount -t tmpfs tmpfs /etc/ssh/ssh_config.d; fi
# No AppArmor profile is loaded into a kernel that others use.
if [ -d /sys/kernel/security/apparmor ]; then mount -t tmpfs tmpfs /sys/kernel/security; fi
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG
export DOCKER_BUILDKIT=0 HOME=$work

dockerd --data-root "$work/docker" --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$group" \
	>"$work/dockerd.log" 2>&1 &
dockerd=$!
finish() {
	trap - EXIT
	docker ps --all --quiet 2>/dev/null | xargs --no-run-if-empty docker rm --force >/dev/null 2>&1 || true
	kill "$dockerd" 2>/dev/null || true
	wait "$dockerd" || true
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for ((i = 0; ; i++)); do
	docker version >/dev/null 2>&1 && break
	if ((i > 300)) || ! kill -0 "$dockerd" 2>/dev/null; then
		echo "dockerd does not start: $(grep -v 'level=\(info\|warning\)' "$work/dockerd.log" | tail -n 1)" >"$work/reason"
		exit 77
	fi
	sleep 0.1
done

say "Docker $(docker version --format '{{.Server.Version}}'): build the images"
docker import "$work/base.tar" debian:bookworm-slim >/dev/null
rm "$work/base.tar"
if ! docker run --rm --network none debian:bookworm-slim true 2>"$work/run.log"; then
	echo "Docker starts no containers here: $(tail -n 1 "$work/run.log")" >"$work/reason"
	exit 77
fi
say "the image of make image: build and run"
docker build --quiet --network none --tag catchment "$work/image" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
run=(docker run --network none --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW --cap-add NET_BIND_SERVICE
	--volume "$work/minimal.yaml:/etc/catchment/catchment.yaml:ro")
same() { # WHAT GOT WANT
	[ "$2" = "$3" ] || { echo "image: $1 is \"$2\", not \"$3\""; exit 1; }
}
same --version "$("${run[@]}" --rm catchment --version)" "$("$bin/catchmentd" --version)"
"${run[@]}" --rm catchment --config /etc/catchment/catchment.yaml --check-config >/dev/null
"${run[@]}" --detach --name image-test catchment >/dev/null
for ((i = 0; ; i++)); do
	docker exec image-test catchment status >"$work/run.log" 2>&1 && break
	if ((i > 100)); then
		docker logs image-test
		cat "$work/run.log"
		exit 1
	fi
	sleep 0.1
done
docker stop --time 75 image-test >/dev/null
same "the exit status" "$(docker inspect --format '{{.State.ExitCode}}' image-test)" 0
docker rm --volumes image-test >/dev/null

for image in frr bird pop client; do
	context=$work/images/$image
	mkdir -p "$context"
	cp "$lab/images/$image"/* "$context"
	cp "$bin/catchment" "$bin/catchmentd" "$context"
	if ! docker build --quiet --network none --tag "catchment/$image:lab" "$context" >"$work/build.log" 2>&1; then
		cat "$work/build.log"
		exit 1
	fi
done

for story in "$@"; do
	"$bin/catchment" lab story --containerlab "$containerlab" "$story"
done

left=$(docker ps --all --format '{{.Names}}'; docker network ls --filter type=custom --format 'network {{.Name}}'
	diff "$work/hosts.before" /etc/hosts || true)
if [ -n "$left" ]; then
	echo "containerlab left behind:"
	echo "$left"
	exit 1
fi
