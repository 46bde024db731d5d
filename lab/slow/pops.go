package slow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/netlab"
)

// TellOptions are those of Tell.
type TellOptions struct {
	Topology string    // slow.clab.yml
	Bin      string    // folder with catchmentd and catchment
	Only     string    // names of stories, with commas; "": all
	Out      io.Writer // tables and goals
	Progress io.Writer // a line as it happens
}

// pops are two POPs with their clients.
type pops struct {
	*netlab.Lab
	progress io.Writer
}

// What everybody asks for, and where the POPs are.
const (
	name       = "www.example.net"
	lon4, lon6 = "10.0.1.2", "2001:db8:1::2"
	ams4, ams6 = "10.0.2.2", "2001:db8:2::2"
)

// raisePOPs brings the POPs up, and waits until both serve, LON's DNS answers
// and each has heard of the other. edit changes the configuration: a script of
// sed, or nothing.
func raisePOPs(ctx context.Context, o TellOptions, edit string) (_ *pops, err error) {
	t, err := netlab.Load(o.Topology, nil)
	if err != nil {
		return nil, err
	}
	w := &pops{progress: o.Progress}
	if w.Lab, err = netlab.Up(ctx, t, netlab.Options{Bin: o.Bin}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, w.logs())
			w.Down()
		}
	}()
	if err := w.run("origin", "mkdir -p /run/www /var/log/nginx; exec nginx -c /etc/lab/nginx.conf"); err != nil {
		return nil, err
	}
	for _, pop := range []string{"lon", "ams"} {
		script := "rm -f /etc/resolv.conf; echo nameserver " + lon4 + " >/etc/resolv.conf; umask 077; echo a-secret-of-the-lab-worth-nothing-elsewhere >/run/fleet.key; sed '" + edit + "' /etc/lab/catchment.yaml >/run/catchment.yaml; exec catchmentd --config /run/catchment.yaml"
		if err := w.run(pop, script); err != nil {
			return nil, err
		}
	}
	return w, w.ready(ctx)
}

func (w *pops) ready(ctx context.Context) error {
	for _, at := range []string{"http://10.0.200.2:8080/", "http://" + lon4 + "/.well-known/catchment/health", "http://" + ams4 + "/.well-known/catchment/health"} {
		if err := eventually(ctx, at, func(ctx context.Context) error {
			_, err := w.sh(ctx, "r", "curl -s -o /dev/null "+at)
			return err
		}); err != nil {
			return err
		}
	}
	return eventually(ctx, "DNS sends everybody to LON, and has heard of AMS", func(ctx context.Context) error {
		for _, client := range []string{"slow", "fast"} {
			if err := w.leads(ctx, client, "lon"); err != nil {
				return err
			}
		}
		out, err := w.sh(ctx, "lon", "catchment explain dns slowpop."+name+" --client 10.2.0.2")
		if err == nil && !strings.Contains(out, "AMS 100 %") {
			err = errors.New(out)
		}
		return err
	})
}

// run starts a script in the background.
func (w *pops) run(node, script string) error {
	_, err := w.Start(node, netlab.Command{Args: []string{"sh", "-c", script}})
	return err
}

// sh runs a script in a node and gives what it wrote.
func (w *pops) sh(ctx context.Context, node, script string) (string, error) {
	out, err := w.Exec(ctx, node, "sh", "-c", script)
	return strings.TrimSpace(out), err
}

// logs is what the nodes that matter wrote.
func (w *pops) logs() string {
	var out strings.Builder
	for _, pop := range []string{"lon", "ams"} {
		is, _ := w.sh(context.Background(), pop, "catchment status; catchment fleet")
		fmt.Fprintf(&out, "---- %s\n%s\n%s", pop, is, w.Log(pop))
	}
	is, _ := w.sh(context.Background(), "r", "vtysh -c 'show bgp summary'")
	return out.String() + "---- r\n" + is + w.Log("r") + "---- origin\n" + w.Log("origin")
}

// addresses are what DNS answers a client, the last one of each family.
func (w *pops) addresses(ctx context.Context, client string) (v4, v6 string, err error) {
	out, err := w.sh(ctx, client, "for t in A AAAA; do dig +short +time=2 +tries=3 @"+lon4+" "+name+" $t | tail -n 1; done")
	v4, v6, _ = strings.Cut(out, "\n")
	return v4, v6, err
}

// leads fails unless DNS sends a client to a POP, by both families.
func (w *pops) leads(ctx context.Context, client, pop string) error {
	v4, v6, err := w.addresses(ctx, client)
	want4, want6 := lon4, lon6
	if pop == "ams" {
		want4, want6 = ams4, ams6
	}
	if err == nil && (v4 != want4 || v6 != want6) {
		err = fmt.Errorf("DNS sends %s to %s and %s, want %s and %s", client, v4, v6, want4, want6)
	}
	return err
}

// file makes an object of random bytes at the origin and has both POPs keep it;
// its SHA-256 comes back.
func (w *pops) file(ctx context.Context, path string, size int) (string, error) {
	if _, err := w.sh(ctx, "origin", fmt.Sprintf("mkdir -p $(dirname /run/www/%s); head -c %d /dev/urandom >/run/www/%s", path, size, path)); err != nil {
		return "", err
	}
	for _, pop := range []string{lon4, ams4} {
		if out, err := w.sh(ctx, "r", "curl -sSf -o /dev/null -H 'Host: "+name+"' http://"+pop+"/"+path); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
	}
	out, err := w.sh(ctx, "origin", "sha256sum /run/www/"+path)
	sum, _, _ := strings.Cut(out, " ")
	return sum, err
}

// patience is how long anything may take that has no limit of its own.
const patience = 60 * time.Second

// eventually asks until there is no error, and gives the last one otherwise.
func eventually(ctx context.Context, what string, ask func(context.Context) error) error {
	return await.Answer(ctx, patience, 100*time.Millisecond, what, ask)
}
