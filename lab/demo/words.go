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
	line("\n%s", s.paint(bold, "The world stays up. In another terminal:"))
	line("  cd %s", w.run(""))
	line("  catchment --socket lon/catchment.sock status        # also fra, nyc, t1, t2")
	line("  catchment --socket lon/catchment.sock explain %v", ipv4.prefix)
	line("  catchment --socket lon/catchment.sock journal")
	line("  catchment --socket lon/catchment.sock drain %s     # and undrain", serviceName)
	line("  touch lon/sick; rm lon/sick                         # fail and mend a check")
	line("Logs: %s. Ctrl-C here ends the world.", w.lab.Dir())
	return b.String()
}
