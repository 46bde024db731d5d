package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/pop/api"
)

// The nodes of fleet.clab.yml.
var (
	pops = []string{"lon", "fra", "ams", "dub"}
	// members are those that the control core consists of; dub follows.
	members = pops[:3]
	clients = []string{"c1", "c2", "c3", "c4", "c5"}
	// vips are the addresses asked, one in each prefix that is announced.
	vips = []string{
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1",
		"[2001:db8:100::1]", "[2001:db8:101::1]", "[2001:db8:102::1]", "[2001:db8:103::1]",
	}
	// unicast are the addresses by which POPs reach one another.
	unicast = map[string][]string{
		"lon": {"10.0.1.2/32", "2001:db8:1::2/128"}, "fra": {"10.0.2.2/32", "2001:db8:2::2/128"}, "ams": {"10.0.3.2/32", "2001:db8:3::2/128"},
		"dub": {"10.0.5.2/32", "2001:db8:5::2/128"},
	}
)

const (
	reportFile = "/run/load.json"
	rateFile   = "/run/rate"
	// patientClient is how long a client waits, longer than a busy machine stalls.
	patientClient = "3s"
)

// world is what the acts do things to: a netlab.
type world interface {
	Exec(ctx context.Context, node string, args ...string) (string, error)
	Start(node string, cmd netlab.Command) (*netlab.Process, error)
	Signal(ctx context.Context, node, who string, sig syscall.Signal) ([]netlab.ProcessInfo, error)
}

// crowds starts a crowd at each client, which asks all VIPs in turn.
func (f *lab) crowds(ctx context.Context, rate float64) error {
	urls := make([]string, len(vips))
	for i, v := range vips {
		urls[i] = "http://" + v + "/"
	}
	for _, c := range clients {
		_, err := f.world.Start(c, netlab.Command{Args: []string{
			"lab-load", "--urls", strings.Join(urls, ","), "--rate", fmt.Sprint(rate), "--rate-file", rateFile, "--out", reportFile, "--timeout", patientClient,
		}})
		if err != nil {
			return err
		}
		if err := f.eventually(ctx, c+" has its first report", func(ctx context.Context) error {
			_, err := f.world.Exec(ctx, c, "cat", reportFile)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// rate makes crowds ask so many times a second each.
func (f *lab) rate(ctx context.Context, rate float64, clients ...string) error {
	for _, c := range clients {
		if _, err := f.world.Exec(ctx, c, "sh", "-c", fmt.Sprintf("echo %g > %s.new && mv %s.new %s", rate, rateFile, rateFile, rateFile)); err != nil {
			return err
		}
	}
	return nil
}

// status asks a daemon.
func (f *lab) status(ctx context.Context, pop string) (api.Status, error) {
	var st api.Status
	out, err := f.world.Exec(ctx, pop, "catchment", "status", "-j")
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal([]byte(out), &st)
}

// away counts the slices of a POP that are less preferred than normal.
func away(st api.Status) (n int) {
	for _, s := range st.Services {
		for _, sl := range s.Slices {
			if sl.Stance.Rung > 0 {
				n++
			}
		}
	}
	return n
}

// kill ends daemons at once, as a crash does; their service goes on.
func (f *lab) kill(ctx context.Context, pops ...string) error {
	for _, p := range pops {
		if _, err := f.world.Signal(ctx, p, "catchmentd", syscall.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

// start starts daemons, as systemd would after a crash.
func (f *lab) start(ctx context.Context, pops ...string) error {
	for _, p := range pops {
		if _, err := f.world.Start(p, netlab.Command{Args: []string{"start-daemon"}}); err != nil {
			return err
		}
	}
	return f.eventually(ctx, "the daemons answer", func(ctx context.Context) error {
		for _, p := range pops {
			if _, err := f.status(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
}

// cut makes a POP and the others unreachable to one another, and nothing else:
// its routers and its clients stay. mend ends that.
func (f *lab) cut(ctx context.Context, pop string, mend bool) error {
	verb := "add"
	if mend {
		verb = "del"
	}
	for other, addrs := range unicast {
		for _, a := range addrs {
			if other == pop {
				continue
			}
			if out, err := f.world.Exec(ctx, pop, "ip", "route", verb, "unreachable", a); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
	}
	return nil
}

// patience is how long anything may take that has no limit of its own.
const patience = 90 * time.Second

// eventually asks until there is no error, and gives the last one otherwise.
func (f *lab) eventually(ctx context.Context, what string, ask func(context.Context) error) error {
	return await.Answer(ctx, patience, 200*time.Millisecond, what, ask)
}
