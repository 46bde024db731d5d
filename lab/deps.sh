#!/bin/sh
# Installs the Debian packages that the tests and labs need, and only those
# that are missing. Says what it will do before it does it. With arguments,
# pairs of a program and its package, it looks for those instead.
set -eu
need=""
want() { # program or file, package
	command -v "$1" >/dev/null 2>&1 || [ -e "$1" ] || need="$need $2"
}
PATH="$PATH:/usr/sbin:/sbin"
if [ $# -gt 0 ]; then
	while [ $# -gt 1 ]; do
		want "$1" "$2"
		shift 2
	done
else
	want /usr/lib/frr/bgpd frr
	want bird bird2
	want /usr/sbin/bgpctl openbgpd
	want exabgp exabgp
	want nginx nginx-light
	want curl curl
	want ip iproute2
	want ping iputils-ping
	want tcpdump tcpdump
	want tmux tmux
	want groff groff-base
	want /usr/share/bash-completion/bash_completion bash-completion
	want chromium chromium
	want /usr/share/fonts/opentype/inter/Inter-Regular.otf fonts-inter
	want stayrtr stayrtr
fi
[ -n "$need" ] || exit 0
echo "The tests run against real programs. Missing, to be installed with apt-get:$need"
command -v apt-get >/dev/null 2>&1 || { echo "This is no Debian or Ubuntu: install them by hand."; exit 1; }
sudo=""
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null 2>&1 || { echo "Run as root: apt-get install$need"; exit 1; }
	sudo=sudo
fi
# A package's service must not start on this host: only namespaces run routers.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
	$sudo chmod +x "$policy"
	made=yes
fi
trap '[ -z "$made" ] || $sudo rm -f "$policy"' EXIT
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >/dev/null
