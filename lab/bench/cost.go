package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/catchment/catchment/lab/await"
)

// cost is what a tool takes from the machine in one situation. CPU is that of
// its processes and the children they have waited for (curl, shells), RSS the
// sum over its processes; the service that is checked and the routers do not
// count.
type cost struct {
	load      load
	window    time.Duration
	cpu       time.Duration // in window
	rss       int64         // bytes, at the end
	processes int
	probes    int // connections of checks in window
}

// load is a situation.
type load struct {
	title    string
	tool     tool
	services int
	checks   int // of each service
	interval time.Duration
}

func loads() []load {
	s := time.Second
	return []load{
		{"Catchment idle (a static prefix, no check)", catchmentd, 1, 0, s},
		{"ExaBGP idle (a static prefix, no check)", exabgp, 1, 0, s},
		{"Catchment, 10 services, 1 check a second each", catchmentd, 10, 1, s},
		{"ExaBGP, 10 services, 1 check a second each", exabgp, 10, 1, s},
		{"Catchment, 1,000 services, 10,000 checks per 10 s", catchmentd, 1000, 10, 10 * s},
	}
}

// extraPorts are where the service listens beside its own port, so that ten
// thousand checks do not run out of local ports toward one.
const (
	firstExtra = 8001
	extraPorts = 10
)

func checkedPort(p uint16) bool {
	return p == servicePort || p >= firstExtra && p < firstExtra+extraPorts
}

// values fills in the configs for a load: half of the checks http, half tcp.
func (l load) values() values {
	v := values{Interval: l.interval, Fast: ms(200), Timeout: time.Second, Rise: 1, Fall: 3, Jitter: 0.1, Watch: true}
	v.network(false)
	for i := range l.services {
		sv := service{Name: fmt.Sprintf("s%d", i),
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(64 + i/256), byte(i % 256), 0}), 24)}
		for c := range l.checks {
			at := netip.AddrPortFrom(v.Target.Addr(), firstExtra+uint16(c%extraPorts))
			probe := fmt.Sprintf("type: http, url: \"http://%v/healthz\"", at)
			if c%2 == 1 {
				probe = fmt.Sprintf("type: tcp, address: \"%v\"", at)
			}
			sv.Checks = append(sv.Checks, check{fmt.Sprintf("c%d", c), probe})
		}
		v.Services = append(v.Services, sv)
	}
	return v
}

// measureCosts runs all loads; the error names those that could not be.
func measureCosts(ctx context.Context, opt Options) ([]cost, error) {
	settle, window := 10*time.Second, time.Minute
	if opt.Quick {
		settle, window = 2*time.Second, 4*time.Second
	}
	var out []cost
	var errs []error
	for _, l := range loads() {
		if ctx.Err() != nil {
			break
		}
		c, err := measureCost(ctx, l, settle, window, opt)
		if err != nil {
			errs = append(errs, fmt.Errorf("cost of %q could not be measured: %w", l.title, err))
			continue
		}
		opt.progress("cost: %s", l.title)
		out = append(out, c)
	}
	return out, errors.Join(errs...)
}

func measureCost(ctx context.Context, l load, settle, window time.Duration, opt Options) (_ cost, err error) {
	w, err := newWorld(ctx, l.values(), opt)
	if err != nil {
		return cost{}, err
	}
	log := &daemonLog{rec: w.rec}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s\n%s", err, tail(w.lab.Log("pop")), log)
		}
		err = errors.Join(err, w.close())
	}()
	if _, err := w.startService(); err != nil {
		return cost{}, err
	}
	procs, err := w.startTool(l.tool, log)
	if err != nil {
		return cost{}, err
	}
	ctx, stop := whileAlive(ctx, procs)
	defer stop()
	if err := w.awaitRoutes(ctx, l.services); err != nil {
		return cost{}, err
	}
	if err := await.Lapse(ctx, settle); err != nil {
		return cost{}, err
	}
	w.rec.forget()
	before, err := w.usage()
	if err != nil {
		return cost{}, err
	}
	start := time.Now()
	if err := await.Lapse(ctx, window); err != nil {
		return cost{}, err
	}
	after, err := w.usage()
	if err != nil {
		return cost{}, err
	}
	return cost{load: l, window: time.Since(start), cpu: after.cpu - before.cpu, rss: after.rss,
		processes: after.processes, probes: w.rec.count(probed)}, nil
}

// awaitRoutes waits until both routers have that many routes from the POP.
func (w *world) awaitRoutes(ctx context.Context, n int) error {
	const bgp, bird = 186, 12
	limit := time.Now().Add(startup + time.Duration(n)*20*time.Millisecond)
	for _, r := range routers {
		for {
			list, err := w.lab.Routes(r, netip.Prefix{})
			if err != nil {
				return err
			}
			have := 0
			for _, route := range list {
				if route.Protocol == bgp || route.Protocol == bird {
					have++
				}
			}
			if have >= n {
				break
			}
			if time.Now().After(limit) {
				return fmt.Errorf("%s has %d of %d routes", r, have, n)
			}
			if err := await.Lapse(ctx, 500*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// usage of the tool: everything in the POP but the service.
func (w *world) usage() (cost, error) {
	pids, err := insiders(w.popInit)
	if err != nil {
		return cost{}, err
	}
	var c cost
	for _, pid := range pids {
		if pid == w.pid {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // a child that has ended: its parent has its time
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		c.cpu += cpuTime(string(stat))
		kib, _ := strconv.ParseInt(strings.TrimSuffix(field(string(status), "VmRSS"), " kB"), 10, 64)
		c.rss += kib << 10
		c.processes++
	}
	return c, nil
}

const clockTick = 10 * time.Millisecond // USER_HZ is 100 on every architecture that Go runs on

// cpuTime adds up user and system time of a process and of the children it
// has waited for, fields 14 to 17 of proc(5)'s stat.
func cpuTime(stat string) time.Duration {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // the name may hold anything
	if len(f) < 15 {
		return 0
	}
	var ticks int64
	for _, s := range f[11:15] {
		n, _ := strconv.ParseInt(s, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

func writeCosts(out io.Writer, costs []cost) {
	if len(costs) == 0 {
		return
	}
	fmt.Fprintf(out, "\nCost in the POP, after all routes are announced\n")
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "CPU s/min\tRSS MiB\tprocesses\tchecks/s\tover s\t ")
	for _, c := range costs {
		fmt.Fprintf(tw, "%.2f\t%.1f\t%d\t%.1f\t%.0f\t  %s\n",
			c.cpu.Seconds()*60/c.window.Seconds(), float64(c.rss)/(1<<20), c.processes,
			float64(c.probes)/c.window.Seconds(), c.window.Seconds(), c.load.title)
	}
	tw.Flush()
	fmt.Fprint(out, `CPU: with the children waited for (curl of ExaBGP's checks); RSS: sum over the processes. ExaBGP has one healthcheck
process a service, so 1,000 services are not run with it.
`)
}
