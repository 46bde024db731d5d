#!/bin/bash
# The life of the Debian package on a booted machine, as its operator lives it:
# install, a mistake, start, reload, restart, hang, crash, upgrade, stop,
# remove, purge. A router (BIRD, with the configuration that the package hands
# out) lives in the network namespace "router"; what its kernel forwards by,
# what it was told by BGP, and pings through it say what traffic felt.
#
# Runs as a unit of that machine, never by hand: see ../booted.sh.
set -euo pipefail
say() { printf '        %5.1f s  %s\n' "$(($(date +%s%N) / 100000000 - start))e-1" "$*"; }
start=$(($(date +%s%N) / 100000000))
fail() {
	say "FAILED: $*"
	systemctl status --no-pager --lines=30 catchmentd || true
	on_router birdc show protocols all || true
	on_router ip route || true
	exit 1
}
is() { # WHAT GOT WANT
	[ "$2" = "$3" ] || fail "$1 is \"$2\", not \"$3\""
}
has() { # WHAT TEXT PART
	case $2 in *"$3"*) ;; *) fail "$1 does not say \"$3\": $2" ;; esac
}
within() { # SECONDS WHAT COMMAND...: until the command succeeds
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || fail "$what: not in time"
		sleep 0.1
	done
}
on_router() { ip netns exec router "$@"; }
property() { systemctl show -P "$1" catchmentd; }
journaled() { journalctl -q --no-pager -o cat --since "@$1" -u catchmentd | grep -F -q -- "$2"; }
status_says() { [[ $(systemctl status --no-pager catchmentd || true) == *"$1"* ]]; }
active() { [ "$(property ActiveState)/$(property SubState)" = active/running ]; }
another() { active && [ "$(property MainPID)" != "$1" ]; } # another process than PID

# What the router knows, and what it did.
route() { on_router ip "$1" route show "$2"; }
routed() { [ -n "$(route -4 192.0.2.0/24)" ] && [ -n "$(route -6 2001:db8:100::/48)" ]; }
unrouted() { [ -z "$(route -4 192.0.2.0/24)$(route -6 2001:db8:100::/48)" ]; }
# Both sessions of BGP, and both of BFD beside them, as the daemon sees them: a
# router may take those of BFD for alive for a while after a crash.
settled() { [ "$(catchment status | grep -E -c '^(10\.0\.0\.2|2001:db8:1::2) .*established.* up( |$)')" -eq 2 ]; }
# Both, and for a while: after a crash a session that the router takes for alive
# may fall once more, and its routes with it.
steady() {
	for _ in $(seq 15); do
		routed && settled || return 1
		sleep 0.1
	done
}
told() { # withdraws heard by BGP, in the sessions' lives
	journalctl -q --no-pager -o cat -u router -u router-routes --since "@$1" | grep -F -c -- "$2" || true
}
# The router never lost a route from SINCE on; pings are still answered.
untouched() { # SINCE WHAT
	journalctl --sync
	is "$2: routes that the router's kernel lost" "$(told "$1" Deleted)" 0
	is "$2: routes withdrawn by BGP" "$(told "$1" "> removed")" 0
	routed || fail "$2: the router lost a route"
}
ping_start() {
	ip netns exec router ping -q -n -i 0.02 -W 1 192.0.2.1 >/run/ping4 &
	ping4=$!
	ip netns exec router ping -q -n -i 0.02 -W 1 2001:db8:100::1 >/run/ping6 &
	ping6=$!
}
ping_lost_none() { # WHAT
	local f
	kill -INT $ping4 $ping6
	wait $ping4 $ping6 || true
	for f in /run/ping4 /run/ping6; do
		grep -q ' 0% packet loss' $f || fail "$1: $(cat $f)"
	done
}

systemctl is-system-running --wait >/dev/null || fail "the machine is not well: $(systemctl --failed --no-pager)"
say "booted: $(systemctl --version | head -n 1), process 1 is $(cat /proc/1/comm)"

# ---- the network, the router and the service
ip link set lo up
ip netns add router
on_router ip link set lo up
ip link add eth0 type veth peer name eth0 netns router
for side in 1 2; do
	at=""
	[ $side = 1 ] || at="ip netns exec router"
	$at ip link set eth0 up
	$at ip address add 10.0.0.$side/24 dev eth0
	$at ip address add 2001:db8:1::$side/64 dev eth0 nodad
done
cat >/etc/systemd/system/web@.service <<'EOF'
[Unit]
CollectMode=inactive-or-failed
[Service]
ExecStart=/bin/bash -c 'while read -r l && [ "$${l%%$$(printf "\\r")}" ]; do :; done; printf "HTTP/1.0 200 OK\r\n\r\nhello\n"'
StandardInput=socket
StandardError=journal
EOF
cat >/etc/systemd/system/web.socket <<'EOF'
[Socket]
ListenStream=192.0.2.1:80
ListenStream=[2001:db8:100::1]:80
FreeBind=yes
Accept=yes
EOF

# ---- install
since=$(date +%s)
dpkg -i /srv/old.deb >/run/dpkg 2>&1 || fail "$(cat /run/dpkg)"
is "the unit after installation" "$(systemctl is-enabled catchmentd) $(systemctl is-active catchmentd)" "disabled inactive"
is "the user" "$(getent passwd catchment | cut -d: -f1,6,7)" catchment:/var/lib/catchment:/usr/sbin/nologin
is "what dpkg finds changed" "$(dpkg --verify catchment)" ""
say "installed: neither enabled nor started"

# ---- a mistake: the configuration as it comes says nothing
if systemctl start catchmentd 2>/run/start; then fail "an empty configuration is taken"; fi
has "systemctl start" "$(cat /run/start)" "systemctl status catchmentd"
within 5 "the journal says what is wrong" journaled "$since" "pop: not set: name this POP"
within 5 "systemctl status says what is wrong" status_says 'Status: "configuration refused: /etc/catchment/catchment.yaml: pop: not set: name this POP'
systemctl stop catchmentd
say "a wrong configuration: systemctl start fails, status and journal name the key"

# ---- the example of the package, with one POP only, a shorter drain, and BFD
# that bears a machine with much else to do
examples=/usr/share/doc/catchment/examples
sed -e '/^# The other POPs/,$d' -e 's/^\(  - {neighbor: [^}]*\)}$/\1, multiplier: 20}/' -e 's/^    ladder:/    hold-down: 1s\n    drain: {wait: 2s}\n    ladder:/' \
	$examples/minimal.yaml >/etc/catchment/catchment.yaml
grep -q 'drain: {wait: 2s}' /etc/catchment/catchment.yaml
is "patient BFD sessions" "$(grep -c '^  - {neighbor: .*multiplier: 20}' /etc/catchment/catchment.yaml)" 2
install -m 640 -o root -g bird $examples/routers/bird.conf /etc/bird/bird.conf
sed -i -e 's/^log .*/log stderr all; debug protocols { states, routes };/' -e 's/multiplier 3/multiplier 20/' /etc/bird/bird.conf
systemctl start web.socket
systemd-run -q --unit=router -p NetworkNamespacePath=/run/netns/router -p RuntimeDirectory=bird bird -f -c /etc/bird/bird.conf
systemd-run -q --unit=router-routes -p NetworkNamespacePath=/run/netns/router ip -o monitor route
systemctl enable --now catchmentd 2>/run/start || fail "$(cat /run/start)"
is "the unit" "$(property Type) $(property ActiveState) $(property SubState) $(property Result) $(property UnitFileState)" \
	"notify active running success enabled"
has "systemctl status" "$(systemctl status --no-pager catchmentd)" "Active: active (running)"
within 30 "the router has the routes" routed
say "started, enabled: active (Type=notify), routes at the router"
[ "$(on_router bash -c 'exec 3<>/dev/tcp/192.0.2.1/80; printf "GET / HTTP/1.0\r\n\r\n" >&3; cat <&3' | tail -n 1)" = hello ] ||
	fail "no answer from the service through the router"

# ---- hardening, as it is in force in the process
pid=$(property MainPID)
field() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status"; }
for set in CapPrm CapEff CapBnd CapAmb; do # NET_BIND_SERVICE, NET_ADMIN, NET_RAW
	is "$set" "$(field $set)" 0000000000003400
done
is NoNewPrivs "$(field NoNewPrivs)" 1
is "Seccomp (2: filters)" "$(field Seccomp)" 2
is "the user of the process" "$(field Uid | cut -f 1-4)" "$(id -u catchment | sed 's/.*/&\t&\t&\t&/')"
inside() { nsenter -t "$pid" -m -- "$@"; } # as root, and all the same:
for dir in /usr /usr/bin /etc /etc/catchment /var /boot; do
	if inside touch $dir/written 2>/run/touch; then fail "$dir can be written to"; fi
	has "touch $dir/written" "$(cat /run/touch)" "Read-only file system"
done
for dir in /var/lib/catchment /run/catchment /tmp; do
	inside touch $dir/written || fail "$dir cannot be written to"
	inside rm $dir/written
done
if inside sh -c 'echo 1 >/proc/sys/kernel/panic' 2>/dev/null; then fail "kernel settings can be written to"; fi
for dir in /tmp /dev; do
	touch $dir/of-the-machine
	if inside test -e $dir/of-the-machine; then fail "$dir is the machine's"; fi
done
is "who may read the state" "$(stat -c '%U:%G %a' /var/lib/catchment /run/catchment | tr '\n' ' ')" "catchment:catchment 750 catchment:catchment 750 "
systemd-analyze security --no-pager --threshold=22 catchmentd >/run/security || fail "$(grep -v ✓ /run/security)"
say "hardening in force: three capabilities, no new privileges, system calls filtered, only its own folders writable"
say "systemd-analyze security: $(sed -n 's/.*Overall exposure level for [^:]*: //p' /run/security | cut -d' ' -f 1,2)"

# ---- reload: taken, and refused
since=$(date +%s.%N)
sed -i 's/drain: {wait: 2s}/drain: {wait: 3s}/' /etc/catchment/catchment.yaml
systemctl reload catchmentd
within 5 "reload is journaled" journaled "$since" "reloaded"
cp /etc/catchment/catchment.yaml /run/right.yaml
echo "no-such-key: 1" >>/etc/catchment/catchment.yaml
since=$(date +%s.%N)
if systemctl reload catchmentd 2>/run/reload; then fail "systemctl reload with a mistake succeeds"; fi
has "systemctl reload" "$(cat /run/reload)" "systemctl status catchmentd"
within 5 "the mistake is in the journal" journaled "$since" "no-such-key"
within 5 "systemctl status says what is wrong" status_says 'Status: "POP LON; reload refused, nothing has changed: '
cp /run/right.yaml /etc/catchment/catchment.yaml
is "the process after reloads" "$(property ActiveState) $(property MainPID)" "active $pid"
untouched "$since" reload
say "reload: taken; with a mistake systemctl reload fails, status and journal say why, and nothing changes"

# ---- restart
since=$(date +%s.%N)
within 10 "sessions" settled
ping_start
sleep 0.5
systemctl restart catchmentd
another "$pid" || fail "the process is the same after restart"
within 30 "sessions after restart" settled
within 30 "decisions after restart" sh -c 'catchment services -j | grep -q "\"up\""'
sleep 3 # what was stale would now go
untouched "$since" restart
ping_lost_none restart
say "restart: another process, no route withdrawn or lost, no ping lost"

# ---- it hangs: the watchdog
pid=$(property MainPID)
since=$(date +%s.%N)
at=$SECONDS
kill -STOP "$pid"
within 20 "another process after a hang" another "$pid"
within 5 "the journal says why" journaled "$since" "Watchdog timeout"
is "restarts by systemd" "$(property NRestarts)" 1
within 30 "routes and sessions after the hang" steady
say "hang (SIGSTOP): killed by the watchdog and started again after $((SECONDS - at)) s"

# ---- it crashes
pid=$(property MainPID)
kill -KILL "$pid"
within 10 "another process after a crash" another "$pid"
within 30 "routes and sessions after the crash" steady
say "crash (SIGKILL): started again"

# ---- upgrade
pid=$(property MainPID)
old=$(catchment version | sed -n 's/^catchmentd //p')
echo "# mine" >>/etc/catchment/catchment.yaml
# The next version's files of /etc have changed, too: one that was edited here
# stays, the other is taken over.
dpkg-deb -R /srv/new.deb /run/new
for f in catchment/catchment.yaml default/catchmentd; do echo "# the packager's" >>/run/new/etc/$f; done
dpkg-deb -Znone -b /run/new /run/new.deb >/dev/null
since=$(date +%s.%N)
ping_start
dpkg --force-confdef --force-confold -i /run/new.deb >/run/dpkg 2>&1 || fail "$(cat /run/dpkg)"
has "dpkg -i" "$(cat /run/dpkg)" "systemctl restart catchmentd"
is "the process after the upgrade" "$(property ActiveState) $(property MainPID)" "active $pid"
is "the daemon's version before its restart" "$(catchment version | sed -n 's/^catchmentd //p')" "$old"
is "the unit needs a reload" "$(property NeedDaemonReload)" no
systemctl restart catchmentd
another "$pid" || fail "the process is the same after the upgrade's restart"
within 30 "sessions after the upgrade" settled
sleep 3
new=$(catchment version | sed -n 's/^catchmentd //p')
[ -n "$old" ] && [ -n "$new" ] && [ "$old" != "$new" ] || fail "versions: \"$old\", then \"$new\""
untouched "$since" upgrade
ping_lost_none upgrade
is "the mode of the configuration" "$(stat -c '%U:%G %a' /etc/catchment/catchment.yaml)" "root:catchment 640"
is "edited conffile" "$(tail -n 1 /etc/catchment/catchment.yaml)" "# mine"
is "conffile as it was" "$(tail -n 1 /etc/default/catchmentd)" "# the packager's"
[ -e /etc/catchment/catchment.yaml.dpkg-dist ] || fail "the new configuration is not beside the edited one"
say "upgrade from $old to $new: it runs on until told; no route withdrawn or lost, no ping lost"

# ---- stop
since=$(date +%s.%N)
systemctl stop catchmentd
is "the end" "$(property ActiveState) $(property Result) $(property ExecMainStatus)" "inactive success 0"
within 2 "the routes are gone" unrouted
journalctl --sync
is "routes withdrawn by BGP" "$(told "$since" "> removed")" 2
say "stop: drained, withdrawn by BGP, exit status 0"

# ---- remove and purge
systemctl start catchmentd
within 30 "routes before the removal" routed
dpkg -r catchment >/run/dpkg 2>&1 || fail "$(cat /run/dpkg)"
within 2 "the routes are gone with the package" unrouted
if grep -q -x catchmentd /proc/[0-9]*/comm 2>/dev/null; then fail "it runs on after its removal"; fi
[ -d /var/lib/catchment/journal ] || [ -n "$(ls /var/lib/catchment)" ] || fail "its removal took the state along"
[ -e /etc/catchment/catchment.yaml ] || fail "its removal took the configuration along"
[ -n "$(ip address show to 192.0.2.1)" ] || fail "its removal took the address of a service along that still runs"
is "the unit after the removal" "$(property LoadState)" not-found
dpkg -P catchment >/run/dpkg 2>&1 || fail "$(cat /run/dpkg)"
rm -rf /run/new /run/new.deb
left=$(find / -xdev \( -path /srv -o -path /proc -o -path /var/log/journal \) -prune -o \
	\( -iname '*catchment*' -o -user catchment -o -group catchment \) -print)
is "what the purge left" "$left" ""
left=$(find /run -xdev \( -iname '*catchment*' -o -user catchment \) -print | grep -v '^/run/systemd/' || true)
is "what the purge left in /run" "$left" ""
[ -z "$(ip address show dev lo scope global)" ] || fail "addresses stay: $(ip address)"
getent passwd catchment >/dev/null || fail "the user is gone: files of its may remain elsewhere"
say "removed and purged: nothing is left but the user, as Debian recommends"
touch /srv/seen
