package resync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/netlab"
)

// pops are the nodes that are POPs: what they are called in answers, where they
// are whatever the routes are, and behind which interface of the router.
var pops = map[string]struct{ name, addr, dev string }{
	"lon": {"LON", "10.0.1.2", "eth1"},
	"fra": {"FRA", "10.0.2.2", "eth2"},
}

// What all POPs announce, LON with the better MED.
const (
	vip4, prefix4 = "192.0.2.1", "192.0.2.0/24"
	vip6, prefix6 = "2001:db8:100::1", "2001:db8:100::/48"
)

// kind is what runs in the POPs.
type kind struct {
	name   string
	daemon string // configuration of catchmentd; "": BIRD announces
	resync bool   // with its section resync
	nginx  bool   // serves instead of the daemon
}

var (
	withCatchment = kind{"catchmentd and its cache server", "catchment.yaml", true, false}
	withNginx     = kind{"catchmentd and nginx", "foreign.yaml", true, true}
	withBIRD      = kind{"BIRD and nginx", "", false, true}
)

// lab is a world that is up.
type lab struct {
	*netlab.Lab
	kind kind
	keys string
}

// raise brings a world up and waits until clients of both families get answers
// from LON. vars are those of the topology.
func raise(ctx context.Context, o Options, k kind, vars map[string]string) (_ *lab, err error) {
	w := &lab{kind: k}
	if w.keys, err = os.MkdirTemp("", "lab-resync-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.down()
		}
	}()
	if err := keys(w.keys); err != nil {
		return nil, err
	}
	all := map[string]string{"KEYS": w.keys}
	for name, v := range vars {
		all[name] = v
	}
	t, err := netlab.Load(o.Topology, all)
	if err != nil {
		return nil, err
	}
	if w.Lab, err = netlab.Up(ctx, t, netlab.Options{Bin: o.Bin}); err != nil {
		return nil, err
	}
	if err := w.nginx(ctx, "origin"); err != nil {
		return nil, err
	}
	for pop := range pops {
		if err := w.start(ctx, pop); err != nil {
			return nil, err
		}
	}
	if err := w.leads(ctx, "lon"); err != nil {
		return nil, err
	}
	return w, w.both(ctx)
}

// down ends a world.
func (w *lab) down() {
	if w.Lab != nil {
		w.Lab.Down()
	}
	os.RemoveAll(w.keys)
}

// logs is what the nodes that matter wrote.
func (w *lab) logs() string {
	var out strings.Builder
	for _, n := range []string{"lon", "fra", "origin"} {
		fmt.Fprintf(&out, "---- %s\n%s", n, w.Log(n))
	}
	return out.String()
}

// start starts what runs in a POP.
func (w *lab) start(ctx context.Context, pop string) error {
	if w.kind.nginx {
		if err := w.nginx(ctx, pop); err != nil {
			return err
		}
	}
	if w.kind.daemon == "" {
		script := "ip addr add " + vip4 + "/32 dev lo; ip -6 addr add " + vip6 + "/128 dev lo nodad; mkdir -p /run/bird; exec bird -f -c /etc/lab/bird.conf -s /run/bird/bird.ctl"
		return w.run(pop, script)
	}
	script := "cp /etc/lab/" + w.kind.daemon + " /run/catchment.yaml"
	if !w.kind.resync {
		script = "sed '/^resync:/,$d' /etc/lab/" + w.kind.daemon + " >/run/catchment.yaml"
	}
	return w.run(pop, script+"; exec catchmentd --config /run/catchment.yaml")
}

// run starts a script in the background.
func (w *lab) run(node, script string) error {
	_, err := w.Start(node, netlab.Command{Args: []string{"sh", "-c", script}})
	return err
}

// nginx starts nginx in a node, and waits until it takes connections.
func (w *lab) nginx(ctx context.Context, node string) error {
	port := map[string]string{"origin": "10.0.200.2:8080"}[node]
	if port == "" {
		port = pops[node].addr + ":80"
	}
	if err := w.run(node, "mkdir -p /run/www /var/log/nginx /var/cache/nginx; exec nginx -c /etc/lab/nginx.conf"); err != nil {
		return err
	}
	return eventually(ctx, "nginx of "+node, func(ctx context.Context) error {
		_, err := w.sh(ctx, node, "curl -s -o /dev/null http://"+port+"/")
		return err
	})
}

// sh runs a script in a node and gives what it wrote.
func (w *lab) sh(ctx context.Context, node, script string) (string, error) {
	out, err := w.Exec(ctx, node, "sh", "-c", script)
	return strings.TrimSpace(out), err
}

// leads waits until the router sends both families to a POP.
func (w *lab) leads(ctx context.Context, pop string) error {
	return eventually(ctx, "the routes lead to "+pop, func(ctx context.Context) error {
		for _, p := range []string{"-4 route show exact " + prefix4, "-6 route show exact " + prefix6} {
			out, err := w.sh(ctx, "r", "ip "+p)
			if err != nil {
				return err
			}
			if !strings.Contains(out+" ", "dev "+pops[pop].dev+" ") {
				return fmt.Errorf("ip %s: %s", p, out)
			}
		}
		return nil
	})
}

// both waits until the router knows both ways to both prefixes, and the POPs
// know of one another.
func (w *lab) both(ctx context.Context) error {
	return eventually(ctx, "the router knows both POPs", func(ctx context.Context) error {
		for _, p := range []string{"ipv4 unicast " + prefix4, "ipv6 unicast " + prefix6} {
			out, err := w.sh(ctx, "r", "vtysh -c 'show bgp "+p+"'")
			if err != nil {
				return err
			}
			if !strings.Contains(out, "(2 available") {
				return errors.New(out)
			}
		}
		if !w.kind.resync {
			return nil
		}
		return w.heard(ctx)
	})
}

// heard fails until each POP has told the other of its flows.
func (w *lab) heard(ctx context.Context) error {
	for pop := range pops {
		out, err := w.sh(ctx, pop, "catchment resync")
		if err != nil {
			return fmt.Errorf("%s: %w", pop, err)
		}
		if !strings.Contains(out, " up ") {
			return fmt.Errorf("%s: %s", pop, out)
		}
	}
	return nil
}

// flip makes the router prefer a POP, as when a route changes elsewhere: the
// other one lives and knows nothing of it. quick is by a more specific route at
// the router, the other way by BGP.
func (w *lab) flip(ctx context.Context, to string, quick bool) error {
	if quick {
		verb := "add"
		if to == "lon" {
			verb = "del"
		}
		_, err := w.sh(ctx, "r", "ip route "+verb+" "+vip4+"/32 via 10.0.2.2; ip -6 route "+verb+" "+vip6+"/128 via 2001:db8:2::2")
		return err
	}
	weight := map[string]string{"fra": "100", "lon": "0"}[to]
	_, err := w.sh(ctx, "r", "vtysh -c 'configure terminal' -c 'router bgp 64601' -c 'address-family ipv4 unicast' -c 'neighbor 10.0.2.2 weight "+weight+
		"' -c 'exit-address-family' -c 'address-family ipv6 unicast' -c 'neighbor 2001:db8:2::2 weight "+weight+"'")
	if err != nil {
		return err
	}
	return w.leads(ctx, to)
}

// file makes an object of random bytes at the origin, and has both POPs keep it.
func (w *lab) file(ctx context.Context, name string, size int) error {
	if _, err := w.sh(ctx, "origin", fmt.Sprintf("head -c %d /dev/urandom >/run/www/%s.new && mv /run/www/%s.new /run/www/%s", size, name, name, name)); err != nil {
		return err
	}
	return w.warm(ctx, name)
}

// warm has both POPs keep an object, as it is called by either family.
func (w *lab) warm(ctx context.Context, name string) error {
	for pop := range pops {
		if err := w.warmOne(ctx, pop, name); err != nil {
			return err
		}
	}
	return nil
}

func (w *lab) warmOne(ctx context.Context, pop, name string) error {
	for _, host := range []string{vip4, "[" + vip6 + "]"} {
		for _, scheme := range []string{"http", "https"} {
			if w.kind.nginx && scheme == "https" {
				continue
			}
			if out, err := w.sh(ctx, "r", "curl -gksSf -o /dev/null -H 'Host: "+host+"' "+scheme+"://"+pops[pop].addr+"/"+name); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
	}
	return nil
}

// sum is the SHA-256 of a file in a node.
func (w *lab) sum(ctx context.Context, node, path string) (string, error) {
	out, err := w.sh(ctx, node, "sha256sum "+path)
	sum, _, _ := strings.Cut(out, " ")
	return sum, err
}

// patience is how long anything may take that has no limit of its own.
const patience = 60 * time.Second

// eventually asks until there is no error, and gives the last one otherwise.
func eventually(ctx context.Context, what string, ask func(context.Context) error) error {
	return await.Answer(ctx, patience, 50*time.Millisecond, what, ask)
}
