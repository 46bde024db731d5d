package demo

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

//go:embed demo.clab.yml world
var files embed.FS

// family is what the story is told of twice.
type family struct {
	name   string
	prefix netip.Prefix
	vip    netip.AddrPort
}

// The anycast service: each family is a slice.
var (
	ipv4     = family{"IPv4", netip.MustParsePrefix("192.0.2.0/24"), netip.MustParseAddrPort("192.0.2.1:80")}
	ipv6     = family{"IPv6", netip.MustParsePrefix("2001:db8:100::/48"), netip.MustParseAddrPort("[2001:db8:100::1]:80")}
	families = []family{ipv4, ipv6}
)

func familyOf(p netip.Prefix) (family, bool) {
	for _, f := range families {
		if f.prefix == p {
			return f, true
		}
	}
	return family{}, false
}

// site is a POP of the world.
type site struct {
	pop  string // in configs, journals and on the terminal
	node string // in the topology
}

var (
	lon   = site{"LON", "lon"}
	fra   = site{"FRA", "fra"}
	nyc   = site{"NYC", "nyc"}
	sites = []site{lon, fra, nyc}
)

const (
	serviceName = "web"
	routerNode  = "t1" // the client's router, whose kernel routes are watched
	clientNode  = "client"
)

// daemons are the nodes that run catchmentd.
var daemons = []string{"lon", "fra", "nyc", "t1", "t2"}

// world is the running lab and what the demo does to it.
type world struct {
	lab      *netlab.Lab
	dir      string // everything below is ours
	services map[string]*netlab.Process
	asking   []*netlab.Process      // of the client
	clients  map[string]*api.Client // by node
}

// build writes the files of the world into dir and brings it up; the services
// do not run yet.
func build(ctx context.Context, dir, bin string, log *slog.Logger) (*world, error) {
	if err := os.CopyFS(filepath.Join(dir, "lab"), files); err != nil {
		return nil, fmt.Errorf("write the demo's files: %w", err)
	}
	w := &world{dir: dir, services: map[string]*netlab.Process{}, clients: map[string]*api.Client{}}
	if err := w.sockets(); err != nil {
		return nil, err
	}
	topo, err := netlab.Load(filepath.Join(dir, "lab", "demo.clab.yml"), map[string]string{"RUN": w.run("")})
	if err != nil {
		return nil, err
	}
	w.lab, err = netlab.Up(ctx, topo, netlab.Options{Dir: filepath.Join(dir, "logs"), Bin: bin, Log: log})
	return w, err
}

// sockets makes the folder each node puts its daemon's sockets into, and the
// key of the fleet.
func (w *world) sockets() error {
	for _, node := range append([]string{clientNode}, daemons...) {
		if err := os.MkdirAll(w.run(node), 0o755); err != nil {
			return err
		}
		w.clients[node] = api.NewClient(w.socket(node))
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return os.WriteFile(w.run("secret"), []byte(hex.EncodeToString(key)+"\n"), 0o600)
}

// run is where a node's sockets are, on the host.
func (w *world) run(node string) string { return filepath.Join(w.dir, "run", node) }

func (w *world) socket(node string) string { return filepath.Join(w.run(node), "catchment.sock") }

// sick is the file that makes a POP's health page fail, and nothing else.
func (w *world) sick(s site) string { return filepath.Join(w.run(s.node), "sick") }

// start starts the daemon of a node.
func (w *world) start(node string) error {
	_, err := w.lab.Start(node, netlab.Command{Args: []string{"catchmentd", "--config", "/etc/catchment/catchment.yaml"}})
	return err
}

// serve starts the POP's service: a process that can be killed.
func (w *world) serve(s site) (*netlab.Process, error) {
	p, err := w.lab.Start(s.node, netlab.Command{Args: []string{"lab-serve", "--name", s.pop,
		"--listen", ipv4.vip.String() + "," + ipv6.vip.String(), "--sick-file", "/run/catchment/sick"}})
	if err != nil {
		return nil, fmt.Errorf("start the service: %w", err)
	}
	w.services[s.node] = p
	return p, nil
}

// kill ends the POP's service as a crash does.
func (w *world) kill(s site) error { return w.services[s.node].Signal(syscall.SIGKILL) }

// sicken makes the health pages of POPs fail.
func (w *world) sicken(at ...site) error {
	var errs []error
	for _, s := range at {
		errs = append(errs, os.WriteFile(w.sick(s), nil, 0o644))
	}
	return errors.Join(errs...)
}

// heal ends that.
func (w *world) heal(at ...site) error {
	var errs []error
	for _, s := range at {
		errs = append(errs, os.Remove(w.sick(s)))
	}
	return errors.Join(errs...)
}

// explain asks a POP why it does what it does with a slice.
func (w *world) explain(ctx context.Context, s site, f family) (api.Explanation, error) {
	return w.clients[s.node].Explain(ctx, policy.SliceID(f.prefix))
}

// down ends everything; the logs stay.
func (w *world) down() error {
	for _, c := range w.clients {
		c.Close()
	}
	if w.lab == nil {
		return nil
	}
	return w.lab.Down()
}
