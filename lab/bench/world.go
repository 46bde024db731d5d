package bench

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"text/template"
	"time"

	"github.com/catchment/catchment/lab/netlab"
)

//go:embed configs
var configs embed.FS

const servicePort = 80

// routers are the two upstreams of the POP, one of each kind.
var routers = []string{"frr", "bird"}

// values are what the configs are filled in with.
type values struct {
	AF                         string // ipv4 or ipv6
	PopFRR, FRR, PopBIRD, BIRD netip.Addr
	BFD                        bool
	Interval, Fast, Timeout    time.Duration
	Rise, Fall                 int
	Jitter                     float64
	Watch                      bool
	Target                     netip.AddrPort // the service
	URL                        string
	Services                   []service
}

type service struct {
	Name   string
	Prefix netip.Prefix
	Checks []check
}

type check struct{ Name, Probe string }

// network fills in the addresses of a family.
func (v *values) network(v6 bool) {
	v.AF = "ipv4"
	list := []string{"10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.2.2", "192.0.2.1"}
	if v6 {
		v.AF = "ipv6"
		list = []string{"2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::1", "2001:db8:2::2", "2001:db8:100::1"}
	}
	for i, p := range []*netip.Addr{&v.PopFRR, &v.FRR, &v.PopBIRD, &v.BIRD} {
		*p = netip.MustParseAddr(list[i])
	}
	v.Target = netip.AddrPortFrom(netip.MustParseAddr(list[4]), servicePort)
	v.URL = fmt.Sprintf("http://%v/healthz", v.Target)
}

// oneService is the service whose death is timed.
func (v *values) oneService() {
	bits := 24
	if v.Target.Addr().Is6() {
		bits = 48
	}
	p, _ := v.Target.Addr().Prefix(bits)
	v.Services = []service{{"web", p, []check{{"http", fmt.Sprintf("type: http, url: %q", v.URL)}}}}
}

// world is the lab of one row, with its two routers running.
type world struct {
	lab     *netlab.Lab
	val     values
	rec     *recorder
	popInit int // as the host sees it
	service *netlab.Process
	pid     int // of the service, as the host sees it
	dir     string
	stop    context.CancelFunc
}

// newWorld brings up the lab and the routers; nothing runs in the POP yet.
func newWorld(ctx context.Context, v values, opt Options) (_ *world, err error) {
	w := &world{val: v, rec: newRecorder()}
	if w.dir, err = os.MkdirTemp("", "catchment-bench-"); err != nil {
		return nil, err
	}
	ctx, w.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if err := w.writeConfigs(); err != nil {
		return nil, err
	}
	topo, err := netlab.Load(filepath.Join(w.dir, "bench.clab.yml"), nil)
	if err != nil {
		return nil, err
	}
	if w.lab, err = netlab.Up(ctx, topo, netlab.Options{Bin: opt.Bin}); err != nil {
		return nil, err
	}
	if err := w.listen(ctx); err != nil {
		return nil, err
	}
	for _, cmd := range [][]string{
		{"frr", "/usr/lib/frr/zebra", "-f", "/bench/zebra.conf"},
		{"frr", "/usr/lib/frr/bfdd", "-f", "/bench/bfdd.conf"},
		{"frr", "/usr/lib/frr/bgpd", "-f", "/bench/bgpd.conf"},
		{"bird", "bird", "-f", "-c", "/bench/bird.conf", "-s", "/run/bird.ctl"},
	} {
		if cmd[1] == "/usr/lib/frr/bfdd" && !v.BFD {
			continue
		}
		if _, err := w.lab.Start(cmd[0], netlab.Command{Args: cmd[1:]}); err != nil {
			return nil, fmt.Errorf("%w (Debian packages frr and bird2)", err)
		}
	}
	return w, nil
}

// routers says which router has an address.
func (w *world) routers() map[netip.Addr]string {
	return map[netip.Addr]string{w.val.FRR: "frr", w.val.BIRD: "bird"}
}

// listen starts the sources of events.
func (w *world) listen(ctx context.Context) error {
	nodes, err := w.lab.Inspect(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Name == "pop" {
			w.popInit = n.Pid
		}
	}
	to := w.routers()
	err = capture(ctx, w.popInit, func(at time.Time, p packet) {
		if where, ok := to[p.to]; ok || p.kind == probed {
			w.rec.add(event{at, p.kind, where})
		}
	})
	if err != nil {
		return err
	}
	for _, r := range routers {
		events, err := w.lab.WatchRoutes(ctx, r)
		if err != nil {
			return err
		}
		go func() {
			for e := range events {
				if len(w.val.Services) == 0 || e.Route.Prefix != w.val.Services[0].Prefix {
					continue
				}
				k := installed
				if e.Gone {
					k = gone
				}
				w.rec.add(event{e.Time, k, r})
			}
		}()
	}
	return nil
}

// writeConfigs fills in all configs for this row.
func (w *world) writeConfigs() error {
	if err := os.Chmod(w.dir, 0o755); err != nil { // the routers drop their rights
		return err
	}
	funcs := template.FuncMap{
		"seconds": func(d time.Duration) float64 { return d.Seconds() },
		"whole":   func(d time.Duration) int { return max(1, int(d.Seconds())) },
	}
	return fs.WalkDir(configs, "configs", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := configs.ReadFile(p)
		if err != nil {
			return err
		}
		t, err := template.New(filepath.Base(p)).Funcs(funcs).Option("missingkey=error").Parse(string(raw))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, w.val); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(w.dir, filepath.Base(p)), out.Bytes(), 0o755)
	})
}

// startService starts the service that is killed, and returns when that was.
func (w *world) startService() (time.Time, error) {
	at := time.Now()
	listen := "192.0.2.1:80,[2001:db8:100::1]:80"
	if len(w.val.Services) > 1 {
		for i := range extraPorts {
			listen += fmt.Sprintf(",192.0.2.1:%d", firstExtra+i)
		}
	}
	p, err := w.lab.Start("pop", netlab.Command{Args: []string{"lab-serve", "--name", "LON", "--listen", listen}})
	if err != nil {
		return at, err
	}
	w.service = p
	w.pid, err = hostPid(w.popInit, p.Pid)
	return at, err
}

// signal hits the service without a detour through the node.
func (w *world) signal(sig syscall.Signal) (time.Time, error) {
	at := time.Now()
	return at, syscall.Kill(w.pid, sig)
}

// close ends the lab and everything in it.
func (w *world) close() error {
	w.stop()
	var err error
	if w.lab != nil {
		err = w.lab.Down()
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}
