package demo

import (
	"fmt"
	"strings"
)

// opening says what is about to happen.
func (s style) opening(root bool) string {
	how := "in network namespaces inside a user namespace: no root, no Docker"
	if root {
		how = "in network namespaces; nothing of this host is touched"
	}
	return s.paint(bold, "Three POPs announce the anycast addresses 192.0.2.1 and 2001:db8:100::1,") + `

    client --- t1 --- t2 --- FRA      LON is the nearest POP, then comes FRA,
               |      |               and then NYC (it announces with MED 100).
              LON    NYC              t1 and t2 are routers: real kernel routes.

` + how + ".\n"
}

// invitation says what can be done with a world that was left up.
func (s style) invitation(w *world) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say := func(command, what string) { line("  %s# %s", pad(command, 50), what) }
	line("\n%s", s.paint(bold, "The world stays up. In another terminal:"))
	line("  cd %s", w.run(""))
	say("catchment --socket lon/catchment.sock status", "or fra, nyc, t1, t2")
	say("catchment --socket lon/catchment.sock explain "+ipv4.prefix.String(), "why")
	say("catchment --socket lon/catchment.sock journal", "what happened")
	say("catchment --socket lon/catchment.sock drain "+serviceName, "then undrain")
	say("touch lon/sick", "its check fails; rm mends it")
	line("  catchment lab exec demo client lab-fetch --url http://%v/", ipv4.vip.Addr())
	line("  catchment lab exec demo lon sh")
	say("catchment lab down demo", "or Ctrl-C here: the end")
	line("Logs of all nodes: %s", w.lab.Dir())
	return b.String()
}
