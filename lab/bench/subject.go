package bench

import (
	"fmt"
	"time"

	"github.com/catchment/catchment/lab/netlab"
)

// blow is what happens to the service.
type blow string

const (
	kill   blow = "kill"   // SIGKILL of the service
	hang   blow = "hang"   // SIGSTOP of the service
	freeze blow = "freeze" // SIGSTOP of every process of the POP
)

// tool is what runs in the POP.
type tool string

const (
	catchmentd tool = "catchmentd"
	exabgp     tool = "exabgp"
	checker    tool = "checker" // BIRD with a shell loop and birdc
)

// subject is a row of the table: a tool with its settings, and the blow.
type subject struct {
	name  string // for Only, and for the goals
	title string
	tool  tool
	blow  blow
	peer  string // name of the row it is compared with

	interval, fast, timeout time.Duration
	rise, fall              int
	watch, bfd, v6          bool
	counted                 bool // a refused connection is one fail of several, as the peers have it
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// subjects are all rows in the order of the table.
func subjects() []subject {
	s := time.Second
	return []subject{
		{name: "assist-10s", title: "Catchment, kernel-assisted, interval 10 s", tool: catchmentd, blow: kill, peer: "exabgp-fast",
			interval: 10 * s, fast: ms(200), timeout: s, rise: 2, fall: 3, watch: true},
		{name: "assist-1s", title: "Catchment, kernel-assisted, interval 1 s", tool: catchmentd, blow: kill, peer: "exabgp-fast",
			interval: s, fast: ms(200), timeout: s, rise: 2, fall: 3, watch: true},
		{name: "assist-1s-v6", title: "the same over IPv6", tool: catchmentd, blow: kill, peer: "exabgp-fast",
			interval: s, fast: ms(200), timeout: s, rise: 2, fall: 3, watch: true, v6: true},
		{name: "poll", title: "Catchment, polling 1 s, fast 0.2 s, refusal conclusive", tool: catchmentd, blow: kill, peer: "exabgp-fast",
			interval: s, fast: ms(200), timeout: s, rise: 2, fall: 3},
		{name: "poll-exabgp-default", title: "Catchment, polling 5 s, fast 1 s, 3/3, counted", tool: catchmentd, blow: kill, peer: "exabgp-default",
			interval: 5 * s, fast: s, timeout: 5 * s, rise: 3, fall: 3, counted: true},
		{name: "exabgp-default", title: "ExaBGP healthcheck 5 s, fast 1 s, 3/3 (default)", tool: exabgp, blow: kill,
			interval: 5 * s, fast: s, timeout: 5 * s, rise: 3, fall: 3},
		{name: "poll-exabgp-fast", title: "Catchment, polling 1 s, fast 0.2 s, 3/3, counted", tool: catchmentd, blow: kill, peer: "exabgp-fast",
			interval: s, fast: ms(200), timeout: s, rise: 3, fall: 3, counted: true},
		{name: "exabgp-fast", title: "ExaBGP healthcheck 1 s, fast 0.2 s, 3/3", tool: exabgp, blow: kill,
			interval: s, fast: ms(200), timeout: s, rise: 3, fall: 3},
		{name: "poll-checker", title: "Catchment, polling 1 s, 2/2, counted", tool: catchmentd, blow: kill, peer: "checker",
			interval: s, fast: s, timeout: s, rise: 2, fall: 2, counted: true},
		{name: "checker", title: "BIRD, shell loop and birdc 1 s, 2/2", tool: checker, blow: kill,
			interval: s, fast: s, timeout: s, rise: 2, fall: 2},

		{name: "hang", title: "Catchment 1 s, fast 0.2 s, 3/3", tool: catchmentd, blow: hang, peer: "exabgp-hang",
			interval: s, fast: ms(200), timeout: s, rise: 3, fall: 3, watch: true},
		{name: "exabgp-hang", title: "ExaBGP healthcheck 1 s, fast 0.2 s, 3/3", tool: exabgp, blow: hang,
			interval: s, fast: ms(200), timeout: s, rise: 3, fall: 3},

		{name: "frozen-bfd", title: "Catchment, host frozen, BFD 100 ms x 3", tool: catchmentd, blow: freeze,
			interval: s, fast: ms(200), timeout: s, rise: 2, fall: 3, watch: true, bfd: true},
	}
}

// values are what the configs of this row are filled in with.
func (s *subject) values() values {
	v := values{BFD: s.bfd, Interval: s.interval, Fast: s.fast, Timeout: s.timeout,
		Rise: s.rise, Fall: s.fall, Watch: s.watch}
	v.network(s.v6)
	v.oneService()
	if s.counted {
		v.Services[0].Checks[0].Probe += ", refused: counted"
	}
	return v
}

// startTool starts the tool in the POP. log gets catchmentd's log.
func (w *world) startTool(t tool, log *daemonLog) ([]*netlab.Process, error) {
	var cmds []netlab.Command
	switch t {
	case catchmentd:
		cmds = []netlab.Command{{Args: []string{"catchmentd", "--config", "/bench/catchmentd.yaml"}, Stdout: log, Stderr: log}}
	case exabgp:
		cmds = []netlab.Command{{Args: []string{"exabgp", "/bench/exabgp.conf"}, Env: []string{
			"exabgp.daemon.user=root", "exabgp.api.cli=false", "exabgp.log.level=WARNING", "exabgp.log.all=false"}}}
	case checker:
		cmds = []netlab.Command{
			{Args: []string{"bird", "-f", "-c", "/bench/checker.conf", "-s", "/run/checker.ctl"}},
			{Args: []string{"/bench/checker.sh"}},
		}
	default:
		return nil, fmt.Errorf("unknown tool %q", t)
	}
	var out []*netlab.Process
	for _, c := range cmds {
		p, err := w.lab.Start("pop", c)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", t, err)
		}
		out = append(out, p)
	}
	return out, nil
}
