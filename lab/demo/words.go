package demo

import (
	"fmt"
	"strings"
)

// opening says what is about to happen.
func (s style) opening(root bool) string {
	how := "Six nodes in network namespaces inside a user namespace: no root, no Docker"
	if root {
		how = "Six nodes in network namespaces; nothing of this host is touched"
	}
	return s.paint(bold, "Three POPs announce one service by anycast: 192.0.2.1 and 2001:db8:100::1.") + `

    client --- t1 --- t2 --- FRA      LON is the nearest POP, then comes FRA,
               |      |               and then NYC (it announces with MED 100).
              LON    NYC              t1 and t2 are routers: real kernel routes.

` + how + ".\n"
}

// invitation says what can be done with a world that was left up.
func (s style) invitation(w *world, bin string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say := func(command, what string) { line("  %s # %s", pad(command, 32), what) }
	line("\n%s", s.paint(bold, "The world stays up. In another terminal:"))
	line("  cd %s", w.run(""))
	line("  export PATH=$PATH:%s CATCHMENT_SOCKET=%s/catchment.sock", bin, lon.node)
	say("catchment status", "of LON; --socket fra/catchment.sock for FRA")
	say("catchment explain "+ipv4.prefix.String(), "what it announces, and why")
	say("catchment journal -f", "what it decides, as it happens")
	say("catchment drain "+serviceName, "and undrain")
	say("touch lon/sick", "its check fails; rm lon/sick mends it")
	line("  catchment lab signal %s lon lab-serve KILL", w.lab.Name())
	line("  catchment lab exec %s lon lab-serve --name LON    # starts it again", w.lab.Name())
	line("  catchment lab exec %s client lab-fetch --url http://%v/", w.lab.Name(), ipv4.vip.Addr())
	say("catchment lab down "+w.lab.Name(), "the end; so is Ctrl-C here")
	line("Logs of all nodes: %s", w.lab.Dir())
	return b.String()
}
